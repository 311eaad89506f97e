"""The winner's file: valid, and its preset is the winner to the last digit."""

import itertools
import re
import shutil

import pytest

from sweeper.ledger import SweepRecord
from sweeper.model import Study, StudyFacts, TrialKind
from sweeper.planning import load
from sweeper.planning.load import Options
from sweeper.render.best_file import best_file, best_name
from sweeper.results.schema import StudyResult
from sweeper.spec.schema import NAME
from sweeper.spec.study import InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from tests.support.command import ROOT
from tests.support.searches import search_of
from tests.support.trials import record, sampled
from trainables.tasks.registry import TASKS

SPACES = ROOT / "search_spaces"
METHODS = ("orca", "pare", "mona", "contrastive_pare", "recraft", "nft", "fpt")


def suggested(sweep: Sweep, plan: StudySpec) -> list[dict]:
    """Random settings of a study, as trials of it hold them."""
    sampler = search_of(plan.parameters, "random", startup_trials=10)
    found = []
    for number in range(12):
        try:
            found.append(plan.complete_params(sampler.ask(number)))
        except InfeasibleParams:
            continue
    assert found
    return found[:2]


def study_of(method: str, task: str, arm: str | None = None) -> Study:
    name = "/".join(filter(None, (method, task, arm)))
    return Study(name=name, method=method, task=task, objective="val/nrmse", seed=0)


def record_of(sweep: Sweep) -> SweepRecord:
    facts = ("experiment", "resolved", "config_hash", "profile")
    return record(sweep.name, **{name: getattr(sweep, name) for name in facts})


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
            trial = sampled(plan.name, 7, params=params, value=0.1)
            file = tmp_path / "best.yaml"
            file.write_text(best_file(table, trial))
            again = load.read(file, Options())
            (winner,) = again.studies
            assert again.name == best_name(sweep.name, study)
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
    assert best_name("mona_pdebench", study_of("mona", task)) == name


@pytest.mark.parametrize("sweep", ["s", "a" * 63])
def test_winners_of_one_sweep_have_names_of_their_own_that_a_sweep_may_have(sweep):
    arms = (None, "refine.freeze=none", "refine.freeze=body")
    studies = [study_of(*each) for each in itertools.product(METHODS, TASKS, arms)]
    names = [best_name(sweep, study) for study in studies]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(NAME, name) for name in names)
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize("ladder", ["data.samples: [100, 200]", "backbone.layers: [1, 2]"])
def test_the_file_of_an_arm_has_the_data_and_the_backbone_that_it_pins(tmp_path, ladder):
    file = tmp_path / "rungs.yaml"
    text = (SPACES / "questions" / "training_size_burgers_1d.yaml").read_text()
    shutil.copytree(SPACES / "questions" / "base", tmp_path / "base")
    file.write_text(f"{text}\nladder: {{{ladder}}}\nquestion: null\n")
    sweep = load.read(file, Options(profile="laptop"))
    for plan in sweep.studies:
        assert plan.arm is not None
        study = study_of(plan.method, plan.task, plan.arm.name)
        facts = StudyFacts(dimension="1d", kind="dense")
        table = StudyResult(record=record_of(sweep), study=study, facts=facts, trials=())
        trial = sampled(plan.name, kind=TrialKind.PRESET, params=plan.preset, value=0.1)
        (tmp_path / "best.yaml").write_text(best_file(table, trial))
        (winner,) = load.read(tmp_path / "best.yaml", Options()).studies
        assert (winner.data, winner.backbone) == (plan.data, plan.backbone)
