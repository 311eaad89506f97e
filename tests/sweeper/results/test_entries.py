"""Contenders: which configuration stands for a method, and what its values are."""

import math
from dataclasses import replace

import pytest

from sweeper.ledger import SweepRecord
from sweeper.model import Study, StudyFacts, Trial, TrialKind, TrialState
from sweeper.results.compare import compare_studies
from sweeper.results.entries import control_of, entry_of, fairly
from sweeper.results.read import read_studies
from sweeper.results.schema import History, StudyResult, row_of
from sweeper.text import counted
from tests.support.compared_ledgers import Scores, write

TASK = "pdebench/advection_1d"
STUDY = Study(name=f"pare/{TASK}", method="pare", task=TASK, objective="val/nrmse", seed=0)


def trial(number: int, value: float | None, test: float | None = None, **changes) -> Trial:
    defaults = {
        "study": STUDY.name, "number": number, "kind": TrialKind.SAMPLED, "params": {},
        "seed": number, "state": TrialState.COMPLETE, "value": value,
        "test": {} if test is None else {"test/nrmse": test},
    }  # fmt: skip
    return Trial(**defaults | changes)


def replicate(number: int, origin: int, seed: int, value: float | None, test=None, **changes):
    kind = {"kind": TrialKind.REPLICATE, "origin": origin, "seed": seed}
    return trial(number, value, test, **kind | changes)


def tuned(*trials: Trial, histories=None, resources=None) -> StudyResult:
    resolved = {"resources": resources or {"cpu": 1, "gpu": 0}}
    record = SweepRecord(
        name="s", experiment="e", resolved=resolved, config_hash="", profile="", text=""
    )
    rows = tuple(row_of(each, (histories or {}).get(each.number)) for each in trials)
    return StudyResult(record=record, label="pare", study=STUDY, facts=StudyFacts(), trials=rows)


def test_without_replicates_the_best_trial_by_validation_stands_alone():
    entry = entry_of(tuned(trial(0, 0.3, 0.1), trial(1, 0.2, 0.9)))
    assert (entry.trial, entry.is_replicated) == (1, False)
    assert dict(entry.values) == {1: 0.9}
    assert (entry.mean, entry.sd, entry.ci, entry.validation) == (0.9, None, None, 0.2)


def test_replicates_give_the_values_and_the_searched_trial_gives_none():
    entry = entry_of(
        tuned(trial(0, 0.1, 0.1), replicate(100, 0, 7, 0.3, 0.5), replicate(101, 0, 8, 0.2, 0.7))
    )
    assert dict(entry.values) == {7: 0.5, 8: 0.7}
    assert entry.mean == 0.6
    assert entry.sd == pytest.approx(math.sqrt(0.02))
    assert entry.validation == 0.25


@pytest.mark.parametrize(
    ("state", "counts"), [(TrialState.WAITING, (1, 0)), (TrialState.FAILED, (0, 1))]
)
def test_a_seed_that_waits_or_fails_is_counted_and_has_no_value(state, counts):
    other = replicate(101, 0, 8, None, state=state)
    entry = entry_of(tuned(trial(0, 0.1), replicate(100, 0, 7, 0.1, 0.1), other))
    assert dict(entry.values) == {7: 0.1}
    assert (entry.pending, entry.without) == counts


@pytest.mark.parametrize("test", [None, math.nan, math.inf])
def test_a_replicate_without_a_finite_test_value_is_counted_and_gives_none(test):
    entry = entry_of(
        tuned(trial(0, 0.1), replicate(1, 0, 7, 0.1, 0.2), replicate(2, 0, 8, 0.1, test))
    )
    assert dict(entry.values) == {7: 0.2}
    assert entry.without == 1


@pytest.mark.parametrize(
    ("state", "counts"),
    [(TrialState.RUNNING, (2, 0)), (TrialState.WAITING, (2, 0)), (TrialState.FAILED, (0, 2))],
)
def test_as_long_as_no_replicate_is_complete_the_searched_trial_stands_for_itself(state, counts):
    replicates = [replicate(9 + k, 0, 70 + k, None, state=state) for k in range(2)]
    entry = entry_of(tuned(trial(0, 0.1, 0.2), *replicates))
    assert (entry.trial, entry.is_replicated) == (0, False)
    assert (dict(entry.values), entry.mean, entry.validation) == ({0: 0.2}, 0.2, 0.1)
    assert (entry.pending, entry.without) == counts


