"""DASH's stages: the largest weight is the choice, and a tuned trial is one with its values."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.support.tiny_trials import Trials, same_weights, weights
from trainables.errors import ConfigError, NonFiniteLoss
from trainables.methods.dash.config import SearchConfig, TrainConfig, TuneConfig
from trainables.methods.dash.method import DASH, published
from trainables.methods.dash.network import Fixed
from trainables.methods.dash.train import Train, Tuned
from trainables.methods.dash.tune import ShortTraining, Tune
from trainables.runtime.training import Training
from trainables.storage.stage_store import StageStore
from trainables.tasks.registry import TASKS

TINY: Mapping[str, Any] = {
    "search.epochs": 1,
    "search.sizes": (3, 5),
    "search.dilations": (1, 3),
    "search.depth": 10,
    "search.share": 1.0,
    "tune.epochs": 0,
    "train.epochs": 1,
    "train.width": 1,
    "train.lr": 1e-2,
}


@pytest.fixture
def store(tmp_path) -> StageStore:
    return StageStore(str(tmp_path / "stages"), tmp_path / "scratch")


def spec(trials: Trials, dimension: str = "1d", **settings: Any):
    given = {name.replace("__", "."): value for name, value in settings.items()}
    return trials.spec("dash", dimension, {**TINY, **given})


def operations(training: Training) -> list[tuple[int, ...]]:
    fixed = [each for each in training.state.model.modules() if isinstance(each, Fixed)]
    return [tuple(each.chosen.tolist()) for each in fixed]


@pytest.mark.slow
@pytest.mark.parametrize("dimension", ["1d", "2d"])
def test_training_uses_the_operation_with_the_largest_weight_of_each_layer(trials, dimension):
    training = trials.begin(spec(trials, dimension))
    reports = training.reports()
    next(reports)
    layers = training.state.extras["search"].mixed
    pairs = list(product((3, 5), (1, 3)))
    picked = torch.randint(4, (len(layers),), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer, index in zip(layers, picked, strict=True):
            layer.logits[index] = 10.0
    list(reports)
    assert operations(training) == [pairs[index] for index in picked]


def test_a_search_moves_kernels_and_weights_of_operations(trials):
    training = trials.begin(spec(trials))
    before = {k: v.clone() for k, v in training.state.extras["search"].state_dict().items()}
    next(training.reports())
    after = training.state.extras["search"].state_dict()
    assert all(not torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.slow
def test_a_larger_penalty_leads_to_smaller_fields(trials):
    def field(penalty: float) -> float:
        settings = {"search__epochs": 3, "search__field_penalty": penalty, "search__arch_lr": 0.5}
        reports, _ = trials.run(spec(trials, **settings))
        return reports[2].metrics["search/field"]

    assert field(0.5) == 3.0
    assert field(0.0) > 3.0


def test_the_gradient_of_each_layer_has_the_norm_that_is_set(trials):
    training = trials.begin(spec(trials, search__field_penalty=0.0, search__clip_norm=None))
    next(training.reports())
    for layer in training.state.extras["search"].mixed:
        assert layer.logits.grad.norm().item() == pytest.approx(1 / 100, rel=1e-4)


def test_without_search_and_tuning_it_is_a_plain_network_whatever_the_candidates(trials):
    control = {"search__epochs": 0, "tune__epochs": 0}
    assert dict(DASH.control) == {"search.epochs": 0, "tune.epochs": 0}
    training = trials.begin(spec(trials, **control))
    list(training.reports())
    assert set(operations(training)) == {(3, 1)}
    other = trials.run(spec(trials, search__dilations=(1, 7), search__lr=0.5, **control))[1]
    assert same_weights(weights(training), other)


@pytest.mark.slow
def test_a_tuned_trial_equals_one_with_the_settings_of_its_best_candidate(trials):
    lists = {"tune__lrs": (0.03, 1e-6), "tune__dropouts": (0.3,), "tune__weight_decays": (0.1,),
             "tune__momenta": (0.5,), "tune__passes": 4, "tune__batch_size": 2,
             "tune__share": 1.0}  # fmt: skip
    reports, tuned = trials.run(spec(trials, tune__epochs=2, **lists))
    errors = [report.metrics["tune/error"] for report in reports if report.stage == "tune"]
    assert len(errors) == 2
    best = (0.03, 1e-6)[int(np.argmin(errors))]
    plain = trials.run(
        spec(trials, train__lr=best, train__dropout=0.3, train__weight_decay=0.1,
             train__momentum=0.5)
    )[1]  # fmt: skip
    assert same_weights(tuned, plain)


def test_tuning_leaves_the_model_alone(trials):
    training = trials.begin(spec(trials, tune__epochs=2, tune__passes=1))
    before = {k: v.clone() for k, v in training.state.model.state_dict().items()}
    reports = training.reports()
    for _ in range(3):
        assert next(reports).stage != "train"
    assert same_weights(before, training.state.model.state_dict())
    assert isinstance(training.state.extras["tuned"], Tuned)


@pytest.mark.slow
def test_a_candidate_that_diverges_loses_and_all_of_them_end_the_trial(trials):
    wild = {"tune__passes": 3, "tune__share": 1.0, "tune__batch_size": 2}
    reports, _ = trials.run(
        spec(trials, tune__epochs=2, tune__lrs=(9.9, 1e-3), tune__momenta=(0.99,),
             tune__weight_decays=(9.9,), tune__dropouts=(0.0,), **wild)
    )  # fmt: skip
    tuned = [report.metrics for report in reports if report.stage == "tune"]
    assert all(np.isfinite(value) for metrics in tuned for value in metrics.values())
    assert [metrics["tune/diverged"] for metrics in tuned] == [1.0, 0.0]
    found = Tuned()
    found.keep(float("inf"), (9.9, 0.0, 0.0, 0.0))
    assert found.best == {}
    found.keep(2.0, (0.1, 0.0, 0.0, 0.5))
    found.keep(3.0, (0.2, 0.0, 0.0, 0.5))
    assert found.best["lr"] == pytest.approx(0.1)
    stage = Tune("tune", TuneConfig(epochs=1, lrs=(0.1,)))
    training = trials.begin(spec(trials, tune__epochs=1))
    training.state.stage = 1
    stage.try_candidate = lambda *_: (float("inf"), {"lr": 0.1, "diverged": 1.0})
    with pytest.raises(NonFiniteLoss, match=r"add a lower rate to tune\.lrs"):
        list(stage.run(training.state, training.domains))


@pytest.mark.parametrize(
    ("batches", "share", "expected"),
    [(4, 1.0, 4), (4, 0.2, 1), (10, None, 2), (60, None, 6), (200, None, 10), (1000, None, 10)],
)
def test_a_short_epoch_has_a_share_of_the_batches(batches, share, expected):
    stage = ShortTraining("tune", TrainConfig(batch_size=2), share)
    assert len(stage.batches(2 * batches, 0, 0)) == expected


@pytest.mark.slow
def test_one_search_serves_trials_that_differ_in_training(trials, store):
    def run(name: str, **settings: Any):
        training = Training.begin(spec(trials, **settings), trials.parts, store=store, name=name)
        reports = list(training.reports())
        return [report.computed_by for report in reports], weights(training)

    tried = {"tune__epochs": 1, "tune__passes": 1}
    assert run("first")[0] == [None, None]
    for settings in ({"train__lr": 3e-2}, {"train__dropout": 0.3}, {"train__batch_size": 4}, tried):
        computed_by, ours = run("second", **settings)
        assert computed_by[0] == "first"
        assert same_weights(ours, trials.run(spec(trials, **settings))[1])
    assert run("third", **tried, train__epochs=2)[0][:2] == ["first", "second"]
    assert run("fourth", search__lr=0.03)[0] == [None, None]


def test_rates_fall_after_the_steps_of_the_schedule():
    stage = Train("train", TrainConfig(lr=1.0, lr_steps=(0, 2), lr_factor=0.5))
    assert [stage.rate(step, 2) for step in range(8)] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    linear = Train("train", TrainConfig(lr=1.0, epochs=4, warmup_epochs=0, schedule="linear"))
    assert [linear.rate(step, 1) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("config", "settings", "match"),
    [
        (SearchConfig, {"sizes": (3, 4)}, "must be odd"),
        (SearchConfig, {"sizes": (3, 3)}, "has 3 twice"),
        (SearchConfig, {"dilations": ()}, "at least 1"),
        (SearchConfig, {"depth": 12}, r"6 n \+ 4"),
        (TrainConfig, {"finetune": "layernorm"}, "all"),
        (TuneConfig, {"lrs": (0.0,)}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused(config, settings, match):
    with pytest.raises(ValidationError, match=match):
        config(**settings)


def test_more_candidates_than_there_are_are_refused_before_the_first_epoch(trials):
    with pytest.raises(ConfigError, match=r"tune\.epochs is 17, .* make 16 candidates"):
        trials.begin(spec(trials, tune__epochs=17))
    assert len(Tune("tune", TuneConfig()).candidates()) == 24  # the official grid


def test_every_task_has_published_settings_that_validate():
    for name in TASKS:
        stages: dict[str, dict[str, Any]] = {stage: {} for stage in DASH.stages}
        for setting, value in published(TASKS[name]).items():
            stage, _, parameter = setting.partition(".")
            stages[stage][parameter] = value
        for stage, config in DASH.stages.items():
            config(**stages[stage])
    assert published(TASKS["nasbench360/ninapro"])["search.sizes"] == [3, 5, 7]
    assert published(TASKS["pdebench/darcy_2d"])["train.lr"] == 0.01
