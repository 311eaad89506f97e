"""The reports of a program that are runs in MLflow: their order, numbers, and parent."""

import json
import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from sweeper.tracking import program_runs
from sweeper.tracking.mlflow_store import MARK, PARENT, MlflowStore

pytestmark = pytest.mark.slow


def test_each_step_with_the_metric_is_a_report_once_others_cannot_follow(
    new_store, monkeypatch, capsys
):
    client = MlflowClient(new_store())
    run = client.create_run("0", tags={MARK: "s/nft/0/1"}).info.run_id
    other = client.create_run("0", tags={MARK: "s/nft/0/2"}).info.run_id
    for step in (0, 10, 20):
        client.log_metric(run, "loss", 1 / (1 + step), step=step)
        client.log_metric(run, "lr", step, step=step)
    client.log_metric(run, "lr", 0.5, step=15)
    client.log_metric(other, "loss", 7.0, step=1)
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read) as ended:
        monkeypatch.setattr(sys, "stdin", ended)
        program_runs.follow(client, "s/nft/0/1", "loss")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"step": 1, "loss": 1.0, "lr": 0.0},
        {"step": 2, "loss": 1 / 11, "lr": 10.0},
        {"step": 3, "loss": 1 / 21, "lr": 20.0},
    ]


def test_runs_of_all_attempts_of_a_trial_get_its_run_as_parent(new_store):
    uri = new_store()
    store, client = MlflowStore(uri, "mine"), MlflowClient(uri)
    marks = ["my_s/nft/1/1", "my_s/nft/1/2", "my-s/nft/1/1"]
    runs = [client.create_run("0", tags={MARK: mark}).info.run_id for mark in marks]
    nested = client.create_run("0", tags={MARK: marks[0], PARENT: runs[0]}).info.run_id
    store.adopt("parent", "my_s/nft/1/")
    found = [client.get_run(run).data.tags.get(PARENT) for run in (*runs, nested)]
    assert found == ["parent", "parent", None, runs[0]]
    states = [client.get_run(run).info.status for run in (*runs, nested)]
    assert states == ["KILLED", "KILLED", "RUNNING", "KILLED"]


def test_a_follower_ends_with_its_input(new_store):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": new_store()}
    command = [sys.executable, "-m", "sweeper.tracking.program_runs", "none", "loss"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as follower:
        out, _ = follower.communicate(timeout=120)
    assert (out, follower.returncode) == ("", 0)
