"""What every method in the registry promises, whatever its stages: the contract of a new method.

Each runs on a small 1D and a small 2D problem with tiny backbones: two epochs of each stage,
stopped and resumed after every one, and every setting of every stage shown to matter.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

import pytest
import torch

from tests.contracts.tiny_trials import DIMENSIONS, Run, weights
from trainables.methods.registry import METHODS

# Another value of each setting. One that acts only beside others is given with these.
OTHERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "meta.epochs": (1, {}),
    "meta.alpha": (0.5, {}),
    "meta.beta": (1e-2, {}),
    "meta.lambda": (10.0, {}),
    "meta.meta_grad": ("exact", {}),
    "meta.optimizer": ("sgd", {}),
    "meta.weight_decay": (0.5, {}),
    "meta.batch_size": (4, {}),
    "meta.classes": (2, {}),
    "meta.per_class": (3, {}),
    "meta.head_update": ("frozen", {}),
    "meta.clip_norm": (1e-3, {}),
    "refine.epochs": (3, {}),
    "refine.optimizer": ("sgd", {}),
    "refine.lr": (2e-3, {}),
    "refine.weight_decay": (0.5, {}),
    "refine.momentum": (0.5, {"refine.optimizer": "sgd"}),  # Adam has its own
    "refine.batch_size": (4, {}),
    "refine.accumulation": (2, {}),
    "refine.warmup_epochs": (0.5, {}),
    "refine.decay_epochs": (1.5, {}),
    "refine.clip_norm": (1e-3, {}),
    "refine.finetune": ("layernorm", {}),
    "refine.freeze": ("embedder", {}),
}
SETTINGS = [
    (method.name, f"{stage}.{field.alias or name}")
    for method in METHODS.values()
    for stage, config in method.stages.items()
    for name, field in config.model_fields.items()
]

pytestmark = pytest.mark.parametrize("dimension", DIMENSIONS)
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def run(trials):
    """Runs a trial to its end, each one once."""
    done: dict[str, Run] = {}

    def run(method: str, dimension: str, settings: Mapping[str, Any] = {}, *, seed: int = 0) -> Run:
        spec = trials.spec(method, dimension, settings, seed=seed)
        key = spec.model_dump_json()
        if key not in done:
            done[key] = trials.run(spec)
        return done[key]

    return run


def same(a: Run, b: Run) -> bool:
    """Whether two trials reported the same and ended with the same weights, bit for bit."""
    (reports, ours), (others, theirs) = a, b
    equal = ours.keys() == theirs.keys() and all(torch.equal(w, theirs[n]) for n, w in ours.items())
    return reports == others and equal


@every_method
def test_stages_report_each_epoch_in_their_order_and_the_last_report_is_final(
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


@every_method
def test_metrics_are_finite_named_by_stage_or_split_and_survive_json(run, method, dimension):
    reports, _ = run(method, dimension)
    for report in reports:
        assert report.metrics
        assert {name.partition("/")[0] for name in report.metrics} <= {report.stage, "val", "test"}
        assert all(isfinite(value) for value in report.metrics.values())
        assert json.loads(json.dumps(asdict(report))) == asdict(report)
        assert ("test/nrmse" in report.metrics) == report.is_final


@every_method
def test_a_trial_stopped_after_every_epoch_equals_one_that_was_not(
    trials, run, tmp_path, method, dimension
):
    spec = trials.spec(method, dimension)
    reports, trial = [], trials.begin(spec)
    while not (reports and reports[-1].is_final):
        reports.append(next(trial.reports()))
        trial.save(tmp_path / "checkpoint")
        trial = trials.begin(spec)
        with torch.no_grad():
            for parameter in trial.state.model.parameters():
                parameter.fill_(0.5)  # nothing may survive but what was saved
        torch.manual_seed(len(reports))
        trial.load(tmp_path / "checkpoint")
    assert same((reports, weights(trial)), run(method, dimension))


@every_method
def test_the_seed_decides_the_trial_and_nothing_else_does(trials, run, method, dimension):
    torch.manual_seed(1)
    assert same(trials.run(trials.spec(method, dimension)), run(method, dimension))
    assert not same(run(method, dimension, seed=1), run(method, dimension))


@every_method
def test_the_control_is_vanilla_fine_tuning(run, method, dimension):
    (controlled, _), (naive, _) = (
        run(method, dimension, METHODS[method].control),
        run("nft", dimension),
    )
    values = [r.objective for r in controlled if r.objective is not None]
    assert values == [r.objective for r in naive]
    assert controlled[-1].metrics["test/nrmse"] == naive[-1].metrics["test/nrmse"]


@pytest.mark.parametrize(("method", "setting"), SETTINGS)
def test_every_setting_of_every_stage_changes_the_trial(run, method, setting, dimension):
    assert setting in OTHERS, f"give another value of `{setting}` in OTHERS"
    value, beside = OTHERS[setting]
    before, after = (
        [r.objective for r in run(method, dimension, settings)[0] if r.objective is not None]
        for settings in (beside, {**beside, setting: value})
    )
    assert after != before
