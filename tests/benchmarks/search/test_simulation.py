"""The simulated cluster: its clock, its budget, and our runner on it, in closed form."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from pyarrow import parquet

from sweeper.model import Params
from sweeper.spec.distributions import Choice, Float
from tests.benchmarks.search.arms import ARMS
from tests.benchmarks.search.results import PLACES, Cell, interval_of_mean, needed, within
from tests.benchmarks.search.simulation import simulate
from tests.benchmarks.search.tasks import (
    LCBENCH,
    RECORDED,
    XGBOOST,
    XGBOOST_SPACE,
    Curve,
    Scale,
    recorded,
    split,
    xgboost,
)
from tests.support.real_data import need

EPOCHS = 9


@dataclass(frozen=True)
class Slope:
    """Errors that fall to the value of the only parameter, in epochs of two seconds."""

    name: str = "slope"
    family: str = "test"
    num_epochs: int = EPOCHS
    first_seed: int = 0
    parameters: dict[str, Float] = field(default_factory=lambda: {"x": Float(low=0.0, high=1.0)})
    scale: Scale = field(default_factory=lambda: Scale(best=0.0, median=0.5, epoch_seconds=2.0))

    def curve(self, params: Params) -> Curve:
        left = np.arange(EPOCHS - 1, -1, -1) / EPOCHS
        return Curve(params["x"] + left, np.full(EPOCHS, 2.0))


def trace_of(arm: str, *, workers: int, epochs: int):
    with ARMS[arm](Slope(), 0) as search:
        return simulate(search, Slope(), workers=workers, epochs=epochs)


@pytest.mark.parametrize("workers", [1, 3])
def test_without_pruning_the_clock_is_the_work_divided_by_the_workers(workers):
    trace = trace_of("random", workers=workers, epochs=6 * EPOCHS)
    assert 6 <= trace.num_trials < 6 + workers  # the last ones have begun
    assert len(trace.errors) == 6 * EPOCHS
    ideal = 6 * EPOCHS * 2.0 / workers
    assert ideal <= trace.seconds[-1] <= ideal + trace.search_seconds


@pytest.mark.parametrize(
    "arm", ["TPE + halving", "random + halving", "Optuna", "Optuna, Hyperband"]
)
def test_halving_tries_more_trials_for_the_same_epochs(arm):
    trace = trace_of(arm, workers=2, epochs=10 * EPOCHS)
    assert len(trace.errors) == 10 * EPOCHS
    assert trace.num_trials > 11
    assert (np.diff(trace.errors) <= 0).all()
    assert (np.diff(trace.seconds) >= 0).all()


def test_a_trace_is_read_by_epochs_and_by_the_clock():
    trace = trace_of("random", workers=1, epochs=2 * EPOCHS)
    assert trace.after_epochs(0) == trace.errors[0]
    assert trace.after_epochs(10**6) == trace.errors[-1]
    assert trace.after_seconds(trace.seconds[4]) == trace.errors[4]


def test_the_needed_share_is_the_first_place_at_the_goal():
    falling = 1 - PLACES
    assert needed(falling, 0.4) == pytest.approx(0.6)
    assert needed(falling, -0.1) == float("inf")


def test_the_tasks_are_split_as_written_down():
    need(LCBENCH.name)
    development, confirmation = split()
    assert [len(development), len(confirmation)] == [13, 28]
    assert not {each.name for each in development} & {each.name for each in confirmation}
    assert [each.family for each in confirmation].count("taskset") == 3


def test_the_space_of_xgboost_is_that_of_its_file_and_its_tasks_are_split_as_written_down():
    stored = json.loads((need(XGBOOST.name) / "config_space.json").read_text())
    theirs = {each["name"]: each for each in stored["hyperparameters"]}
    assert {*theirs} == {*XGBOOST_SPACE, "task_id", "trainsize", "repl"}
    conditions = {each["child"]: each for each in stored["conditions"]}
    for name, ours in XGBOOST_SPACE.items():
        if isinstance(ours, Choice):
            assert {*ours.values} == {*theirs[name]["choices"]}
        else:
            ends = [theirs[name]["lower"], theirs[name]["upper"]]
            assert [ours.low, ours.high] == pytest.approx(ends)
            assert ours.log == theirs[name]["log"]
        condition = conditions.get(name, {})
        values = condition.get("values", [condition.get("value")])
        assert {*ours.when.get("booster", [None])} == {*values}
    assert [len(xgboost(rest)) for rest in range(6)][:2] == [24, 22]


def test_a_training_on_more_data_costs_more_and_inactive_parameters_have_no_effect():
    need(XGBOOST.name)
    task = xgboost(1)[3]
    params = {n: (each.values[0] if isinstance(each, Choice) else each.examples()[-1])
              for n, each in XGBOOST_SPACE.items() if not each.when}  # fmt: skip
    curve = task.curve(params)
    assert len(curve.errors) == task.num_epochs
    assert (curve.seconds > 0).all()
    assert task.scale.best < curve.errors.min() < 1
    assert (task.curve({**params, "booster": "gbtree"}).errors != curve.errors).any()


def test_an_arm_that_is_always_ahead_is_within_on_all_tasks_with_any_seeds():
    def cell(end: float) -> Cell:
        curves = np.linspace(1, end, len(PLACES)) + np.zeros((5, 1))
        return Cell(by_epochs=curves, by_seconds=curves, search_seconds=0, num_trials=1, share=1,
                    last=end)  # fmt: skip

    assert within([(cell(0.0), cell(0.5))] * 4, "epochs") == (4, 4, 4)
    assert within([(cell(0.5), cell(0.5))] * 4, "seconds") == (0, 0, 0)


def test_the_interval_of_a_mean_holds_it_and_narrows_with_the_tasks():
    values = np.random.default_rng(1).standard_normal(400)
    (low, high), (few_low, few_high) = map(interval_of_mean, (values, values[:25]))
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * values.std() / 20, rel=0.1)
    assert few_high - few_low > 3 * (high - low)


def test_our_own_tasks_have_sixty_whole_curves_each():
    tasks = recorded()
    assert len({task.name for task in tasks}) == 3
    for task in tasks:
        rows = parquet.read_table(RECORDED, filters=[("task", "=", task.name)]).to_pylist()
        assert len(rows) == 60
        for row in rows:  # a recorded configuration is its own nearest row
            curve = task.curve(row["params"])
            assert curve.errors.tolist() == row["errors"]
            assert len(curve.errors) == len(curve.seconds) == task.num_epochs
            assert min(curve.seconds) > 0
