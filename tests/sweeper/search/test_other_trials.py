"""Trials of other programs, from databases of Optuna and CSV files."""

import sqlite3
from pathlib import Path

import optuna
import pytest

from sweeper.errors import UsageError
from sweeper.search.other_trials import best_params, plain_name, study_in

optuna.logging.set_verbosity(optuna.logging.WARNING)


def database(path: Path, *names: str, direction: str = "minimize") -> str:
    """Write studies with the values 4, 1, 0, and a trial that failed."""
    for name in names:
        study = optuna.create_study(
            study_name=name, storage=f"sqlite:///{path}", direction=direction
        )
        for x in (-2.0, 1.0, 0.0):
            study.enqueue_trial({"x": x, "optimizer.name": "sgd"})
        study.optimize(objective, n_trials=3)
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    return str(path)


def objective(trial: optuna.Trial) -> float:
    trial.suggest_categorical("optimizer.name", ["adam", "sgd"])
    return trial.suggest_float("x", -3, 3) ** 2


def test_the_best_trials_of_a_database_come_first(tmp_path):
    source = database(tmp_path / "old.db", "one")
    found = best_params(source, "value", is_maximised=True, count=2)  # it knows its direction
    assert found == [{"x": x, "optimizer_name": "sgd"} for x in (0.0, 1.0)]
    up = database(tmp_path / "up.db", "one", direction="maximize")
    assert best_params(up, "value", is_maximised=False, count=1)[0]["x"] == -2.0


def test_a_table_of_optuna_has_the_same_trials_as_its_database(tmp_path):
    source = database(tmp_path / "old.db", "one")
    study_in(source).trials_dataframe().to_csv(tmp_path / "old.csv")
    both = [
        best_params(str(each), "value", is_maximised=False, count=9)
        for each in (source, tmp_path / "old.csv")
    ]
    shared = [[{key: row[key] for key in ("x", "optimizer_name")} for row in rows] for rows in both]
    assert shared[0] == shared[1]


def test_a_table_has_the_column_of_the_metric_and_cells_may_be_empty(tmp_path):
    file = tmp_path / "old.csv"
    file.write_text("layers,lr,acc,state\n3,0.1,0.5,finished\n,0.2,0.9,finished\n1,1,2,crashed\n")
    found = best_params(str(file), "acc", is_maximised=True, count=9)
    assert found == [{"lr": 0.2, "state": "finished"}, {"layers": 3.0, "lr": 0.1,
                     "state": "finished"}]  # fmt: skip
    file.write_text("norm,lr,value\nNone,0.1,1\nlayer,None,2\n,0.3,3\n")
    found = best_params(str(file), "loss", is_maximised=False, count=9)
    assert found == [{"norm": "None", "lr": 0.1}, {"norm": "layer"}, {"lr": 0.3}]
    file.write_text("lr,acc\n1,2\n")
    with pytest.raises(UsageError, match="has no column `loss`, nor `value`"):
        best_params(str(file), "loss", is_maximised=False, count=9)


def test_one_of_several_studies_is_named(tmp_path):
    source = database(tmp_path / "old.db", "one", "two")
    assert study_in(f"{source}#two").study_name == "two"
    for wrong in (source, f"{source}#three"):
        with pytest.raises(UsageError, match="#NAME: one, two"):
            study_in(wrong)


@pytest.mark.parametrize("kind", ["absent", "empty", "other", "text"])
def test_no_file_is_made_or_changed_that_is_no_database_of_optuna(tmp_path, kind):
    path = tmp_path / "old.db"
    if kind == "other":
        with sqlite3.connect(path) as other:
            other.execute("create table mine (x)")
    elif kind != "absent":
        path.write_text("x" * 5000 if kind == "text" else "")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(UsageError, match=r"old\.db"):
        study_in(str(path))
    assert (path.read_bytes() if path.exists() else None) == before


def test_names_are_letters_digits_and_underlines():
    assert plain_name("params_optimizer.lr") == "optimizer_lr"
