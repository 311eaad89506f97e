"""The contract of every method in the registry, whatever its stages.

Each runs on a small 1D and a small 2D problem with tiny backbones: two epochs of each stage,
stopped and resumed after every one, every setting of every stage shown to matter, and data that
leave next to nothing to learn, or nothing at all.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.settings import CHOOSING, OTHERS, RECORDED, SETTINGS, of_each_stage, once_a_stage
from tests.support.tiny_trials import (
    DIMENSIONS,
    LEARNING,
    METHODS_BY_TURNS,
    ON_BACKBONES,
    Run,
    by_turns,
    same_weights,
)
from trainables.errors import ConfigError, TrainableError
from trainables.methods.registry import METHODS
from trainables.report import Report
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task

pytestmark = pytest.mark.slow  # each method trains

every_dimension = pytest.mark.parametrize("dimension", DIMENSIONS)
every_method = pytest.mark.parametrize("method", LEARNING)
by_method = pytest.mark.parametrize(("method", "dimension"), METHODS_BY_TURNS)


@pytest.fixture(scope="module")
def run(trials):
    """Run a trial to its end, each one once."""
    done: dict[str, Run] = {}

    def run(method: str, dimension: str, settings: Mapping[str, Any] = {}, *, seed: int = 0) -> Run:
        spec = trials.spec(method, dimension, settings, seed=seed)
        key = spec.model_dump_json()
        if key not in done:
            done[key] = trials.run(spec)
        return done[key]

    return run


def same(a: Run, b: Run) -> bool:
    """Return whether two trials reported the same and ended with the same weights, bit for bit."""
    (reports, ours), (others, theirs) = a, b
    return reports == others and same_weights(ours, theirs)


@every_dimension
@every_method
def test_each_epoch_of_each_stage_is_reported_with_finite_metrics_by_their_names(
    run, method, dimension
):
    reports, _ = run(method, dimension)
    stages = METHODS[method].stages
    assert [(r.stage, r.epoch, r.num_epochs) for r in reports] == [
        (stage, epoch, 2) for stage in stages for epoch in (1, 2)
    ]
    assert [r.is_final for r in reports] == [False] * (len(reports) - 1) + [True]
    assert [r.objective is not None for r in reports] == [
        config.reports_objective for config in stages.values() for _ in range(2)
    ]
    for report in reports:
        assert report.metrics
        assert {name.partition("/")[0] for name in report.metrics} <= {report.stage, "val", "test"}
        assert all(isfinite(value) for value in report.metrics.values())
        assert json.loads(json.dumps(asdict(report))) == asdict(report)
        assert ("test/nrmse" in report.metrics) == report.is_final
        names = {n.partition("/")[2] for n in report.metrics if n.startswith(f"{report.stage}/")}
        assert names >= {"grad_norm", "lr"}
        assert any(name.endswith("_loss") for name in names)
        assert (report.objective is not None) == ("val/loss" in report.metrics)


@every_dimension
@every_method
def test_a_trial_stopped_after_every_epoch_equals_one_that_was_not(
    trials, run, tmp_path, method, dimension
):
    spec = trials.spec(method, dimension)
    assert same(trials.run_stopped(spec, tmp_path), run(method, dimension))


@pytest.mark.parametrize("method", ["mona", "pare"])
def test_draws_of_drop_path_survive_a_stop_and_leave_the_control_what_it_is(
    trials, tmp_path, method
):
    def spec(method: str, settings: Mapping[str, Any] = {}) -> TrialSpec:
        return trials.spec(method, "2d", settings).with_model(drop_path=0.3)

    whole = trials.run(spec(method))
    stopped = trials.run_stopped(spec(method), tmp_path)
    assert same(stopped, whole)
    assert_finite(stopped[0])
    _, controlled = trials.run(spec(method, METHODS[method].control))
    naive = trials.run(spec("nft"))[1]
    assert all(torch.equal(w, naive[name]) for name, w in controlled.items())
    undropped = trials.run(trials.spec("nft", "2d"))[1]
    assert not all(torch.equal(w, undropped[name]) for name, w in naive.items())


@every_dimension
@every_method
def test_the_seed_decides_the_trial_and_nothing_else_does(trials, run, method, dimension):
    torch.manual_seed(1)
    assert same(trials.run(trials.spec(method, dimension)), run(method, dimension))
    assert not same(run(method, dimension, seed=1), run(method, dimension))


@every_dimension
@pytest.mark.parametrize("method", ON_BACKBONES)
def test_the_control_is_vanilla_fine_tuning(run, method, dimension):
    (controlled, ours), (naive, theirs) = (
        run(method, dimension, METHODS[method].control),
        run("nft", dimension),
    )
    values = [r.objective for r in controlled if r.objective is not None]
    assert values == [r.objective for r in naive]
    assert controlled[-1].metrics["test/nrmse"] == naive[-1].metrics["test/nrmse"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(w, theirs[name]) for name, w in ours.items())


@every_dimension
def test_recraft_without_its_matching_is_orca(run, dimension):
    """ORCA's own warm-up has no epochs in its published runs."""
    ours = run("recraft", dimension, {"match.epochs": 0})
    assert same(ours, run("orca", dimension, {"warmup.epochs": 0}))


