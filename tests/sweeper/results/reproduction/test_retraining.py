"""The launches that train a seed again, and the comparison of their results."""

import json
from dataclasses import replace
from statistics import stdev

import pytest

from sweeper.results.reproduction.evidence import Retrained, read_evidence
from sweeper.results.reproduction.files import as_files, load
from sweeper.results.reproduction.retraining import AGAIN, launches
from tests.support.compared_ledgers import Scores

TASK, OTHER = "pdebench/advection_1d", "pdebench/burgers_1d"
VALUES = [0.20, 0.21, 0.24, 0.22]
SOURCES = {"conll2003": "1d", "cifar10": "2d"}  # their dimensions


def evidence_of(ledger, folder):
    """Return the evidence of a ledger as its files have it."""
    evidence = read_evidence(ledger)
    for name, text in as_files(evidence).items():
        (folder / name).write_text(text)
    return load(folder / f"{evidence.name}.json")


def settings(again):
    return dict(line.partition("=")[::2] for line in again.sets)


@pytest.mark.parametrize("skip", [0, 8])
def test_arms_are_launched_as_they_were(sweep, tmp_path, skip):
    arms = [Scores(method="orca", task=TASK, arm=arm, best=VALUES) for arm in ("control", "a=1")]
    replicate = {"top": 1, "seeds": len(VALUES), "skip": skip}
    ledger = sweep(*arms, name="arms", compare_by={"a": [1]}, replicate=replicate)
    (again,) = launches(evidence_of(ledger, tmp_path), 2, SOURCES)
    assert (again.sets, again.names) == ((*AGAIN, f"replicate.skip={skip + 2}"), {})


def test_tuned_methods_are_arms_with_what_their_search_drew(sweep, tmp_path):
    studies = [
        Scores(method="orca", task=TASK, best=VALUES, control=VALUES),
        Scores(method="pare", task=TASK, best=VALUES, parameters=["replace.lr"]),
        Scores(method="orca", task=OTHER, best=VALUES),
        Scores(method="pare", task=OTHER, best=VALUES, parameters=["replace.lr"]),
    ]
    one, two = launches(evidence_of(sweep(*studies, name="tuned"), tmp_path), 1, SOURCES)
    assert settings(two)["tasks"] == f'["{OTHER}"]'
    found = settings(one)
    arms = json.loads(found["compare_by"])
    assert [arm["method"] for arm in arms] == ["orca", "pare"]
    assert arms[0]["refine.lr"] == pytest.approx(3e-4)
    assert (found["replicate.skip"], found["parameters"]) == ("1", "null")
    assert one.names == {
        f"orca/{TASK}/refine.lr={arms[0]['refine.lr']}": f"orca/{TASK}",
        f"pare/{TASK}/replace.lr={arms[1]['replace.lr']}": f"pare/{TASK}",
    }


def test_a_single_method_has_them_fixed_and_its_control_has_not(sweep, tmp_path):
    study = Scores(method="orca", task=TASK, best=VALUES, control=VALUES)
    best, control = launches(evidence_of(sweep(study, name="one"), tmp_path), 0, SOURCES)
    assert json.loads(settings(best)["fixed"]) == {"refine.lr": pytest.approx(3e-4)}
    assert "fixed" not in settings(control)
    assert control.names == {f"orca/{TASK}": ""}  # its preset is no arm of the evidence


def test_what_is_no_setting_of_a_stage_is_fixed_in_its_own_section(sweep, tmp_path):
    study = Scores(method="orca", task=TASK, best=VALUES)
    evidence = evidence_of(sweep(study, name="one"), tmp_path)
    (found,) = evidence.sweep.studies
    drawn = {"refine.lr": 1e-3, "proxy": "conll2003", "model.embedder_init": "random"}
    trials = tuple(replace(trial, params=drawn) for trial in found.trials)
    evidence = replace(
        evidence, sweep=replace(evidence.sweep, studies=[replace(found, trials=trials)])
    )
    (again, *_) = launches(evidence, 0, SOURCES)
    assert json.loads(settings(again)["fixed"]) == {"refine.lr": 1e-3}
    assert settings(again)["proxies.1d"] == "conll2003"
    assert settings(again)["model.embedder_init"] == '"random"'


def again(sweep, *, shift=0.0, name="again"):
    """Return the same arms, whose last seed moved by `shift`."""
    trained = sweep(
        Scores(method="orca", task=TASK, arm="lr=1", best=[VALUES[2] + shift], seeds=[102]),
        Scores(method="orca", task=TASK, arm="control", best=[VALUES[2]], seeds=[102]),
        name=name, compare_by={"lr": [1]},
    )  # fmt: skip
    return Retrained(parts=(read_evidence(trained),), names={f"orca/{TASK}/lr=1": f"orca/{TASK}"})


def test_differences_are_told_by_arm_and_seed_and_beside_the_spread_over_seeds(sweep, tmp_path):
    study = Scores(method="orca", task=TASK, best=VALUES, control=VALUES)
    evidence = evidence_of(sweep(study, name="one"), tmp_path)
    found = evidence.compare(again(sweep), seed=2)
    assert (found.trainings, found.unlike, found.spread, found.is_whole) == (2, 0, 0.0, True)
    moved = again(sweep, shift=0.01, name="moved")
    found = evidence.compare(moved, seed=2)
    assert (found.unlike, found.largest) == (1, pytest.approx(0.01))
    assert found.spread == pytest.approx(0.01 / stdev(VALUES))
    assert found.is_within_seeds
    far = evidence.compare(again(sweep, shift=0.02, name="far"), seed=2)
    assert not far.is_within_seeds
    validation, test = evidence.unlike(moved)
    assert test == f"orca/{TASK}, seed 102: test is 0.24, and trained again 0.25"
    assert "validation is 0.24" in validation


def test_the_hash_of_all_numbers_draws_the_seed_and_a_salt_draws_another(sweep, tmp_path):
    study = Scores(method="orca", task=TASK, best=VALUES, control=VALUES)
    evidence = evidence_of(sweep(study, name="one"), tmp_path)
    seeds = {evidence.drawn_seed(salt) for salt in map(str, range(64))}
    assert seeds == set(range(4))
    table = tmp_path / "one.csv"
    table.write_text(table.read_text().replace(",8.00", ",9.00", 1))
    assert load(tmp_path / "one.json").digest != evidence.digest
