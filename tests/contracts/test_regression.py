"""The contract of every method on regressions: two numbers a sample, in units far apart.

The targets are the mean and the spread of the fields that the other contracts predict.
"""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import numpy as np
import pytest
import torch

from tests.support.settings import of_each_stage
from tests.support.tiny_trials import (
    DIMENSIONS,
    ON_BACKBONES,
    Trials,
    by_turns,
    methods_on,
    same_weights,
)
from trainables.methods.registry import METHODS
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.storage.stage_store import StageStore
from trainables.tasks.kinds import KINDS
from trainables.tasks.store.split import SPLITS, Split
from trainables.tasks.task import Task
from trainables.testing.small import weights

pytestmark = pytest.mark.slow

UNITS = np.array([2.0**-20, 2.0**30], dtype=np.float32)  # exact factors in binary
SHARING = [name for name, method in METHODS.items() if len(method.stages) > 1]

Change = Callable[[Task], Task]


def regression(task: Task, metric: str = "rmse", units: np.ndarray = UNITS) -> Task:
    """Return the task of predicting mean and spread of each field, in the given units."""

    def numbers(split: Split) -> Split:
        fields = split.y.reshape(len(split), -1)
        y = np.stack([fields.mean(axis=1), fields.std(axis=1)], axis=1) * units
        return replace(split, y=y.astype(np.float32))

    info = replace(
        task.info,
        kind="regression",
        metric=metric,
        loss=KINDS["regression"].losses[metric],
        channels=(task.info.channels[0], 2),
    )
    splits = {split: numbers(getattr(task, split)) for split in SPLITS}
    return replace(task, info=info, **splits, content_hash=f"{task.content_hash}/{units}")


def of(trials: Trials, change: Change = regression) -> Trials:
    """Return trials of the changed tasks."""
    parts = WarmParts()
    parts.backbone, parts.source = trials.parts.backbone, trials.parts.source
    parts.task = lambda *named: change(trials.parts.task(*named))
    return Trials(trials.home, parts=parts)


@pytest.fixture
def regressions(trials) -> Trials:
    return of(trials)


every_dimension = pytest.mark.parametrize("dimension", DIMENSIONS)
every_method = pytest.mark.parametrize("method", methods_on("regression"))
by_turn = pytest.mark.parametrize(
    ("method", "dimension"), by_turns(*((name,) for name in methods_on("regression")))
)


@every_dimension
@every_method
def test_a_trial_stopped_after_every_epoch_equals_one_that_was_not(
    regressions, tmp_path, method, dimension
):
    spec = regressions.spec(method, dimension, {f"{s}.measure": 8 for s in ("align", "meta")
                                                if s in METHODS[method].stages})  # fmt: skip
    whole, expected = regressions.run(spec)
    reports, ours = regressions.run_stopped(spec, tmp_path)
    assert reports == whole
    assert same_weights(ours, expected)
    assert all(isfinite(value) for report in whole for value in report.metrics.values())
    assert {"test/rmse", "val/rmse"} <= whole[-1].metrics.keys()


@by_turn
def test_a_trial_does_not_depend_on_the_units_of_the_targets(trials, method, dimension):
    """Neither weights nor values of R2. Factors are powers of two, whose products are exact."""
    (ours, left), (theirs, right) = (
        of(trials, lambda task, units=units: regression(task, "one_minus_r2", units)).run(
            trials.spec(method, dimension)
        )
        for units in (UNITS, np.ones(2, dtype=np.float32))
    )
    assert same_weights(left, right)
    assert ours == theirs


@pytest.mark.parametrize(("method", "dimension"), by_turns(*((m,) for m in ON_BACKBONES)))
def test_the_control_is_vanilla_fine_tuning(regressions, method, dimension):
    spec = regressions.spec(method, dimension, METHODS[method].control)
    (controlled, ours), (naive, theirs) = (
        regressions.run(each) for each in (spec, regressions.spec("nft", dimension))
    )
    assert same_weights(ours, theirs)
    assert controlled[-1].metrics["test/rmse"] == naive[-1].metrics["test/rmse"]


@pytest.mark.parametrize(("method", "dimension"), by_turns(*((name,) for name in SHARING)))
def test_shared_stages_are_the_same_bits(regressions, tmp_path, method, dimension):
    spec = regressions.spec(method, dimension)
    whole, expected = regressions.run(spec)
    for name, computed_by in (("first", None), ("second", "first")):
        store = StageStore(str(tmp_path / "stages"), tmp_path / "scratch")
        trial = Training.begin(spec, regressions.parts, store=store, name=name)
        reports = list(trial.reports())
        assert [replace(report, computed_by=None) for report in reports] == whole
        assert same_weights(weights(trial), expected)
        early = [report for report in reports if report.stage != trial.stages[-1].name]
        assert {report.computed_by for report in early} == {computed_by}


@by_turn
def test_smaller_micro_batches_lead_to_the_same_weights(regressions, method, dimension):
    settings = of_each_stage(method, optimizer="sgd", lr=0.01, batch_size=4)
    spec = regressions.spec(method, dimension, settings)
    whole, cut = (
        regressions.run(spec.model_copy(update={"halvings": halvings}))[1] for halvings in (0, 1)
    )
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("metric", KINDS["regression"].metrics)
def test_every_metric_of_the_kind_is_trained_and_reported(trials, metric):
    made = of(trials, lambda task: regression(task, metric))
    reports, _ = made.run(trials.spec("nft", "1d"))
    assert isfinite(reports[-1].metrics[f"test/{metric}"])
    assert reports[-1].objective == reports[-1].metrics[f"val/{metric}"]
