"""A trial trains on the device that it asked for, or fails; only `torch.cuda` is replaced.

The numbers of a real GPU are not checked here.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sweeper.core.policies import Action, FailurePolicy, classify
from sweeper.model import Trial, TrialKind
from trainables.errors import DeviceError
from trainables.report import Failed
from trainables.runtime.attempt import Attempt
from trainables.runtime.device import (
    CONTEXT_BYTES,
    device_for,
    gpu_peak,
    release,
    share_for_tensors,
)
from trainables.runtime.memory import allocator_settings
from trainables.spec import AttemptConfig

TRIAL = Trial(study="s", number=0, kind=TrialKind.SAMPLED, params={}, seed=0, attempt=1)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_trial_that_asks_for_no_gpu_trains_on_the_cpu_beside_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for(0.0) == torch.device("cpu")


@pytest.mark.parametrize("gpu", [0.1, 1.0])
def test_a_trial_that_asks_for_a_gpu_never_trains_on_the_cpu(no_gpu, gpu):
    with pytest.raises(DeviceError, match=rf"`resources.gpu: {gpu:g}`.*finds none.*`gpu: 0`"):
        device_for(gpu)


@pytest.mark.slow
def test_such_a_trial_fails_as_config_and_is_not_pruned_nor_tried_again(no_gpu, tmp_path: Path):
    attempt = Attempt(AttemptConfig(spec={}, label="x", folder=str(tmp_path), gpu=0.5))
    result = attempt.step()
    assert isinstance(result, Failed)
    assert not result.infeasible, "else a sampled trial would be pruned without a word"
    failure = classify(result.traceback)
    assert failure == "config"
    assert FailurePolicy().respond(failure, TRIAL) is Action.FAIL


GIB = 2**30
CARD = torch.device("cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A GPU of 80 GiB that only counts."""
    card = SimpleNamespace(fractions=[], emptied=0)

    def empty() -> None:
        card.emptied += 1

    for name, answer in {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=80 * GIB),
        "set_per_process_memory_fraction": lambda share, device: card.fractions.append(share),
        "max_memory_reserved": lambda: 3 * GIB,
        "synchronize": lambda: None,
        "empty_cache": empty,
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return card


def test_a_trial_is_kept_to_its_share_of_a_gpu_and_its_context_is_part_of_it(card):
    assert device_for(0.5) == device_for(1.0) == CARD
    assert card.fractions == [0.5 - CONTEXT_BYTES / (80 * GIB)]
    assert gpu_peak() == 3 * GIB + CONTEXT_BYTES


@pytest.mark.parametrize(("gpu", "memory"), [(0.5, 80), (0.1, 80), (0.25, 24), (0.1, 2)])
def test_trials_that_share_a_gpu_fit_on_it_together_unless_contexts_fill_it(gpu, memory):
    share = share_for_tensors(gpu, memory * GIB)
    assert gpu / 2 <= share < gpu
    if memory * GIB * gpu / 2 > CONTEXT_BYTES:
        assert int(1 / gpu) * (share * memory * GIB + CONTEXT_BYTES) <= memory * GIB * 1.000001


def test_a_trial_on_the_cpu_gives_no_memory_back_and_starts_no_cuda(card, monkeypatch):
    release()
    assert card.emptied == 1
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    release()
    assert card.emptied == 1


def test_the_allocator_is_configured_unless_the_user_has_done_it():
    assert set(allocator_settings({}).values()) == {"expandable_segments:True"}
    for name in allocator_settings({}):
        assert allocator_settings({name: "max_split_size_mb:128"}) == {}
