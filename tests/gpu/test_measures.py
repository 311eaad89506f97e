"""The measurements of `measures.py` in a small size on the CPU, so that they work on a GPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.gpu import measures
from tests.gpu.measures import Load
from tests.support.tiny_trials import Trials

CPU = torch.device("cpu")
SMALL = Load(batch=2, tokens=8, layers=1, width=32, heads=4, steps=2, settings=())

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measures.save_roberta(tmp_path_factory.mktemp("tiny"), SMALL)


def test_a_step_and_a_plain_step_take_time_and_operations(tiny: Path):
    assert measures.seconds_of_a_step(tiny, SMALL, CPU) > 0
    assert measures.seconds_of_a_plain_step(tiny, SMALL, CPU) > 0
    twice = replace(SMALL, batch=2 * SMALL.batch)
    flops = [measures.flops_of_a_step(tiny, load, CPU) for load in (SMALL, twice)]
    assert flops[1] == 2 * flops[0]
    # Forward and backward passes of the four projections of width w and of the two of 4 w alone:
    weights = 12 * SMALL.width**2
    assert flops[0] > 6 * weights * SMALL.tokens * SMALL.batch


@pytest.mark.soak
def test_trials_run_beside_each_other(tiny: Path):
    assert measures.steps_a_second_together(tiny, SMALL, 0.0, 2) > 0


def test_many_trials_run_in_one_process(trials: Trials, tmp_path: Path):
    assert measures.reserved_after_each(trials, tmp_path, 0.0, 2) == [0, 0]


@pytest.mark.parametrize(
    ("card", "peak"),
    [("NVIDIA H100 80GB HBM3", 9.89e14), ("NVIDIA H100 PCIe", 7.56e14), ("NVIDIA L4", 1.21e14),
     ("NVIDIA A100-SXM4-80GB", 3.12e14), ("Tesla T4", None)],
)  # fmt: skip
def test_peaks_are_those_of_the_card(card: str, peak: float | None):
    assert measures.peak_flops(card) == peak
