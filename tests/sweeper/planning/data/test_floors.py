"""Floors of a sweep's tasks: as facts of a study, and as lines of a plan."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from sweeper.model import CoarseSolver, Floor, StudyFacts
from sweeper.planning import load
from sweeper.planning.data import floors
from sweeper.results.reproduction import files
from tests.support.command import ROOT
from trainables.tasks.predictors.floor import Score, Scores


def score(test: float, validation: float | None) -> Score:
    return Score(test=test, validation=validation, samples=9, seconds=0.5)


SCORES = Scores(
    scored={
        "mean": score(1.0, 0.9),
        "ridge": score(0.2, 0.1),
        "closed_form": score(1e-5, None),
        "coarse_solver": score(0.01, None),
    },
    refused={"identity": "an input does not have the shape of an output."},
)


def test_the_facts_have_the_floor_and_the_solver_apart():
    facts = floors.floor_facts(SCORES, stored={"mean": 1.5})
    assert facts["floor"] == Floor(name="ridge", value=0.2, validation=0.1, seconds=0.5)
    assert facts["solver"] == CoarseSolver(name="coarse_solver", value=0.01, seconds=0.5, samples=9)
    # The stored value stays, and a closed form is no floor.
    assert facts["baselines"] == {"mean": 1.5, "ridge": 0.2, "closed_form": 1e-5}
    assert facts["validations"] == {"mean": 0.9, "ridge": 0.1}
    assert "identity" in facts["refused"]
    alone = Scores(scored={"closed_form": score(1e-5, None)})
    assert floors.floor_facts(alone, stored={})["baselines"] == {}
    assert floors.floor_facts(Scores(), stored={})["floor"] is None


def test_facts_are_the_same_after_json():
    facts = StudyFacts(title="t", **floors.floor_facts(SCORES, stored={}))
    plain = json.loads(json.dumps(facts.to_json()))
    assert plain["floor"] == {"name": "ridge", "value": 0.2, "validation": 0.1, "seconds": 0.5}
    assert StudyFacts.from_json(plain) == facts
    assert StudyFacts.from_json({"title": "t"}).floor is None
    for facts_of in (plain, plain["floor"], plain["solver"]):
        facts_of["added_later"] = 1
    assert StudyFacts.from_json(plain) == facts
    assert StudyFacts.from_json(plain).floor_or_lowest == facts.floor


@pytest.fixture
def sweep():
    file = ROOT / "search_spaces" / "mona_pdebench.yaml"
    return load.read(file, load.Options(profile="laptop"))


def bar(name: str, value: float, content_hash: str = "other") -> floors.Bar:
    return floors.Bar(name, value, content_hash)


def test_a_plan_names_published_numbers_above_the_floor(sweep, monkeypatch):
    found = {"pdebench/advection_1d": bar("ridge", 2e-4), "pdebench/burgers_1d": bar("mean", 0.5)}
    monkeypatch.setattr(floors, "computed", lambda *_: found)
    notes = floors.floor_notes(sweep)
    (named,) = [note for note in notes if "is above the floor" in note]
    assert named.startswith(
        "pdebench/advection_1d: published 0.0088 of mona is above the floor 2e-4 of ridge"
    )


def test_a_floor_that_takes_too_long_is_named(sweep, monkeypatch):
    monkeypatch.setattr(floors, "computed", lambda *_: {})
    (note,) = floors.floor_notes(sweep)
    assert "not known yet, and computed at the launch: pdebench/advection_1d" in note


DRAWS = ((0, 0.05), (1, 0.15))  # floors by seed: the mean of the values is above theirs


@pytest.mark.parametrize(
    ("task", "draws", "content_hash", "count"),
    [
        ("pdebench/advection_1d", DRAWS, "same", 1),
        ("pdebench/advection_1d", ((0, 0.3), (1, 0.5)), "same", 0),
        ("pdebench/advection_1d", DRAWS, "other", 0),
        ("pdebench/burgers_1d", DRAWS, "same", 0),  # evidence of a task that is not asked
    ],
)
def test_a_plan_names_recorded_values_above_the_floors_of_their_own_draws(
    task, draws, content_hash, count, sweep, monkeypatch
):
    """The mean of the values, 0.3, is above the floor of the search, 0.2."""
    floor = {"name": "ridge", "value": 0.2}
    of_seeds = {
        str(seed): {"content_hash": "d", "seed": seed, "floor": {**floor, "value": value}}
        for seed, value in draws
    }
    facts = StudyFacts.from_json({"content_hash": "same", "floor": floor, "draws": of_seeds})
    study = SimpleNamespace(task=task, method="nft")
    of = SimpleNamespace(study=study, facts=facts, test_value=lambda training: training.test)
    rows = [SimpleNamespace(seed=seed, test=t) for seed, t in enumerate((0.2, 0.4))]
    arm = SimpleNamespace(of=of, trainings=rows)
    monkeypatch.setattr(files, "find", lambda *_: "some")
    monkeypatch.setattr(files, "load", lambda _: SimpleNamespace(arms=[arm]))
    found = {task: bar("ridge", 0.2, content_hash)}
    monkeypatch.setattr(
        floors, "computed", lambda _, tasks: {t: found[t] for t in tasks if t in found}
    )
    notes = [note for note in floors.floor_notes(sweep) if "recorded" in note]
    assert len(notes) == count
    assert all("0.3 of nft is above the floor 0.1 of ridge" in note for note in notes)


def test_a_plan_does_not_wait_for_floors_for_long(sweep, monkeypatch):
    """Count the whole lines of a process that was stopped."""

    def stopped(*_, **options):
        line = {"task": "a/b", "name": "ridge", "value": 2e-4, "content_hash": "c"}
        cut = f'{json.dumps(line)}\n{{"task": "pdeb'.encode()
        raise subprocess.TimeoutExpired("floors", options["timeout"], output=cut)

    monkeypatch.setattr(subprocess, "run", stopped)
    assert floors.computed(sweep, ["a/b"]) == {"a/b": bar("ridge", 2e-4, "c")}


@pytest.mark.slow
def test_floors_are_computed_in_a_process_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path))
    monkeypatch.setattr(floors, "LIMIT_S", 120.0)
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\nexperiment: e\nmethods: [fno]\ntasks: [pdebench/burgers_1d]\n"
        "data: {samples: 40, resolution: 32}\nsearch: {trials: 2}\n"
    )
    (note,) = floors.floor_notes(load.read(file, load.Options()))
    assert "published 0.0031 of fno is above the floor" in note
    assert "of ridge" in note