def assert_finite(reports: Iterable[Report]) -> None:
    for report in reports:
        assert all(isfinite(value) for value in report.metrics.values()), report


@by_method
def test_batches_of_one_sample_will_do(trials, method, dimension):
    settings = of_each_stage(method, epochs=1, batch_size=1, max_samples=2)
    assert_finite(trials.begin(trials.spec(method, dimension, settings)).reports())


@by_method
def test_a_prime_number_of_points_will_do(trials, method, dimension):
    spec = trials.spec(method, dimension, of_each_stage(method, epochs=1))
    data = spec.data.model_copy(update={"resolution": {"1d": 31, "2d": 11}[dimension]})
    assert_finite(trials.begin(spec.model_copy(update={"data": data})).reports())


def begin_on(trials, spec, change: Callable[[Task], Task]) -> Training:
    """Begin a trial whose task has been changed."""
    parts = WarmParts()
    parts.backbone, parts.source = trials.parts.backbone, trials.parts.source
    parts.task = lambda *of: change(trials.parts.task(*of))
    return Training.begin(spec, parts)


def filled(split: Split, array: str, number: float) -> Split:
    return replace(split, **{array: np.full_like(getattr(split, array), number)})


@by_method
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_that_are_all_nan_end_the_trial_with_a_reason(trials, method, dimension, split):
    def change(task: Task) -> Task:
        broken = filled(getattr(task, split), "y", np.nan)
        return replace(task, **{split: broken}, content_hash=f"{dimension}/nan in {split}")

    spec = trials.spec(method, dimension, of_each_stage(method, epochs=1))
    with pytest.raises(TrainableError, match=r"nan|NaN"):
        list(begin_on(trials, spec, change).reports())


@by_method
@pytest.mark.parametrize("array", ["x", "y"])
def test_constant_data_train_or_are_refused_before_the_first_epoch(
    trials, method, dimension, array
):
    def change(task: Task) -> Task:
        constant = filled(task.train, array, 2.0)
        return replace(task, train=constant, content_hash=f"{dimension}/constant {array}")

    spec = trials.spec(method, dimension, of_each_stage(method, epochs=1, measure=8))
    if array == "y" and "contrast" in METHODS[method].stages:
        with pytest.raises(ConfigError, match="are of one class"):
            begin_on(trials, spec, change)
        return
    assert_finite(begin_on(trials, spec, change).reports())


CHANGING = [item for item in SETTINGS if item[1].partition(".")[2] not in RECORDED]
EACH = by_turns(*once_a_stage(CHANGING))
RECORDING = by_turns(*(item for item in SETTINGS if item not in CHANGING))


@pytest.mark.parametrize(("method", "setting", "dimension"), RECORDING)
def test_what_only_records_is_recorded_and_leaves_the_weights_alone(
    run, method, setting, dimension
):
    stage, _, name = setting.partition(".")
    (given, brings) = RECORDED[name]
    before, after = (
        run(method, dimension, {f"{stage}.{k}": v for k, v in settings.items()})
        for settings in ({name: 0}, given)
    )
    added = {n for r in after[0] for n in r.metrics} - {n for r in before[0] for n in r.metrics}
    assert brings in {name.removeprefix(f"{stage}/") for name in added}
    assert all(torch.equal(w, after[1][n]) for n, w in before[1].items())


@pytest.mark.parametrize(("method", "setting", "dimension"), EACH)
def test_every_setting_of_every_stage_changes_the_trial(run, method, setting, dimension):
    assert setting in OTHERS, f"give another value of `{setting}` in OTHERS"
    value, beside = OTHERS[setting]
    before, after = (
        run(method, dimension, settings) for settings in (beside, {**beside, setting: value})
    )
    if setting.partition(".")[0] in CHOOSING:
        assert before[0] != after[0]
        return
    (_, before), (_, after) = before, after
    # of the last and the best weights
    assert any(n not in after or not torch.equal(w, after[n]) for n, w in before.items())
