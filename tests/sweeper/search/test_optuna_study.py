"""Studies of ours as studies of Optuna: none is lost, and none of another origin is touched."""

import math
import sqlite3
from dataclasses import replace
from datetime import datetime

import optuna
import pytest

from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import INFEASIBLE, Study, Trial, TrialKind, TrialState
from sweeper.search.optuna_study import SearchedStudy, SearchedTrial, in_memory, write
from sweeper.spec.distributions import Choice, Float, Int
from sweeper.spec.goals import Goals, read_constraint
from trainables.report import Measurement

OptunaState = optuna.trial.TrialState
SPACE = {
    "align.distance": Choice(values=("otdd", "mmd", None, True)),
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "align.samples": Int(low=16, high=64, step=16, when={"align.distance": ("otdd",)}),
}
STUDY = Study(name="orca/t/a", method="orca", task="t/a", objective="val/x", seed=1)
T0 = 1_790_000_000.0


def trial(number: int, state: TrialState = TrialState.COMPLETE, **changes) -> SearchedTrial:
    params = {
        "align.distance": ("otdd", "mmd")[number % 2],
        "align.samples": 32,
        "refine.lr": 1e-3 / (number + 1),
        "refine.epochs": 4,
        **changes.pop("params", {}),
    }
    curve = [1.0, 0.7, 0.8, 0.5][: {TrialState.PRUNED: 3, TrialState.WAITING: 0}.get(state, 4)]
    base = Trial(
        study=STUDY.name, number=number, params=params, seed=2**62 + number, state=state,
        kind=TrialKind.PRESET if number == 0 else TrialKind.SAMPLED,
        value=min(curve, default=None), best_epoch=len(curve) or None,
        test={"test/x": 0.6} if state is TrialState.COMPLETE else {},
    )  # fmt: skip
    measured = [
        Measurement(stage="refine", epoch=i + 1, num_epochs=4, metrics={}, objective=value)
        for i, value in enumerate(curve)
    ]
    found = SearchedTrial(
        trial=replace(base, **changes), measurements=measured, began=T0 + number, ended=T0 + 90
    )
    return found


def searched(*trials: SearchedTrial, origin: str = "f00d") -> SearchedStudy:
    return SearchedStudy(sweep="s", origin=origin, study=STUDY, parameters=SPACE, trials=trials)


ALL = (
    trial(0),
    trial(1),
    trial(2, TrialState.PRUNED),
    trial(3, TrialState.FAILED, failure="crash", reason="it died"),
    trial(4, TrialState.RUNNING),
    trial(5, TrialState.INTERRUPTED),
    trial(6, TrialState.WAITING),
)


def test_states_values_times_and_curves_are_kept():
    study = in_memory(searched(*ALL))
    told = study.trials
    assert [t.state for t in told] == [
        OptunaState.COMPLETE, OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL,
        OptunaState.RUNNING, OptunaState.RUNNING, OptunaState.WAITING,
    ]  # fmt: skip
    assert [t.value for t in told] == [0.5, 0.5, 0.8, None, None, None, None]
    assert told[0].intermediate_values == {1: 1.0, 2: 0.7, 3: 0.8, 4: 0.5}
    assert told[1].datetime_start == datetime.fromtimestamp(T0 + 1)
    assert told[1].duration.total_seconds() == 89
    assert told[3].user_attrs["reason"] == "it died"
    assert told[0].user_attrs["seed"] == str(2**62)
    assert told[0].user_attrs["test/x"] == 0.6
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert study.user_attrs["task"] == "t/a"
    assert study.best_value == 0.5


def test_each_value_is_a_parameter_or_an_attribute():
    for ours, theirs in zip(ALL, in_memory(searched(*ALL)).trials, strict=True):
        if theirs.state is not OptunaState.WAITING:
            for name, value in ours.trial.params.items():
                assert {**theirs.user_attrs, **theirs.params}[name] == value
            assert ("align.samples" in theirs.params) == (
                ours.trial.params["align.distance"] == "otdd"
            )
        assert "refine.epochs" not in theirs.params


