"""The fast tier's whole sweep: real Ray, real MLflow, a tiny network (end_to_end/ has the rest)."""

import sqlite3
from contextlib import closing

import pytest
from mlflow import MlflowClient

from tests.support import tiny_sweep
from tests.support.command import Shell

pytestmark = pytest.mark.timeout(300)


def test_a_launch_trains_searches_and_records_every_trial(tmp_path, ray_head, data_home):
    shell = Shell(tmp_path, {**ray_head.environment, "SWEEPER_HOME": str(data_home)})
    file = tiny_sweep.write(tmp_path, trials=2)
    file.write_text(file.read_text().replace(", pdebench/darcy_2d@hard", ""))

    launched = shell.run("launch", str(file), "--address", ray_head.address, "--json").json

    (study,) = launched["studies"]
    assert (launched["state"], study["trials"]["complete"]) == ("finished", 2)
    assert study["best"]["test"] > 0
    assert study["baselines"]["mean"] > 0
    with closing(sqlite3.connect(tmp_path / "sweeps/tiny/ledger.db")) as ledger:
        trials = ledger.execute("select state, attempt from trials").fetchall()
    assert trials == [("complete", 1)] * 2
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4  # the sweep, its study, two trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sum("refine/seconds" in run.data.metrics for run in runs) == 2
