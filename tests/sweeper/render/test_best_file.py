"""The winner's file: valid, and its preset is the winner to the last digit."""

import re

import pytest

from sweeper.ledger import SweepRecord
from sweeper.model import Study, StudyFacts, Trial, TrialKind
from sweeper.planning import load
from sweeper.planning.load import Options
from sweeper.render.best_file import best_file, best_name
from sweeper.results.schema import StudyResult
from sweeper.search import factories
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.spec.schema import NAME
from sweeper.spec.study import InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from tests.support.command import ROOT
from trainables.tasks.registry import TASKS

SPACES = ROOT / "search_spaces"
METHODS = ("orca", "pare", "mona", "contrastive_pare", "recraft", "nft", "fpt")


def suggested(sweep: Sweep, plan: StudySpec) -> list[dict]:
    """Random settings of a study, as trials of it hold them."""
    sampler = OptunaSampler(
        plan.parameters, sampler=factories.random, pruner=factories.none(min_epochs=1, eta=2),
        seed=0, startup_trials=10,
    )  # fmt: skip
    found = []
    for number in range(12):
        try:
            found.append(plan.complete_params(sampler.ask(number)))
        except InfeasibleParams:
            continue
    assert found
    return found[:2]


def record_of(sweep: Sweep) -> SweepRecord:
    return SweepRecord(
        name=sweep.name, experiment=sweep.experiment, resolved=sweep.resolved,
        config_hash=sweep.config_hash, profile=sweep.profile, text="",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["laptop", "paper"])
@pytest.mark.parametrize("benchmark_name", ["pdebench", "nasbench360"])
@pytest.mark.parametrize("method", METHODS)
def test_the_file_is_valid_and_its_preset_is_the_winner(tmp_path, method, benchmark_name, profile):
    sweep = load.read(SPACES / f"{method}_{benchmark_name}.yaml", Options(profile=profile))
    plans = sweep.studies
    for plan in (plans[0], plans[-1]):
        info = TASKS[plan.task]
        study = Study(
            name=plan.name, method=method, task=plan.task, objective=plan.objective, seed=0
        )
        facts = StudyFacts(dimension=info.dimension, kind=info.kind)
        table = StudyResult(record=record_of(sweep), study=study, facts=facts, trials=())
        for params in suggested(sweep, plan):
            trial = Trial(
                study=plan.name, number=7, kind=TrialKind.SAMPLED, params=params, seed=0, value=0.1
            )
            file = tmp_path / "best.yaml"
            file.write_text(best_file(table, trial))
            again = load.read(file, Options())
            (winner,) = again.studies
            assert again.name == best_name(sweep.name, method, plan.task)
            assert winner.complete_params(winner.preset) == params
            assert (again.search.trials, dict(winner.parameters)) == (2, {})
            (stage,) = {n.partition(".")[0] for n in params if n.endswith(".decay_epochs")}
            more = load.read(file, Options(sets=(f"{stage}.epochs=999",)))
            assert more.notes == () or params[f"{stage}.decay_epochs"] != params[f"{stage}.epochs"]
            kept = ("backbone", "model", "data", "objective", "task", "method")
            assert [getattr(winner, k) for k in kept] == [getattr(plan, k) for k in kept]


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("pdebench/advection_1d", "mona_pdebench-mona-advection_1d-best"),
        ("pdebench/darcy_2d@hard", "mona_pdebench-mona-darcy_2d-hard-best"),
    ],
)
def test_the_file_is_a_sweep_named_by_what_it_is_the_winner_of(task, name):
    assert best_name("mona_pdebench", "mona", task) == name


@pytest.mark.parametrize("sweep", ["s", "a" * 63])
def test_winners_of_one_sweep_have_names_of_their_own_that_a_sweep_may_have(sweep):
    names = [best_name(sweep, method, task) for method in METHODS for task in TASKS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(NAME, name) for name in names)
    assert max(map(len, names)) <= 63
