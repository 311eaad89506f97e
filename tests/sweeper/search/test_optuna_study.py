"""Studies of ours as studies of Optuna: none is lost, and none of another origin is touched."""

import math
import sqlite3
from dataclasses import replace
from datetime import datetime

import optuna
import pytest

from sweeper.config.distributions import Choice, Float, Int
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import Measurement, Study, Trial, TrialKind, TrialState
from sweeper.search.optuna_study import SearchedStudy, SearchedTrial, in_memory, write

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