def test_a_preset_outside_the_searched_range_is_kept_as_an_attribute():
    (told,) = in_memory(searched(trial(0, params={"refine.lr": 0.5}))).trials
    assert "refine.lr" not in told.params
    assert told.user_attrs["refine.lr"] == 0.5
    assert told.params["align.distance"] == "otdd"


def test_a_complete_trial_without_a_number_has_failed():
    told = in_memory(searched(trial(0, value=math.nan), trial(1, value=math.inf))).trials
    assert [t.state for t in told] == [OptunaState.FAIL, OptunaState.COMPLETE]
    assert told[1].value == math.inf


def test_importances_and_further_suggestions_come_from_the_rebuilt_study():
    study = in_memory(searched(*(trial(n, value=0.1 * n) for n in range(12))))
    assert set(optuna.importance.get_param_importances(study)) <= set(SPACE)
    assert 1e-5 <= study.ask().suggest_float("refine.lr", 1e-5, 1e-1, log=True) <= 1e-1


GOALS = Goals(
    objectives=("val/x", "seconds"),
    constraints=(read_constraint("peak_memory", "<= 10MiB"), read_constraint("epochs", ">= 2")),
)
MEMORY, EPOCHS = "peak_memory <= 10MiB", "epochs >= 2"


def with_goals(goals: Goals = GOALS) -> SearchedStudy:
    """Return three complete trials with quantities, one that lacks one, and others without."""
    quantities = [
        {"val/x": 0.5, "seconds": 9.0, "peak_memory": 5 * 2**20, "epochs": 4.0},
        {"val/x": 0.4, "seconds": 12.0, "peak_memory": 15 * 2**20, "epochs": 1.0},
        {"val/x": 0.6, "seconds": 5.0, "epochs": 4.0},
        {"val/x": 0.3, "peak_memory": 2**20, "epochs": 4.0},
    ]
    complete = [
        replace(trial(n, value=known["val/x"]), quantities=known)
        for n, known in enumerate(quantities)
    ]
    contradiction = replace(
        trial(5, TrialState.PRUNED, failure=INFEASIBLE, value=None), measurements=()
    )
    others = (trial(4, TrialState.FAILED), contradiction, trial(6, TrialState.RUNNING))
    return replace(searched(*complete, *others), goals=goals)


def check_goals(study: optuna.Study) -> None:
    assert study.directions == [optuna.study.StudyDirection.MINIMIZE] * 2
    assert study.metric_names == ["val/x", "seconds"]
    told = study.get_trials(states=[OptunaState.COMPLETE])
    assert [t.values for t in told] == [[0.5, 9.0], [0.4, 12.0], [0.6, 5.0]]
    assert [t.constraints for t in told] == [
        {MEMORY: -0.5, EPOCHS: -1.0},
        {MEMORY: 0.5, EPOCHS: 0.5},
        {MEMORY: 1.0, EPOCHS: -1.0},  # its memory was not measured
    ]
    failed = study.get_trials(states=[OptunaState.FAIL])
    assert [t.user_attrs["trial"] for t in failed] == [3, 4, 5]
    # Optuna ranks feasible trials alone.
    assert [t.user_attrs["trial"] for t in study.best_trials] == [0]


@pytest.mark.slow
def test_all_objectives_and_constraints_are_kept(url):
    study = in_memory(with_goals())
    check_goals(study)
    assert [t.state for t in study.trials][-1] is OptunaState.RUNNING
    ask = study.ask()  # a sampler learns from them
    assert 1e-5 <= ask.suggest_float("refine.lr", 1e-5, 1e-1, log=True) <= 1e-1
    assert write(url, [with_goals()])[0].added == 6
    check_goals(load(url))
    assert write(url, [with_goals()])[0].added == 0


