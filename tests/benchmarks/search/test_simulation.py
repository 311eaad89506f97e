"""The simulated cluster: its clock, its budget, and our runner on it, in closed form."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from pyarrow import parquet

from sweeper.model import Params
from sweeper.spec.distributions import Float
from tests.benchmarks.search.arms import ARMS
from tests.benchmarks.search.results import PLACES, needed
from tests.benchmarks.search.simulation import simulate
from tests.benchmarks.search.tasks import LCBENCH, RECORDED, Curve, Scale, recorded, split
from tests.support.real_data import need

EPOCHS = 9


@dataclass(frozen=True)
class Slope:
    """Errors that fall to the value of the only parameter, in epochs of two seconds."""

    name: str = "slope"
    family: str = "test"
    num_epochs: int = EPOCHS
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
