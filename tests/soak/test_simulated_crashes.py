"""Searches whose driver dies before or after random commits, again and again.

Runner, sampler, pruner and the SQLite ledger are real, and the trials are formulas. A search that
was killed has to end as the undisturbed one: the same settings, states, values and epochs.
"""

import math
import random
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from sweeper.core.budget import StudyBudget
from sweeper.core.promotion import PromotionRule
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.ledger import Ledger
from sweeper.model import Params, Study, Trial, TrialKind
from sweeper.spec.distributions import Choice, Distribution, Float
from tests.support.fakes import run_in_slots
from tests.support.searches import search_of
from tests.support.trials import record

T = TypeVar("T")
TRIALS, EPOCHS, STARTUP = 14, 6, 4
CRASHES = 6  # of a search, at most
STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=7)
SPACE: dict[str, Distribution] = {
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "refine.optimizer": Choice(values=("adam", "sgd")),
    "refine.decay": Float(low=0, high=1),
}
RULE = PromotionRule(rungs=(1, 3), eta=2)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of search."""

    sampler: str
    pruning: str = "none"
    no_improvement: int | None = None

    def __str__(self) -> str:
        budget = "" if self.no_improvement is None else f"-{self.no_improvement}"
        return f"{self.sampler}-{self.pruning}{budget}"

    def plan(self) -> StudyPlan:
        """Return a new plan of the study, as a new driver makes one."""
        is_promoted = self.pruning == "promote"
        options = {"seed": STUDY.seed, "startup_trials": STARTUP}
        sampler = search_of(SPACE, self.sampler, self.pruning, **options)
        preset = {"refine.lr": 1e-3, "refine.optimizer": "adam"}
        return StudyPlan(
            study=STUDY,
            leading=((TrialKind.PRESET, complete(preset)),),
            num_trials=TRIALS,
            sampler=sampler,
            complete=complete,
            trial_seed=lambda number: 1000 + number,
            budget=StudyBudget(no_improvement=self.no_improvement),
            promotion=RULE if is_promoted else PromotionRule(),
        )


PRUNED = ("random", "tpe", "cqr", "nsga2", "cmaes")
KINDS = (
    *(Kind(sampler=name) for name in ("random", "tpe", "cqr", "gp", "qmc", "nsga2", "cmaes")),
    *(Kind(sampler=name, pruning=rule) for rule in ("promote", "asha") for name in PRUNED),
    Kind(sampler="tpe", pruning="median"),
    *(Kind(sampler="cqr", pruning=rule, no_improvement=5) for rule in ("none", "promote", "asha")),
)


def complete(params: Params) -> Params:
    return {**params, "refine.epochs": EPOCHS}


def curve_of(trial: Trial) -> list[float]:
    """Return the objective by epoch: it falls to a level that depends on the settings."""
    level = abs(math.log10(trial.params["refine.lr"]) + 3) / 4
    level += 0.05 * (trial.params["refine.optimizer"] == "sgd")
    level += 0.1 * trial.params.get("refine.decay", 0.5)
    noise = random.Random(trial.seed)
    return [level + math.exp(-0.6 * epoch) + 0.02 * noise.random() for epoch in range(EPOCHS)]


class Killed(BaseException):
    """The end of a driver: not an Exception, so that nothing handles it."""


class CrashingLedger(Ledger):
    """A ledger whose process dies before or after some of its commits."""

    crashes: dict[int, bool]  # number of a commit: whether it arrives
    commits = 0  # of all drivers of the search

    def _write(self, do: Callable[[Connection], T], *, patience_s: float = math.inf) -> T:
        CrashingLedger.commits += 1
        arrives = self.crashes.pop(CrashingLedger.commits, None)
        if arrives is False:
            raise Killed
        result = super()._write(do, patience_s=patience_s)
        if arrives:
            raise Killed
        return result


def end_of(folder: Path, kind: Kind, slots: int, crashes: dict[int, bool]) -> list[object]:
    """Run a search to its end, with a new driver after each crash, and return what it found."""
    CrashingLedger.crashes, CrashingLedger.commits = crashes, 0
    for _ in range(len(crashes) + 1):
        with closing(CrashingLedger.in_folder(folder / "s")) as ledger, suppress(Killed):
            if ledger.sweep() is None:
                ledger.create(record())
            ledger.add_study(STUDY)
            runner = SweepRunner([kind.plan()], ledger)
            for _ in run_in_slots(runner, curve_of, slots):
                pass
            assert runner.is_done
            measured = ledger.all_measurements(STUDY.name)
            kept = ("number", "kind", "params", "seed", "state", "value", "best_epoch", "test")
            trials = [[getattr(trial, name) for name in kept] for trial in ledger.trials()]
            return [trials, {n: measured[n] for n in sorted(measured)}]
    raise AssertionError("it was killed more often than planned")


def check(folder: Path, kind: Kind, slots: int, seed: int) -> None:
    """Check that a search with crashes ends as the undisturbed one."""
    undisturbed = end_of(folder / "calm", kind, slots, {})
    rng, commits = random.Random(seed), CrashingLedger.commits
    crashes = {rng.randint(1, commits): rng.random() < 0.5 for _ in range(CRASHES)}
    assert end_of(folder / "killed", kind, slots, crashes) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2])
def test_a_search_whose_driver_dies_ends_as_the_undisturbed_one(tmp_path, slots):
    check(tmp_path, Kind(sampler="cqr", pruning="promote"), slots, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_kind_of_search_ends_as_the_undisturbed_one(tmp_path, kind, slots, seed):
    if slots == 4 and kind.pruning == "asha" and kind.no_improvement:
        pytest.skip("the trial that ends last decides whether the budget is spent")
    check(tmp_path, kind, slots, seed)
