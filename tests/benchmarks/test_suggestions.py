"""A suggestion takes at most 250 ms of a core with 10,000 ended trials.

So do the reports and the end of a trial. 16 trials run at the same time, and a third of the ended
ones were pruned. `gp` with two objectives misses this, by LOG.md.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from sweeper.model import Params, Trial, TrialKind, TrialState
from sweeper.search.optuna_sampler import PLAIN, OptunaSampler
from sweeper.spec.distributions import Choice, Float, Int
from sweeper.spec.goals import Goals, read_constraint
from sweeper.spec.samplers import Space, grid
from tests.support.figures import show
from tests.support.searches import search_of
from trainables.report import Measurement

pytestmark = pytest.mark.benchmark
ENDED, RUNNING, ASKED, EPOCHS = 10_000, 16, 40, 9
STARTUP = 10
NUMBERS: Space = {
    **{f"refine.x{k}": Float(low=1e-5, high=1e-1, log=True) for k in range(6)},
    "refine.layers": Int(low=1, high=64),
    "refine.drop": Float(low=0, high=0.5, step=0.05),
}
MIXED: Space = {
    "align.kind": Choice(values=("otdd", "mmd", None)),
    **NUMBERS,
    "align.samples": Int(low=16, high=64, step=16, when={"align.kind": ("otdd",)}),
}
STEPPED: Space = {f"refine.x{k}": Int(low=1, high=10) for k in range(4)}


TWO = Goals(
    objectives=("val/nrmse", "parameters"),
    constraints=(read_constraint("peak_memory", "<= 1GiB"),),
)


def make(name: str, space: Space, goals: Goals = PLAIN) -> OptunaSampler:
    prune = "none" if goals.has_several else "asha"
    return search_of(space, name, prune, least=3, eta=3, startup_trials=STARTUP, goals=goals)


def trial_of(number: int, params: Params, state: TrialState) -> Trial:
    value = sum(abs(math.log10(x)) for x in params.values() if isinstance(x, float) and x)
    return Trial(study="s", number=number, kind=TrialKind.SAMPLED, params=params, seed=0,
                 sampled=tuple(params), state=state, value=value)  # fmt: skip


def curve(trial: Trial, epochs: int = EPOCHS) -> Iterator[Measurement]:
    assert trial.value is not None
    for epoch in range(1, epochs + 1):
        value = trial.value + 1 / epoch
        yield Measurement(stage="refine", epoch=epoch, num_epochs=EPOCHS, metrics={},
                          objective=value)  # fmt: skip


def quantities(trial: Trial) -> dict[str, float]:
    """Return the quantities of a trial, of which a third breaks the constraint."""
    rng = np.random.default_rng(trial.number)
    assert trial.value is not None
    return {
        "val/nrmse": trial.value,
        "parameters": float(trial.params["refine.layers"]) + rng.random(),
        "peak_memory": 2**30 * (1.2 if trial.number % 3 == 0 else 0.8),
    }


def kept(number: int) -> dict[str, int]:
    """Return what `cmaes` and `nsga2` keep of a trial."""
    generation = min(number, ENDED) // STARTUP
    return {"cma:generation": generation, "NSGAIISampler:generation": generation}


def restore(it: OptunaSampler, space: Space, goals: Goals = PLAIN) -> int:
    """Restore ended and running trials; return the number of the next one."""
    generations = range(1, ENDED // STARTUP + 1)
    parents = {
        f"NSGAIISampler:parent:{g}": list(range((g - 1) * STARTUP, g * STARTUP))
        for g in generations
    }
    it.restore_study({"system": parents})
    random = make("random", space)
    points = grid(space) if space is STEPPED else [random.ask(k) for k in range(ENDED + RUNNING)]
    ended = min(ENDED, len(points) - RUNNING - ASKED) if space is STEPPED else ENDED
    for number, params in enumerate(islice(points, ended + RUNNING)):
        is_pruned = number % 3 == 0 and not goals.has_several
        state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
        if number >= ended:
            state = TrialState.INTERRUPTED
        trial = replace(trial_of(number, params, state), sampler_state={"system": kept(number)})
        if goals.has_several and number < ended:
            it.observe(number, quantities(trial))
        it.restore(trial, tuple(curve(trial, 3 if is_pruned else EPOCHS)))
    return ended + RUNNING


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    seconds.append(time.process_time() - began)


@pytest.mark.parametrize("name", ["tpe", "cqr", "gp", "cmaes", "nsga2", "qmc", "random", "grid"])
def test_suggestions_reports_and_ends_are_quick(name):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    space = STEPPED if name == "grid" else NUMBERS if name in ("gp", "cmaes") else MIXED
    check(name, space, PLAIN)


@pytest.mark.parametrize("name", ["tpe", "cqr", "gp", "nsga2"])
def test_with_two_objectives_and_a_constraint_they_are_quick(name):
    check(name, NUMBERS if name == "gp" else MIXED, TWO)


def check(name: str, space: Space, goals: Goals) -> None:
    it = make(name, space, goals)
    first = restore(it, space, goals)
    asks, reports, ends = list[float](), list[float](), list[float]()
    for number in range(first, first + ASKED):
        with timed(asks):
            params = it.ask(number)
        trial = trial_of(number, params, TrialState.COMPLETE)
        for measurement in curve(trial):
            with timed(reports):
                it.should_prune(number, measurement)
        with timed(ends):
            if goals.has_several:
                it.observe(number, quantities(trial))
            it.tell(trial)
    asks = asks[1:]  # the first one imports the sampler
    ask, report, end = (np.percentile(found, 95) * 1e3 for found in (asks, reports, ends))
    what = f"{name} of {goals}" if goals.has_several else name
    show(f"{what} at {ENDED} trials: p95 of suggestions", "<= 250 ms of a core",
         f"{ask:.0f} ms (median {np.median(asks) * 1e3:.0f}); of reports {report:.1f}, of ends "
         f"{end:.1f}")  # fmt: skip
    assert ask <= 250
    assert report <= 50
    assert end <= 50
