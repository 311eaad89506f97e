"""A launch that is killed once its ledger has the end of the sweep, and MLflow has not."""

import os
import signal
import sqlite3
from contextlib import closing

from mlflow import MlflowClient

from tests.support import killing
from tests.support.servers.cluster import shell_on
from tests.support.servers.process import wait_until
from tests.support.servers.webhook import webhook
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import EPOCHS, TRIALS, wait_for_epochs


def test_the_next_launch_ships_what_is_left_and_notifies(tmp_path, ray_head, data_home):
    sweep = HeldSweep(shell_on(ray_head, tmp_path, data_home), "late")
    store = tmp_path / "mlflow.db"
    file = str(sweep.file())  # and an empty store beside it
    ended = "select seq from events where kind='sweep_ended'"
    with webhook() as hook, closing(sqlite3.connect(store, timeout=60)) as locked:
        again = ("launch", file, "--set", f"notify=['{hook.url}']")
        sweep.hold()
        launch = sweep.shell.start(*again)
        wait_for_epochs(sweep, 1)
        locked.isolation_level = None
        locked.execute("begin exclusive")  # MLflow takes no record from here on
        sweep.release()
        driver = killing.driver_of(launch)
        wait_until(lambda: sweep.rows(ended), timeout_s=300, what="the end of the sweep")
        os.kill(launch.pid, signal.SIGKILL)
        killing.kill(driver)
        launch.communicate()
        locked.execute("rollback")
        assert hook.events() == []
        for words in (("status", "late"), ("ls",)):
            assert "MLflow lacks " in sweep.shell.run(*words).out
        told = sweep.shell.run("resume", "late").err
        assert "late is finished (4 of 4 trials); nothing to do." in told
        assert "it has all now." in told
        assert "MLflow" not in sweep.shell.run(*again).err + sweep.shell.run("status", "late").out
        assert hook.events() == ["finished"]
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("late")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * (1 + 1 + TRIALS)
    for run in runs:
        if "sweeper.trial" in run.data.tags:
            history = client.get_metric_history(run.info.run_id, sweep.metric)
            assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
