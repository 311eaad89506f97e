"""Trials that share a GPU: whether they fit together, and that it is said once a study."""

from dataclasses import replace

import pytest

from sweeper.driver.hooks.gpu_memory import GpuMemory
from sweeper.ledger import EventKind
from sweeper.planning.resources import over_memory, sharers
from tests.support.fakes import STUDY, new_ledger
from tests.support.trials import measured, sampled

GIB = 2**30


def test_a_share_of_a_gpu_says_how_many_sit_on_it():
    shares = {0: 1, 0.1: 10, 0.25: 4, 0.3: 3, 0.5: 2, 0.6: 1, 1: 1, 4: 1}
    assert {gpu: sharers(gpu) for gpu in shares} == shares


@pytest.mark.parametrize(
    ("gpu", "peak", "memory", "fits"),
    [
        (0.5, 12, 24, True),  # exactly
        (0.5, 12.1, 24, False),
        (0.25, 6.1, 24, False),
        (0.6, 23, 24, True),  # nobody beside it
        (1, 30, 24, True),  # not for sharing
        (0, 30, 24, True),
        (0.5, 30, None, True),  # nothing is known of the GPU
    ],
)
def test_peaks_of_those_that_share_have_to_fit(gpu, peak, memory, fits):
    told = over_memory(gpu, round(peak * GIB), memory and memory * GIB)
    assert (told is None) == fits


def test_it_says_how_many_would_fit():
    assert "`resources.gpu: 0.33`" in over_memory(0.25, 8 * GIB, 24 * GIB)
    assert "`resources.gpu: 1`" in over_memory(0.5, 13 * GIB, 24 * GIB)


def test_it_is_noted_once_a_study(tmp_path):
    ledger, said = new_ledger(tmp_path), []
    hook = GpuMemory(0.5, ledger, said.append, memory_bytes=lambda: 24 * GIB)
    trial = sampled(STUDY.name)
    small, large = (measured(peak_memory_bytes=size * GIB) for size in (1, 13))
    hook.changed(trial)
    hook.changed(trial, small)
    assert said == []
    for _ in range(2):
        hook.changed(trial, large)
    hook.changed(replace(trial, study="nft/other"), large)
    notes = [e for e in ledger.events() if e.kind is EventKind.NOTED]
    assert [note.study for note in notes] == [STUDY.name, "nft/other"]
    assert len(said) == 2
    assert "13.0 GiB" in said[0]


def test_a_whole_gpu_is_not_asked_for_its_memory(tmp_path):
    GpuMemory(1, new_ledger(tmp_path), print, memory_bytes=lambda: pytest.fail("asked"))
