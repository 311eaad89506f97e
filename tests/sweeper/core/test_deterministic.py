"""Deterministic searches: the same ledger at any speed, on any number of slots, after any kill."""

import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import exp, nan
from pathlib import Path

import optuna
import pytest

from sweeper.core.budget import StudyBudget
from sweeper.core.policies import FailureBudget
from sweeper.core.promotion import PromotionRule
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.core.stage_sharing import SharedConfig, SharedStages
from sweeper.core.study_runner import Infeasible, StudyPlan
from sweeper.model import Decision, Params, Study, Trial, TrialKind
from sweeper.spec.distributions import Distribution, Int
from sweeper.spec.goals import Goals
from tests.support.fakes import FixedSampler, new_ledger, plan
from tests.support.fakes import curve as of_values
from tests.support.ledgers import Content, content_of
from tests.support.searches import search_of
from tests.support.trials import measured
from trainables.report import Measurement

EPOCHS, TRIALS = 9, 16
STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=7)
ARM = Study(name="nft/t/arm", method="nft", task="t", objective="val/nrmse", seed=8)
SPACE: dict[str, Distribution] = {f"refine.x{k}": Int(low=-9, high=9) for k in range(3)}
FIXED = {"align.epochs": 2, "refine.epochs": EPOCHS}
ANY = FailureBudget(max_fraction=1.0, systematic=10**6)
NOT_COUNTED = "NodeDiedError: the node has died"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A sweep file, as far as a search depends on it."""

    sampler: str = "tpe"
    pruning: str = "promote"
    turns: int | None = 3
    budget: StudyBudget = field(default_factory=StudyBudget)
    goals: Goals = field(default_factory=Goals)
    configs: int = 0  # shared ones of `align`
    unreported: tuple[int, ...] = ()  # epochs


class Climber(optuna.samplers.RandomSampler):
    """A sampler of a plugin: what it learns, it keeps in attributes of ended trials."""

    def sample_independent(self, study, trial, param_name, param_distribution):
        drawn = super().sample_independent(study, trial, param_name, param_distribution)
        told = [t.user_attrs["told"] for t in study.trials if "told" in t.user_attrs]
        return (drawn + min(told, key=lambda each: each[0])[1][param_name]) // 2 if told else drawn

    def after_trial(self, study, trial, state, values):
        if values:
            study._storage.set_trial_user_attr(trial._trial_id, "told", (values[0], trial.params))
            study.set_user_attr("count", study.user_attrs.get("count", 0) + 1)


def climber(*, seed, study_seed, startup_trials):
    return Climber(seed=seed)


def complete(params: Params) -> Params:
    if params["refine.x1"] % 6 == 4:
        raise Infeasible("x1 contradicts")
    return {**FIXED, **params}


def shared(count: int) -> SharedStages:
    stages = SharedStages(order=("align", "refine"), shared=("align",))
    configs = (
        SharedConfig(params={}, settings={"align.epochs": 2}, seed=100 + k) for k in range(count)
    )
    return replace(stages, configs=tuple(configs)) if count else SharedStages()


def plans(case: Case) -> list[StudyPlan]:
    pauses = case.pruning == "promote"
    draw = climber if case.sampler == "climber" else case.sampler
    sampler = search_of(SPACE, draw, case.pruning, seed=7, goals=case.goals)
    base = StudyPlan(
        study=STUDY,
        leading=((TrialKind.PRESET, {**FIXED, "refine.x0": 0, "refine.x1": 0, "refine.x2": 0}),),
        num_trials=TRIALS,
        sampler=sampler,
        complete=complete,
        trial_seed=lambda number: 1000 + number,
        promotion=PromotionRule(rungs=(1, 3), eta=2) if pauses else PromotionRule(),
        replication=Replication(top=1, seeds=(50, 51)),
        budget=case.budget,
        goals=case.goals,
        stages=shared(case.configs),
        turns=case.turns,
    )
    arm = replace(
        base, study=ARM, leading=((TrialKind.PRESET, {}),), num_trials=1, base=STUDY.name,
        on_base=lambda params: {**params, "refine.x0": 1}, stages=SharedStages(),
        budget=StudyBudget(), goals=Goals(), replication=None,
    )  # fmt: skip
    return [base, arm]


def curve(trial: Trial, unreported: tuple[int, ...] = ()) -> Iterator[Measurement]:
    """Yield the reported epochs: values without a pattern over trials; some become NaN."""
    rng = random.Random(f"{trial.params} {trial.seed}")
    for epoch in (1, 2):
        yield Measurement(stage="align", epoch=epoch, num_epochs=2, metrics={})
    for epoch in sorted({*range(1, EPOCHS + 1)} - {*unreported}):
        x = trial.params["refine.x0"] ** 2 + trial.params["refine.x2"] ** 2
        value = nan if trial.params["refine.x2"] % 6 == 3 and epoch > 2 else x + 9 * rng.random()
        facts = {"is_final": epoch == EPOCHS, "parameters": int(10 + x)}
        yield measured(epoch, value, num_epochs=EPOCHS, metrics={"val/nrmse": value}, **facts)


def search(
    folder: Path, case: Case, *, slots: int, rng: random.Random, trouble: float = 0.0
) -> Content:
    """Run a sweep on slots of random speeds; return the content of its ledger.

    `trouble` is the probability that an epoch ends with a lost node, and of a killed driver.
    """
    folder.mkdir()
    with closing(new_ledger(folder)) as ledger:
        ledger.add_study(STUDY)
        ledger.add_study(ARM)
        runner = SweepRunner(plans(case), ledger, budget=ANY)
        running: dict[tuple[str, int], tuple[Trial, Iterator[Measurement]]] = {}
        while not runner.is_done:
            while len(running) < slots and (trial := runner.next_trial()) is not None:
                known = runner.studies[trial.study].epochs.get(trial.number, set())
                # An attempt goes on after the last epoch, or repeats some.
                first = max(0, len(known) - rng.choice([0, 0, 1, 2]))
                running[trial.study, trial.number] = (
                    trial,
                    itertools.islice(curve(trial, case.unreported), first, None),
                )
            key = rng.choice(sorted(running))  # none runs: the search hangs, and this fails
            trial, epochs = running[key]
            if rng.random() < trouble:
                runner.on_failure(trial, NOT_COUNTED)
                del running[key]
                continue
            if rng.random() < trouble:
                running.clear()
                runner = SweepRunner(plans(case), ledger, budget=ANY)
                continue
            measured = next(epochs)
            decision = runner.on_report(trial, measured)
            if decision is not Decision.CONTINUE or measured.is_final:
                del running[key]
        return content_of(ledger)


CASES = {
    "tpe": Case(),
    "eight turns": Case(turns=8),
    "cqr": Case(sampler="cqr"),
    "cmaes": Case(sampler="cmaes"),
    "climber": Case(sampler="climber"),
    "nsga2": Case(sampler="nsga2", pruning="none", turns=4),
    "all epochs": Case(pruning="none"),
    "one slot": Case(turns=1),
    "epochs": Case(budget=StudyBudget(epochs=60)),
    "no improvement": Case(pruning="none", budget=StudyBudget(no_improvement=3)),
    "objectives": Case(pruning="none", goals=Goals(objectives=("val/nrmse", "parameters"))),
    "shared": Case(configs=3, turns=4),
    "no report at a rung": Case(unreported=(1, 3)),
    "random": Case(sampler="random", pruning="none", turns=None),  # whose order decides nothing
}
QUICK = ("climber", "epochs")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_file_has_one_ledger_at_any_speed_on_any_slots_after_any_kill(tmp_path, name):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    case = CASES[name]
    expected = search(tmp_path / "alone", case, slots=1, rng=random.Random(0))
    for k, slots in enumerate((2, 4) if name in QUICK else (1, 2, 4, 2, 4, 4)):
        rng = random.Random(f"{name} {k}")
        found = search(tmp_path / str(k), case, slots=slots, rng=rng, trouble=0.04 * (k != 1))
        assert found == expected


def test_without_it_two_runs_differ(tmp_path):
    case = replace(CASES["tpe"], turns=None)
    first, second = (
        search(tmp_path / str(k), case, slots=4, rng=random.Random(k)) for k in range(2)
    )
    assert first != second


@pytest.mark.slow
def test_two_real_slots_cost_little_and_four_wait_less_the_more_virtual_ones_there_are(tmp_path):
    """The speeds of trials have a standard deviation of 0.3 in the logarithm."""
    times = {
        (slots, turns): sum(
            clock(tmp_path / f"{slots} {turns} {seed}", turns, slots, seed) for seed in range(2)
        )
        for slots in (2, 4)
        for turns in (None, 4, 8, 16)
    }
    cost = {(slots, turns): t / times[slots, None] for (slots, turns), t in times.items()}
    assert cost[2, 8] < 1.05
    assert cost[4, 16] < 1.08
    assert cost[4, 16] < cost[4, 8] < 1.2 < cost[4, 4]


def clock(folder: Path, turns: int | None, slots: int, seed: int) -> float:
    """Return when 48 trials of up to 27 epochs are over, in units of a mean trial's epochs."""
    draws = FixedSampler([{"refine.lr": float(k)} for k in range(48)])
    planned = plan(draws, num_trials=48, promotion=PromotionRule(rungs=(3, 9), eta=3),
                   complete=lambda params: {**params, "refine.epochs": 27})  # fmt: skip
    folder.mkdir()
    with closing(new_ledger(folder)) as ledger:
        runner = SweepRunner([replace(planned, turns=turns)], ledger)
        left: dict[int, Iterator[Measurement]] = {}
        speeds: dict[int, float] = {}
        running: list[tuple[float, int, Trial]] = []
        now = 0.0
        while not runner.is_done:
            while len(running) < slots and (trial := runner.next_trial()) is not None:
                rng = random.Random(f"{seed} {trial.number}")
                level = rng.random()
                values = [level + rng.random() / 2 + 3 / epoch for epoch in range(1, 28)]
                left.setdefault(trial.number, of_values(values))
                speeds[trial.number] = exp(0.3 * rng.gauss(0, 1))
                heappush(running, (now + speeds[trial.number], trial.number, trial))
            now, number, trial = heappop(running)
            measured = next(left[number])
            if runner.on_report(trial, measured) is Decision.CONTINUE and not measured.is_final:
                heappush(running, (now + speeds[number], number, trial))
        return now