def test_the_controls_replicates_are_its_own():
    control = trial(1, 0.5, 0.5, kind=TrialKind.CONTROL)
    both = tuned(
        trial(0, 0.1, 0.1), control, replicate(2, 1, 7, 0.6, 0.6), replicate(3, 0, 7, 0.2, 0.2)
    )
    assert dict(control_of(both).values) == {7: 0.6}
    assert dict(entry_of(both).values) == {7: 0.2}
    assert dict(control_of(tuned(control)).values) == {1: 0.5}


def test_a_study_without_a_complete_trial_has_an_empty_entry():
    entry = entry_of(tuned(trial(0, 0.3, state=TrialState.PRUNED)))
    assert (entry.trial, entry.mean, dict(entry.values)) == (None, None, {})
    assert entry.budget.trials == 1


def history(epochs: int, seconds: float, ended: int) -> History:
    return History(measurements=(), epochs=epochs, seconds=seconds, ended=ended)


def test_the_budget_is_of_candidates_so_that_a_control_is_none_of_it():
    kinds = (TrialKind.PRESET, TrialKind.CONTROL, TrialKind.SAMPLED, TrialKind.SAMPLED)
    trials = [trial(n, 0.3, kind=kind) for n, kind in enumerate(kinds)]
    histories = {n: history(3, 10.0, n) for n in range(4)}
    with_control = entry_of(tuned(*trials, histories=histories)).budget
    without = entry_of(tuned(trials[0], *trials[2:], histories=histories)).budget
    assert with_control == without
    assert (without.trials, without.epochs, without.device_seconds) == (3, 9, 30.0)


def test_the_budget_is_in_seconds_of_devices():
    trials = [trial(0, 0.3), trial(1, None, state=TrialState.FAILED), replicate(2, 0, 7, 0.1)]
    histories = {n: history(3, 10.0, n) for n in range(3)}
    on_cpu = entry_of(tuned(*trials, histories=histories, resources={"cpu": 4, "gpu": 0}))
    on_gpu = entry_of(tuned(*trials, histories=histories, resources={"cpu": 4, "gpu": 0.5}))
    assert vars(on_cpu.budget) == {
        "trials": 2, "epochs": 6, "device_seconds": 80.0, "device": "cpu",
    }  # fmt: skip
    assert (on_gpu.budget.device_seconds, on_gpu.budget.device) == (10.0, "gpu")


def test_progress_follows_the_order_in_which_trials_ended():
    trials = [
        trial(0, 0.5, 0.6), trial(1, 0.1, kind=TrialKind.CONTROL), trial(2, 0.2, 0.3),
        trial(3, 0.3), trial(4, 0.05, state=TrialState.PRUNED), replicate(9, 2, 7, 0.01),
    ]  # fmt: skip
    order = {2: 1, 0: 2, 1: 3, 3: 4, 4: 5, 9: 6}
    histories = {n: history(2, 1.5, ended) for n, ended in order.items()}
    curve = entry_of(tuned(*trials, histories=histories)).curve
    assert [(p.trials, p.epochs, p.device_seconds, p.value, p.test) for p in curve] == [
        (n, 2 * n, 1.5 * n, 0.2, 0.3) for n in range(1, 5)
    ], "the control, which ended third, is no candidate"


def test_of_two_equal_values_the_earlier_trial_stands_whichever_ended_first():
    trials = [trial(2, 0.25, 0.29), trial(3, 0.25, 0.31)]
    histories = {2: history(1, 1.0, 2), 3: history(1, 1.0, 1)}
    entry = entry_of(tuned(*trials, histories=histories))
    assert [p.test for p in entry.curve] == [0.31, 0.29]
    assert (entry.trial, entry.mean) == (2, 0.29)


