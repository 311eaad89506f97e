"""The table: what is best, beside what, in forms that people's tools read."""

import json
import math

import pytest

from sweeper.errors import NotFound
from sweeper.ledger import Ledger
from sweeper.model import Study, StudyFacts, Trial, TrialKind, TrialState
from sweeper.render.json import json_text, study_as_json, sweep_as_json
from sweeper.results.read import read_outline, read_sweep
from sweeper.results.schema import StudyResult, progress_of, rows
from tests.support import ledgers
from tests.support.ledgers import EPOCHS, RECORD, objective

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


def trial(number: int, value: float | None, **changes) -> Trial:
    defaults = {
        "study": STUDY.name, "number": number, "kind": TrialKind.SAMPLED, "params": {}, "seed": 0,
        "state": TrialState.COMPLETE, "value": value,
    }  # fmt: skip
    return Trial(**defaults | changes)


def table(*trials: Trial) -> StudyResult:
    return StudyResult(record=RECORD, study=STUDY, facts=StudyFacts(), trials=trials)


def test_best_counts_replicates_here_and_in_json():
    replicates = [
        trial(9 + origin, value, kind=TrialKind.REPLICATE, origin=origin)
        for origin, value in ((0, 0.4), (1, 0.3))
    ]
    found = table(trial(0, 0.1), trial(1, 0.2), *replicates)
    assert found.best.number == study_as_json(found)["best"]["trial"] == 1


def test_nothing_is_best_where_nothing_is_complete():
    found = table(trial(0, 0.3, state=TrialState.PRUNED))
    assert (found.best, found.control, found.test_value(None)) == (None, None, None)


def test_the_sweeps_table_is_what_the_ledger_holds(ledger):
    sweep = read_sweep(ledger)
    assert [s.study.method for s in sweep.studies] == ["mona", "nft"]
    mona = sweep.studies[0]
    assert mona.best.value == objective("mona", 0.68, EPOCHS)
    assert mona.test_value(mona.best) == mona.best.value * 1.1
    assert mona.test_value(mona.control) == objective("mona", 0.35, EPOCHS) * 1.1
    assert mona.facts.baselines == {"mean": 1.0, "persistence": 0.41}
    assert mona.counts() == {"complete": 3, "pruned": 1, "failed": 1}


@pytest.mark.parametrize(
    ("changes", "most_trials", "planned"),
    [
        ({}, None, 2 * 5),
        ({"replicate": {"top": 2, "seeds": 3}}, None, 2 * (5 + (2 + 1) * 3)),
        ({}, 3, 2 * 3),
        ({"budget": {"epochs": 1}}, None, 1 + 5),  # the first study has spent it
        ({"compare_by": "arm", "replicate": {"top": 1, "seeds": 3}}, None, 2 * 5),  # its bases
    ],
)
def test_planned_trials_are_those_of_a_launch(tmp_path, monkeypatch, changes, most_trials, planned):
    monkeypatch.setattr(ledgers, "RESOLVED", {**ledgers.RESOLVED, **changes})
    facts = {"num_leading": 1 if "budget" in changes else 2, "most_trials": most_trials}
    monkeypatch.setattr(ledgers, "FACTS", {**ledgers.FACTS, **facts})
    ledger = ledgers.new_ledger(tmp_path)
    steps = ledgers.script(ledger, tmp_path, num_trials=1)
    while len(ledger.studies()) < 2:
        next(steps)
    assert progress_of(read_sweep(ledger)) == f"1 of {planned} trials ended"
    assert progress_of(read_outline(ledger)) == f"1 of {planned} trials ended"
    ledger.end("finished")
    assert progress_of(read_outline(ledger)) == "1 of 1 trial ended"


def test_a_sweep_that_was_never_started_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="was never started"):
        read_sweep(Ledger.in_folder(tmp_path / "empty"))


def test_json_is_strict_and_what_is_not_finite_is_null(ledger):
    content = json.loads(json_text(sweep_as_json(read_sweep(ledger))))
    assert content["studies"][0]["best"]["trial"] == 2
    bad = table(trial(0, math.nan), trial(1, math.inf))
    values = [line["val/nrmse"] for line in json.loads(json_text(rows(bad)))]
    assert values == [None, None]
