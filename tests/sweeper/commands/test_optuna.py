"""The export of a sweep to Optuna, from a ledger whose sweep file is real."""

from pathlib import Path
from typing import Any

import optuna
import pytest

import sweeper
from sweeper.errors import NotFound
from sweeper.ledger import Ledger
from sweeper.model import Outcome, TrialKind, TrialState
from tests.support.pricing import sweep_of
from tests.support.trials import begin, measured, record, sampled

STUDY = "mona/pdebench/advection_1d"


@pytest.fixture
def folder(here):
    """The folder of a sweep with three trials of the search and a replicate."""
    return write(here / "sweeps" / "priced")


def write(folder: Path, **search: Any) -> Path:
    """Write a sweep with three trials of the search and a replicate."""
    folder.mkdir(parents=True)
    sweep = sweep_of()
    resolved = {**sweep.resolved, "search": {**sweep.resolved["search"], **search}}
    (spec,) = sweep.studies
    ledger = Ledger.in_folder(folder)
    ledger.create(record(sweep.name, resolved=resolved))
    ledger.start({})
    drawn = {"meta.epochs": 2, "meta.inner_params": "all", "refine.batch_size": 8}
    for number, (kind, params) in enumerate(
        [
            (TrialKind.PRESET, spec.preset),
            (TrialKind.CONTROL, spec.control),
            (TrialKind.SAMPLED, {**spec.preset, **drawn, "refine.lr": 1e-4}),
            (TrialKind.REPLICATE, {**spec.preset, **drawn, "refine.lr": 1e-4}),
        ]
    ):
        attempt = begin(ledger, sampled(STUDY, number, kind=kind, params=params))
        for epoch in (1, 2):
            value = 1 / epoch / (number + 1)
            found = measured(epoch, value, metrics={"val/nrmse": value})
            ledger.measure(STUDY, number, attempt, found)
        quantities = {"val/nrmse": value, "seconds": 9.0 + number, "parameters": 5.0 * number}
        outcome = Outcome(state=TrialState.COMPLETE, quantities=quantities if search else {})
        ledger.end_attempt(STUDY, number, attempt, outcome)
    ledger.close()
    return folder


def test_a_handle_gives_the_study_with_the_parameters_of_the_sweep_file(folder):
    study = sweeper.open("priced").optuna_study(STUDY)
    assert [t.user_attrs["kind"] for t in study.trials] == ["preset", "control", "sampled"]
    sampled = study.trials[2]
    assert sampled.params["refine.lr"] == 1e-4
    assert sampled.distributions["refine.lr"] == optuna.distributions.FloatDistribution(
        1e-6, 1e-3, log=True
    )
    assert set(sampled.params) == {
        "meta.epochs", "meta.inner_params", "refine.batch_size", "refine.lr"
    }  # fmt: skip
    assert sampled.intermediate_values == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 6)}
    # the control has no meta stage: its value of that parameter is not in the searched range
    assert "meta.epochs" not in study.trials[1].params
    assert study.trials[1].user_attrs["meta.epochs"] == 0
    assert study.best_trial.number == 2
    with pytest.raises(NotFound, match="unknown study"):
        sweeper.open("priced").optuna_study("mona")


@pytest.mark.slow
def test_the_command_writes_the_same_study(folder, tmp_path, command):
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    out = command("export", "priced", "--optuna", url).out
    assert "priced/mona/pdebench/advection_1d: 3 trials, 3 of them new" in out
    assert f"optuna-dashboard {url}" in out
    study = optuna.load_study(study_name=f"priced/{STUDY}", storage=url)
    ours = sweeper.open("priced").optuna_study()
    assert [t.params for t in study.trials] == [t.params for t in ours.trials]
    assert "3 trials, 0 of them new" in command("export", "priced", "--optuna", url).out


def test_all_objectives_and_constraints_of_the_sweep_are_written(here, command):
    goals = {"objectives": ["val", "seconds"], "constraints": {"parameters": "<= 5"}}
    write(here / "sweeps" / "priced", **goals)
    url = f"sqlite:///{here / 'optuna.db'}"
    command("export", "priced", "--optuna", url)
    study = optuna.load_study(study_name=f"priced/{STUDY}", storage=url)
    for told in (study, sweeper.open("priced").optuna_study()):
        assert told.metric_names == ["val/nrmse", "seconds"]
        assert [t.values for t in told.trials] == [[0.5, 9.0], [0.25, 10.0], [0.5 / 3, 11.0]]
        assert [t.constraints for t in told.trials] == [
            {"parameters <= 5": violation} for violation in (-1.0, 0.0, 1.0)
        ]
        assert [t.number for t in told.best_trials] == [0, 1]


def test_other_options_of_export_do_not_fit(folder, tmp_path, command):
    for option in (["-o", "x.csv"], ["--format", "csv"]):
        told = command("export", "priced", "--optuna", "sqlite:///x.db", *option, code=2).err
        assert "leave --format and --out out" in told
    assert not (tmp_path / "x.db").exists()
