"""An epoch with checkpoints against one without: 76 MB of weights, twice as much of moments.

Attempts with a checkpoint after each epoch take turns with the bare training. The clock also counts
what other processes of the machine take, so that the law is about the processor time of the copy,
for which alone the training waits.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.figures import compare
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.report import Failed
from trainables.runtime.attempt import Attempt
from trainables.runtime.checkpoints import Buffers, Snapshot
from trainables.runtime.method_run import PARTS
from trainables.runtime.training import Training
from trainables.spec import AttemptConfig, TrialSpec

EPOCHS, ROUNDS = 4, 1

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

Times = tuple[float, float]  # of a clock, and of the processor in this thread


def timed(call: Callable[..., object], *arguments: object) -> Times:
    wall, processor = time.perf_counter(), time.thread_time()
    assert not isinstance(call(*arguments), Failed)
    return time.perf_counter() - wall, time.thread_time() - processor


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> TrialSpec:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    save_tiny_roberta(home / "roberta", width=768, layers=4)
    refine = {"epochs": EPOCHS + 1, "batch_size": 16, "lr": 1e-5, "warmup_epochs": 1}
    return TrialSpec.model_validate(
        {
            "method": "nft",
            "task": "pdebench/advection_1d@hard",
            "backbone": {"name": str(home / "roberta"), "tokens": 64},
            "data": {"samples": 48, "val_fraction": 0.17, "test_fraction": 0.17, "resolution": 128},
            "model": {"head": "linear"},
            "stages": {"refine": refine},
            "home": home,
        }
    )


def test_checkpoints_cost_an_epoch_at_most_a_hundredth(spec, tmp_path):
    with_them: list[Times] = []
    without: list[Times] = []
    saves: list[Times] = []
    copies: list[Times] = []  # all that the training waits for
    for turn in range(ROUNDS):
        training = Training.begin(spec, PARTS)
        weights = sum(value.nbytes for value in training.state.model.state_dict().values())
        reports = training.reports()
        next(reports)
        without += [timed(next, reports) for _ in range(EPOCHS - 1)]
        saves.append(timed(training.save, tmp_path / "saved"))
        buffers = Buffers()
        copies += [timed(Snapshot.of, training.state, buffers) for _ in range(4)][1:]
        plain = spec.model_dump(mode="json", by_alias=True)
        attempt = Attempt(AttemptConfig(spec=plain, label="x", folder=str(tmp_path / str(turn))))
        attempt.step()
        # Each epoch contains the write of the checkpoint before it.
        with_them += [timed(attempt.step) for _ in range(EPOCHS - 1)]
        attempt.close()
        files = list(Path(tmp_path, str(turn)).glob("*/best.safetensors"))
        print(f"{weights / 1e6:.0f} MB of weights, checkpoints: {len(files)}")
    medians = [[statistics.median(column) for column in zip(*rows, strict=True)]
               for rows in (with_them, without, saves, copies)]  # fmt: skip
    ours, bare, save, copy = medians
    for name, index in (("clock", 0), ("processor", 1)):
        print(f"{name}: an epoch {bare[index]:.2f} s, with checkpoints {ours[index]:.2f} s, "
              f"ratio {ours[index] / bare[index]:.4f}; if it waited: "
              f"{1 + save[index] / bare[index]:.4f}; "
              f"the copy alone: {1 + copy[index] / bare[index]:.4f}")  # fmt: skip
    assert bare[0] >= 5
    with_copy = compare("an epoch that copies its checkpoint", bare[1] + copy[1], bare[1],
                        peer="an epoch without", unit="core-s", goal="<= 1.01")  # fmt: skip
    assert with_copy <= 1.01