def test_progress_starts_with_the_first_complete_candidate():
    trials = [trial(0, None, state=TrialState.FAILED), trial(1, 0.4), trial(2, 0.3)]
    histories = {n: history(1, 1.0, n) for n in range(3)}
    curve = entry_of(tuned(*trials, histories=histories)).curve
    assert [(p.trials, p.value) for p in curve] == [(2, 0.4), (3, 0.3)]


def test_labels_are_methods_and_name_the_sweep_where_two_have_one(tmp_path):
    other = "pdebench/darcy_2d"
    one = write(tmp_path / "a", "a", [Scores(method="pare", task=TASK, best=[0.1])])
    both = [Scores(method=method, task=TASK, best=[0.1]) for method in ("pare", "mona")]
    two = write(tmp_path / "b", "b", both)
    three = write(tmp_path / "c", "c", [Scores(method="pare", task=other, best=[0.1])])
    assert [c.label for c in read_studies([one, two])] == ["a:pare", "b:pare", "mona"]
    assert [c.label for c in read_studies([one, three])] == ["pare", "pare"]


def test_jaggedness_and_rises_are_means_over_what_was_trained(tmp_path):
    ledger = write(tmp_path, "a", [Scores(method="pare", task=TASK, best=[0.2, 0.4])])
    (found,) = read_studies([ledger])
    entry = entry_of(found)
    assert (entry.roughness, entry.upward_rms) == (0.0, 0.0), "validation falls by equal steps"
    bumpy = tuple(
        replace(m, objective=m.objective + 0.15 * (m.epoch % 2))
        for t in found.trials
        if t.number == 100_000
        for m in t.measurements
    )
    trials = tuple(
        replace(t, measurements=bumpy) if t.number == 100_000 else t for t in found.trials
    )
    steps = [-0.1 - 0.15, -0.1 + 0.15, -0.1 - 0.15]
    deviation = math.sqrt(sum((s - sum(steps) / 3) ** 2 for s in steps) / 2)
    entry = entry_of(replace(found, trials=trials))
    assert entry.roughness == pytest.approx((0.0 + deviation) / 2)
    assert entry.upward_rms == pytest.approx((0.0 + math.sqrt(0.05**2 / 3)) / 2)


def test_a_suggestion_of_a_user_is_compared_only_if_all_studies_on_the_task_have_it():
    def suggestion(name: str, rate: float) -> Trial:
        settings = {"kind": TrialKind.SUGGESTED, "params": {name: rate}, "sampled": (name,)}
        return trial(100_000, 0.1, 0.1, **settings)

    ours = tuned(trial(0, 0.3, 0.3), suggestion("refine.lr", 1e-3))
    assert ours.best is not None
    assert ours.best.number == 100_000, "it is the best of its study"
    for theirs in (
        tuned(trial(0, 0.2, 0.2)),
        tuned(trial(0, 0.2, 0.2), suggestion("tune.lr", 1e-2)),
    ):
        fair = fairly([ours, theirs])
        assert [entry_of(each).trial for each in fair] == [0, 0]
        assert [each.left_out for each in fair] == [1, len(theirs.trials) - 1]
        assert fairly(fair) == fair
        compared = compare_studies([ours, theirs], sweeps=["s"]).tasks[0]
        unfair = counted(len(theirs.trials), "suggestion")
        assert f"{unfair} of users left out, which not all studies have" in compared.cautions
        assert [entry.budget.trials for entry in compared.entries if entry.budget] == [1, 1]
    both = fairly([ours, tuned(trial(0, 0.2, 0.2), suggestion("tune.lr", 1e-3))])
    assert [entry_of(each).trial for each in both] == [100_000, 100_000]


def test_suggestions_that_share_one_of_two_rates_are_not_taken_for_the_same():
    def suggested(first: float) -> StudyResult:
        params = {"align.lr": first, "refine.lr": 1e-4}
        settings = {"kind": TrialKind.SUGGESTED, "params": params, "sampled": (*params,)}
        return tuned(trial(0, 0.3, 0.3), trial(100_000, 0.1, 0.1, **settings))

    assert [each.left_out for each in fairly([suggested(1e-3), suggested(1e-6)])] == [1, 1]
    assert [each.left_out for each in fairly([suggested(1e-3), suggested(1e-3)])] == [0, 0]