def test_the_sampler_hears_of_each_turn_before_the_suggestion_that_follows_it(tmp_path):
    sampler = FixedSampler([{"refine.lr": float(k)} for k in range(6)])
    plan_of_two = replace(plan(sampler, num_trials=6), turns=2)
    runner = SweepRunner([plan_of_two], new_ledger(tmp_path))
    heard = []
    while (trial := runner.next_trial()) is not None:
        heard.append([each.number for each in sampler.told])
        for measurement in of_values([0.5, 0.4]):
            runner.on_report(trial, measurement)
    # With two turns open, a suggestion knows all trials but the one before it.
    assert heard == [[], [], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


@pytest.mark.parametrize("pruning", ["none", "promote"])
def test_a_finished_ablation_of_a_tuned_base_can_be_extended(tmp_path, pruning, monkeypatch):
    """While the base is searched further, its best may change, and the arm has its trials."""
    for count in (TRIALS, TRIALS + 4):
        monkeypatch.setitem(globals(), "TRIALS", count)
        runner = SweepRunner(plans(Case(sampler="random", pruning=pruning)), new_ledger(tmp_path),
                             budget=ANY)  # fmt: skip
        while (trial := runner.next_trial()) is not None:
            known = runner.studies[trial.study].epochs.get(trial.number, ())
            for measurement in itertools.islice(curve(trial), len(known), None):
                if runner.on_report(trial, measurement) is not Decision.CONTINUE:
                    break
        assert runner.is_done
    searched = [t for t in runner.studies[STUDY.name].trials.values() if t.kind.is_searched]
    assert len(searched) == count
    assert len(runner.studies[ARM.name].trials) == 1
