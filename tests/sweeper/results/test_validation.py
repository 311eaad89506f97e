"""Validation splits that cannot decide between settings are noted."""

import pytest

from sweeper.model import Study, StudyFacts, TrialState
from sweeper.results.prose import FEW, RAISE_SAMPLES, data_of, few_samples, validation_notes
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult
from tests.support.compared_ledgers import Scores
from tests.support.ledgers import RECORD
from tests.support.trials import sampled


def study(*values: float, samples: int, metric: str = "zero_one_error") -> StudyResult:
    name, task = "nft/nasbench360/ninapro", "nasbench360/ninapro"
    trials = tuple(
        sampled(name, number, state=TrialState.COMPLETE, value=value)
        for number, value in enumerate(values)
    )
    return StudyResult(
        record=RECORD,
        study=Study(name=name, method="nft", task=task, objective=f"val/{metric}", seed=0),
        facts=StudyFacts(samples={"train": 100, "val": samples, "test": 100}),
        trials=trials,
    )


@pytest.mark.parametrize(("samples", "is_noted"), [(1, True), (FEW - 1, True), (FEW, False)])
def test_few_validation_samples_are_noted(samples, is_noted):
    assert (few_samples("t", samples) is not None) == is_noted
    noted = validation_notes(study(0.1, 0.9, samples=samples, metric="nrmse"))
    assert bool(noted) == is_noted


def test_one_sample_validates_and_two_validate():
    one, two = (str(few_samples("t", samples)) for samples in (1, 2))
    assert one.startswith("t: 1 sample validates, under 30")
    assert two.startswith("t: 2 samples validate, under 30")


def test_a_weight_is_said_in_per_cent():
    assert few_samples("ecg", 20, RAISE_SAMPLES) == (
        "ecg: 20 samples validate, under 30: each weighs 5 % of the value that settings are chosen "
        "by. Raise `data.samples` or `data.val_fraction`."
    )


@pytest.mark.parametrize(
    ("values", "samples", "is_noted"),
    [
        ((0.30, 0.31, 0.50), 100, True),  # sqrt(.3 .7 / 100) is 0.046
        ((0.30, 0.36), 100, False),
        ((0.30, 0.31), 10_000, False),
        ((0.0, 0.001), 100, True),  # none wrong of a hundred is no certainty
        ((0.30,), 100, False),
        ((), 100, False),
    ],
)
def test_a_difference_under_the_standard_error_is_noted(values, samples, is_noted):
    notes = validation_notes(study(*values, samples=samples))
    assert bool(notes) == is_noted
    if is_noted:
        assert notes[0].startswith("nft/nasbench360/ninapro: the best two trials differ by ")
    assert validation_notes(study(*values, samples=samples, metric="nrmse")) == []


def test_own_data_have_a_licence_and_splits_of_their_own(sweep):
    facts = {"data_source": "official", "samples": {"train": 180, "val": 20, "test": 40}}
    files = {"mine/wafer": {"input": {"path": ["a.npz", "b.npz"]}, "licence": "MIT"}}
    scores = Scores(method="nft", task="mine/wafer", best=(0.3,), facts=facts)
    (found,) = read_sweep(sweep(scores, task_files=files)).studies
    assert data_of(found.facts) == "own data of a.npz, b.npz, licence: MIT"
    assert "Give `splits.val` of its task file more" in validation_notes(found)[0]


@pytest.mark.parametrize(
    ("source", "told"), [("generated", " Raise `data.samples`"), ("official", "chosen by.")]
)
def test_advice_fits_what_the_data_can_give(sweep, source, told):
    facts = {"data_source": source, "samples": {"train": 40, "val": 10, "test": 150}}
    scores = Scores(method="nft", task="nasbench360/ninapro", best=(0.3,), facts=facts)
    (found,) = read_sweep(sweep(scores)).studies
    note = validation_notes(found)[0]
    assert told in note
    assert ("Raise" in note) == (source == "generated")


def test_a_study_without_facts_has_no_note():
    table = study(0.1, 0.1, samples=100)
    bare = StudyResult(record=RECORD, study=table.study, facts=StudyFacts(), trials=table.trials)
    assert validation_notes(bare) == []
