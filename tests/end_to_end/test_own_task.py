"""A task of a user, from its file to compared scores, in one sweep with a task of the package."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from tests.support import killing
from tests.support.command import Shell
from tests.support.servers.cluster import ray_cluster
from tests.support.servers.process import wait_until
from tests.support.small_sweep import Sweep, wait_for_epochs
from tests.support.tiny_backbones import save_tiny_swin

pytestmark = [pytest.mark.timeout(900)]

TASK = """\
name: mine/wafer
title: Wafer maps
kind: classification
input: {path: ../raw/wafer.npz, key: x, layout: NCHW}
target: {key: y}
splits: {val: 0.25, test: 0.25}
"""
SWEEP = """\
name: wafers
include: tasks/
methods: [nft]
tasks: [mine/wafer, pdebench/darcy_2d@hard]
backbones: {2d: {name: SWIN}}
model: {head: linear}
data: {samples: 32, val_fraction: 0.25, test_fraction: 0.25, resolution: 16}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
fixed:
  refine.epochs: 2
  refine.batch_size: 16
  refine.warmup_epochs: 0.5
search: {trials: 2, startup_trials: 2}
pruning: {type: none}
resources: {cpu: 1, gpu: 0}
"""
BOTH = ("mine/wafer", "pdebench/darcy_2d@hard")

BY_MONA = (
    "tasks=[mine/wafer]", "methods=[mona]", "proxies.2d=digits", "fixed.refine.epochs=30",
    "fixed.meta.epochs=1", "fixed.meta.classes=2", "fixed.meta.per_class=2",
    "fixed.meta.batch_size=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    save_tiny_swin(folder / "swin")
    for name in ("tasks", "raw"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    names = np.array(["bad", "good"])
    y = rng.integers(0, 2, 96)
    x = rng.normal(size=(96, 1, 16, 16)) + 2 * y[:, None, None, None]
    np.savez(folder / "raw" / "wafer.npz", x=x.astype(np.float32), y=names[y])
    (folder / "tasks" / "wafer.task.yaml").write_text(TASK)
    (folder / "wafers.yaml").write_text(SWEEP.replace("SWIN", str(folder / "swin")))
    return folder


@pytest.fixture(scope="module")
def shell(folder, ray_head) -> Shell:
    return Shell(folder, {**ray_head.environment, "SWEEPER_HOME": str(folder / "home")})


@pytest.fixture(scope="module")
def launched(shell, ray_head) -> dict[str, Any]:
    early = shell.run("launch", "wafers.yaml", "--address", ray_head.address, code=2).err
    assert "mine/wafer: to be imported" in early
    assert f"sweeper data import {shell.folder}/tasks/wafer.task.yaml" in early
    assert not (shell.folder / "sweeps").exists()
    shell.run("data", "import", "tasks/wafer.task.yaml")
    launch = ("launch", "wafers.yaml", "--address", ray_head.address, "--json")
    return shell.run(*launch, timeout=600).json


def test_both_tasks_are_swept_in_one_launch(launched, shell):
    assert launched["exit_code"] == 0
    status = shell.run("status", "wafers", "--json").json
    assert [each["task"] for each in status["studies"]] == [*BOTH]
    compared = json.dumps(shell.run("compare", "wafers", "--json").json)
    assert "mine/wafer" in compared
    assert "own splits of mine/wafer" in compared


def test_the_task_is_learnt(launched, shell):
    rows = list(csv.DictReader(io.StringIO(shell.run("export", "wafers").out)))
    values = [float(row["value"]) for row in rows if row["task"] == "mine/wafer"]
    assert len(values) == 2
    assert min(values) < 0.3  # of two classes that are two deviations apart at each point


def test_a_job_tries_a_trial_again_whose_process_was_killed(folder, tmp_path, monkeypatch):
    """The task travels with the job. Its data are in the SWEEPER_HOME of the cluster."""
    monkeypatch.setenv("SWEEPER_HOME", str(folder / "home"))
    with ray_cluster(num_cpus=2, quick_to_bury=False) as cluster:
        shell = Shell(folder, cluster.environment)
        there = Sweep(Shell(tmp_path, cluster.environment), "job")
        shell.run("data", "import", "tasks/wafer.task.yaml")
        only = (word for each in BY_MONA for word in ("--set", each))
        place = ("--address", cluster.http, "--detach", "--workdir", str(tmp_path))
        shell.run("launch", "wafers.yaml", "--name", "job", *only, *place)
        wait_for_epochs(there, 2)
        (victim, *_) = (w for node in cluster.nodes for w in node.workers())
        killing.kill(victim)
        followed = shell.run("logs", "-f", "job", timeout=600).out
        state = ("status", "job", "--json")
        wait_until(lambda: shell.run(*state).json["state"] == "finished", timeout_s=90, what="end")
    assert "meta 1/1, meta/" in followed  # a stage without an objective is shown, too
    trials = there.rows("select state, attempt from trials order by attempt")
    assert trials == [("complete", 1), ("complete", 2)]
    measured = [(number, each["stage"], each["epoch"]) for number, each in there.events("measured")]
    assert len(measured) == len(set(measured))
    refined = sorted((number, epoch) for number, stage, epoch in measured if stage == "refine")
    assert refined == [(number, epoch) for number in range(2) for epoch in range(1, 31)]


def test_the_sweep_goes_on_without_its_task_file(launched, shell, ray_head):
    (shell.folder / "tasks" / "wafer.task.yaml").unlink()
    more = ("extend", "wafers", "--trials", "3", "--address", ray_head.address, "--json")
    extended = shell.run(*more, timeout=600).json
    assert extended["exit_code"] == 0
    again = shell.run("resume", "wafers", "--address", ray_head.address)
    assert "nothing to do" in again.err
    told = shell.run("describe", "mine/wafer").out
    assert "2 classes" in told
    assert "bad, good" in told


def test_data_of_a_running_or_former_sweep_are_named_before_they_are_deleted(launched, shell):
    asked = shell.run("data", "delete", "mine/wafer", code=2).err
    assert "wafers (finished)" in asked