def test_one_objective_with_constraints_has_the_best_feasible_trial():
    study = in_memory(with_goals(Goals(objectives=("val/x",), constraints=GOALS.constraints[1:])))
    assert study.best_trial.user_attrs["trial"] == 3
    assert study.trials[1].constraints == {EPOCHS: 0.5}


def test_an_export_with_one_objective_of_several_is_written_anew(url):
    assert write(url, [replace(with_goals(), goals=Goals())])[0].added == 6
    assert write(url, [with_goals()])[0].added == 6
    check_goals(load(url))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def load(url: str, name: str = "s/orca/t/a") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def facts(study: optuna.Study) -> list:
    return [
        (t.number, t.state, t.value, t.params, t.intermediate_values, t.user_attrs,
         t.datetime_start, t.datetime_complete)
        for t in study.trials
    ]  # fmt: skip


def test_a_database_has_the_ended_trials_as_they_are_in_memory(url):
    (written,) = write(url, [searched(*ALL)])
    assert (written.name, written.trials, written.added) == ("s/orca/t/a", 4, 4)
    assert facts(load(url)) == facts(in_memory(searched(*ALL[:4])))
    assert load(url).user_attrs == in_memory(searched()).user_attrs


@pytest.mark.slow
def test_a_second_export_adds_what_is_missing_and_changes_nothing_else(url):
    write(url, [searched(*ALL[:2], ALL[4])])
    before = facts(load(url))
    assert write(url, [searched(*ALL[:2], ALL[4])])[0].added == 0
    assert facts(load(url)) == before
    done = trial(4)
    assert write(url, [searched(*ALL[:3], done)])[0].added == 2
    assert facts(load(url))[:2] == before
    assert [t.user_attrs["trial"] for t in load(url).trials] == [0, 1, 2, 4]


def test_a_trial_that_was_retried_is_written_anew(url):
    write(url, [searched(*ALL[:4])])
    assert write(url, [searched(*ALL[:3], trial(3))])[0].added == 4
    assert load(url).trials[3].state is OptunaState.COMPLETE
    assert len(load(url).trials) == 4


def test_a_study_of_another_origin_is_not_touched_and_nothing_is_written(url):
    other = replace(STUDY, name="pare/t/a", method="pare")
    mine = optuna.create_study(study_name="s/pare/t/a", storage=url)
    mine.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    before = facts(mine)
    with pytest.raises(UsageError, match="of another origin"):
        write(url, [searched(*ALL), replace(searched(*ALL), study=other)])
    assert facts(load(url, "s/pare/t/a")) == before
    assert optuna.get_all_study_names(url) == ["s/pare/t/a"]


def test_another_sweep_of_the_same_name_is_another_origin(url):
    write(url, [searched(*ALL)])
    with pytest.raises(UsageError, match="of another origin"):
        write(url, [searched(*ALL, origin="beef")])


def test_a_study_that_others_continued_is_not_rewritten(url):
    write(url, [searched(*ALL[:4])])
    load(url).optimize(lambda t: t.suggest_float("refine.lr", 1e-5, 1e-1, log=True), n_trials=1)
    with pytest.raises(UsageError, match="that no export wrote"):
        write(url, [searched(*ALL[:3], trial(3))])
    assert len(load(url).trials) == 5


def test_our_own_ledger_and_other_databases_are_refused_and_unchanged(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "s")
    ledger.sweep()
    ledger.close()
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table trials (x)")
    other.close()
    for name in ("ledger.db", "other.db"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UsageError, match="tables of another program"):
            write(f"sqlite:///{tmp_path / name}", [searched(*ALL)])
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["optuna.db", "", "mysterious://x", "sqlite:////no/such/folder/x.db", "mysql://a:pw@h/x"],
)
def test_a_url_that_cannot_be_opened_is_refused_without_showing_it(text):
    with pytest.raises(UsageError, match="--optuna") as caught:
        write(text, [searched(*ALL)])
    assert "pw" not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)
