"""A trial of two processes is the same trial: its curve, its checkpoints, its deaths."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sweeper.core.policies import classify
from tests.support import failing_rank
from tests.support.results import report_of
from trainables.methods.registry import METHODS
from trainables.report import Failed, Measured, StepResult, to_plain
from trainables.runtime.attempt import Attempt
from trainables.runtime.method_run import RANKS
from trainables.runtime.ranks import processes
from trainables.runtime.warm import WarmParts
from trainables.spec import AttemptConfig, TrialSpec

pytestmark = pytest.mark.slow
EPOCHS = 3


@pytest.fixture(scope="module", autouse=True)
def _no_process_stays():
    yield
    RANKS.stop()


@pytest.fixture
def spec_of(trials):
    """Make a trial each epoch of which has steps of 7 samples and of a single one, so that in the
    last one the second process has no sample."""

    def make(method: str = "nft", dimension: str = "1d", **model) -> TrialSpec:
        stage = [*METHODS[method].stages][-1]
        settings = {f"{stage}.epochs": EPOCHS, f"{stage}.batch_size": 7, f"{stage}.clip_norm": 1.0}
        spec = trials.spec(method, dimension, settings)
        return spec.model_copy(update={"model": spec.model.model_copy(update=model)})

    return make


@pytest.fixture
def train(tmp_path):
    """Run an attempt in two processes."""

    def train(spec: TrialSpec, name: str = "x", resume=()) -> tuple[list[StepResult], Path]:
        attempt = Attempt(
            AttemptConfig(
                spec=spec.model_dump(mode="json", by_alias=True),
                label="x",
                folder=str(tmp_path / name),
                processes=2,
                resume=resume,
            )
        )
        results = [attempt.step()]
        while not results[-1].is_last:
            results.append(attempt.step())
        attempt.close()
        return results, tmp_path / name

    return train


def checkpoints(folder: Path) -> list[str]:
    """Return the checkpoints of an attempt, newest first."""
    return sorted(map(str, folder.glob("refine-*")), reverse=True)


@pytest.mark.parametrize(
    ("method", "dimension", "model"),
    [
        ("nft", "1d", {}),
        ("pare", "1d", {}),
        ("mixup", "2d", {"drop_path": 0.5}),  # drawn for all samples, of which each has its own
    ],
)
def test_two_processes_have_the_curve_of_one(trials, spec_of, train, method, dimension, model):
    spec = spec_of(method, dimension, **model)
    alone, _ = replace(trials, parts=WarmParts()).run(spec)  # as both processes read their source
    results, _ = train(spec)
    assert len(results) == len(alone) == EPOCHS
    for result, report in zip(results, alone, strict=True):
        assert isinstance(result, Measured), result
        expected = dict(report.metrics)
        assert dict(result.measurement.metrics) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert result.measurement.is_final == report.is_final


def test_a_killed_process_is_a_crash_and_the_trial_goes_on_with_the_same_bits(
    spec_of, train, monkeypatch
):
    whole, calm = train(spec_of(), "calm")
    with monkeypatch.context() as patch:
        patch.setattr(processes, "PROGRAM", failing_rank.NAME)
        patch.setenv("FAILURE", "killed")
        RANKS.stop()
        cut, folder = train(spec_of(), "cut")
    assert isinstance(cut[0], Measured)
    failed = cut[1]
    assert isinstance(failed, Failed)
    assert "process 2 of 2" in failed.reason
    assert "SIGKILL" in failed.reason
    assert classify(failed.traceback) == "crash"
    assert not RANKS.pids
    rest, again = train(spec_of(), "again", resume=tuple(checkpoints(folder)))
    told = [[report_of(to_plain(result)) for result in results] for results in (rest, whole[1:])]
    assert told[0] == told[1]
    ours, theirs = (load_file(f"{checkpoints(f)[0]}/last.safetensors") for f in (again, calm))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_memory_that_one_process_lacks_is_the_class_that_halves_batches(
    spec_of, train, monkeypatch
):
    monkeypatch.setattr(processes, "PROGRAM", failing_rank.NAME)
    monkeypatch.setenv("FAILURE", "memory")
    RANKS.stop()
    (_, failed), _ = train(spec_of())
    assert isinstance(failed, Failed)
    assert failing_rank.MEMORY in failed.reason
    assert "in fail" in failed.traceback, "the other process's own"
    assert classify(failed.traceback) == "cuda_oom"
    RANKS.stop()
