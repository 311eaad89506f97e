"""Programs of users on real Ray: a function of a file and a command side by side, and others."""

import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from tests.support import killing
from tests.support.command import ROOT, Shell
from tests.support.servers.process import wait_until
from tests.support.small_programs import FILE, FUNCTION, ProgramSweep, write_programs
from tests.support.small_sweep import Sweep, finish, plain, wait_for_epochs

PROMOTE = ("--set", "pruning={type: promote, min_epochs: 1, eta: 2}")
NOTEBOOK = """
import sys
import sweeper

def double(x):
    return 2 * x

@sweeper.trainable
def fit(params, trial):
    for step in (1, 2):
        trial.report(step, {"accuracy": double(params["lr"]) + step})

if __name__ == "__main__":
    sweep = sweeper.tune(
        fit,
        {"lr": sweeper.log(1e-5, 1e-1), "kind": ["a", "b"], "width": 3},
        metric="accuracy",
        goal="maximize",
        trials=int(sys.argv[1]),
        sets={"resources.dashboard": False, "search.sampler": "random"},
        may_change=len(sys.argv) > 2,
    )
    best = sweep.best()
    assert best.value == -(2 + 2 * best.params["run.lr"]), best
    assert len(sweep.trials()) == int(sys.argv[1])
"""

# All scripts of the gallery in one sweep, each with a metric of its own.
GALLERY = f"""
import sys
from importlib import import_module

sys.path.insert(0, {str(ROOT / ".site" / "gallery" / "scripts" / "tuned")!r})

def main(params, trial):
    report = trial.report

    def with_loss(step, metrics):
        (loss, *_) = (v for k, v in metrics.items() if k.endswith(("loss", "accuracy")))
        report(step, {{"loss": loss, **metrics}})

    trial.report = with_loss
    script = import_module(params.pop("script"))
    script.main({{"rounds": params["epochs"], **params}}, trial)
"""
GALLERY_FILE = """
name: gallery
program: {function: "gallery:main", metric: loss, steps: 2}
parameters:
  script: {values: [torch_loop, lightning_module, hf_trainer, sklearn_sgd, lightgbm_rounds]}
search: {trials: 6, sampler: grid, max_concurrent: 2}  # one more than values: the first trial
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
"""


@pytest.fixture(scope="module", autouse=True)
def _files(shell):
    write_programs(shell.folder)


@pytest.fixture(scope="module")
def whole(shell) -> ProgramSweep:
    sweep = ProgramSweep(shell, "whole")
    finish(sweep.start("--set", "fixed.nap=0"))
    return sweep


def test_a_whole_sweep_of_two_programs_on_two_data_sets(whole, shell):
    curves = whole.curves()
    assert len(curves) == 4 * (3 + 2)
    assert all([epoch for epoch, _ in curve] == [1, 2, 3, 4] for curve in curves.values())
    for study, number, state, test in whole.rows("select study, number, state, test from trials"):
        assert state == "complete"
        assert plain(test)["test/loss"] == pytest.approx(2 * curves[study, number][-1][1])
    small, large = shell.run("compare", "whole", "--json").json["tasks"]
    for task, verdict in ((small, "cannot distinguish"), (large, "not informative")):
        assert [each["label"] for each in task["methods"]] == ["ours", "theirs"]
        assert task["floor"]["predictor"] == "by hand"
        (found,) = task["comparisons"]
        assert (found["pairs"], found["verdict"]) == (2, verdict)
    for command in ("report", "compare", "export"):
        shell.run(command, "whole")


def test_killed_workers_cost_a_step_and_change_nothing(whole, shell, ray_head):
    sweep = ProgramSweep(shell, "killed")
    launch = sweep.start(*PROMOTE, "--set", "program.data=[small]", "--set", "replicate=null")
    studies = ("ours/program/loss@small", "theirs/program/loss@small")
    wait_for_epochs(sweep, 1)
    wait_until(
        lambda: {study for study, _ in sweep.curves()} == {*studies},
        timeout_s=120,
        what="an epoch of each program",
    )
    for worker in (w for node in ray_head.nodes for w in node.workers()):
        killing.kill(worker)
    finish(launch)
    mine, theirs = sweep.curves(), whole.curves()
    for trial, curve in mine.items():
        assert curve == theirs[trial][: len(curve)]
    states = sweep.rows("select study, number, state, attempt from trials")
    assert {state for *_, state, _ in states} == {"complete", "paused"}
    assert max(attempt for *_, attempt in states) > 1
    found = (f"{study}/{n}" for study, n, state, _ in states if state == "complete")
    complete = next(name for name in found if name.startswith("theirs"))
    assert "| all steps are done" in shell.run("logs", "killed", complete).out


@pytest.mark.soak  # each imports a library of its own
def test_each_script_of_the_gallery_runs(shell):
    (shell.folder / "gallery.py").write_text(GALLERY)
    (shell.folder / "gallery.yaml").write_text(GALLERY_FILE)
    shell.run("launch", "gallery.yaml")
    sweep = Sweep(shell, "gallery")
    ended = sweep.rows("select state, params from trials")
    assert {state for state, _ in ended} == {"complete"}
    assert len({str(params) for _, params in ended}) == 5
    measured = [(number, found["epoch"]) for number, found in sweep.events("measured")]
    assert sorted(measured) == [(number, epoch) for number in range(6) for epoch in (1, 2)]
    assert len(sweep.checkpoints()) == 6


def test_another_text_is_refused_unless_it_is_allowed(whole, shell):
    mine = shell.folder / "mine.py"
    mine.write_text(FUNCTION + "\n# changed\n")
    try:
        refused = whole.start("--set", "fixed.nap=0")
        assert "the text of `ours` has changed" in finish(refused, code=2)
        finish(whole.start("--set", "program.may_change=true", "--set", "fixed.nap=0"))
    finally:
        mine.write_text(FUNCTION)


def run_notebook(shell: Shell, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | shell.environment
    command = [sys.executable, "notebook.py", *arguments]
    return subprocess.run(
        command, cwd=shell.folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.soak
def test_a_function_of_a_program_goes_to_workers_and_is_not_kept(shell):
    (shell.folder / "notebook.py").write_text(NOTEBOOK)
    first = run_notebook(shell, "2")
    assert first.returncode == 0, first.stderr
    lost = shell.run("extend", "fit", "--trials", "5", code=2).err
    assert "by sweeper.tune(fit, ...)" in lost
    (shell.folder / "notebook.py").write_text(NOTEBOOK.replace("+ step", "+ step + 0"))
    refused = run_notebook(shell, "4")
    assert "the text of `fit` has changed" in refused.stderr
    assert run_notebook(shell, "4", "may change").returncode == 0
    kept = [path for path in (shell.folder / "sweeps" / "fit").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"double" in path.read_bytes()]


@pytest.mark.soak
def test_one_line_without_a_file(shell):
    words = ("run", "train.py", "--search", "lr=log(1e-5,1e-2)", "--search", "nap=0")
    words += ("--metric", "loss", "--steps", "4", "--trials", "2", "--", "{lr}", "{seed}")
    refused = shell.run(*words, code=3)  # it gets a word more than it asserts, and says so
    assert "AssertionError" in refused.err
    finished = shell.run(*words[:4], "--set", "fixed.nap=0", "--name", "line", *words[6:])
    assert "line: finished" in finished.out
    again = shell.run(*words[:4], "--set", "fixed.nap=0", "--name", "line", *words[6:])
    assert "nothing to do" in again.err


WRITES_RUNS = """
import mlflow, sys

with mlflow.start_run(run_name="mine"):
    mlflow.log_param("lr", sys.argv[1])
    for step in range(3):
        mlflow.log_metric("loss", float(sys.argv[1]) + step, step=step)
        mlflow.log_metric("test/loss", 10.0 + step, step=step)
"""


@pytest.mark.soak
def test_runs_that_a_program_writes_to_mlflow_are_its_reports(shell):
    (shell.folder / "logs.py").write_text(WRITES_RUNS)
    program = f"[{sys.executable}, logs.py, '{{lr}}'], metric: loss, results: mlflow"
    text = FILE.replace("PROGRAMS", f"program: {{command: {program}}}").replace(
        "trials: 3", "trials: 2"
    )
    (shell.folder / "logged.yaml").write_text(
        text.replace("NAME", "logged").replace("nap: 0.6", "")
    )
    finish(shell.start("launch", "logged.yaml", "--json"))
    sweep = Sweep(shell, "logged")
    for number, value, params in sweep.rows("select number, value, params from trials"):
        lr = plain(params)["run.lr"]
        assert value == pytest.approx(lr), number  # the lowest, of the first step
    assert sweep.rows("select count(*) from trials where state = 'complete'") == [(2,)]
    assert [m["metrics"]["test/loss"] for _, m in sweep.events("measured")][-1] == 12.0
    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    (experiment,) = [e.experiment_id for e in client.search_experiments() if e.name == "logged"]
    runs = {run.info.run_id: run.data for run in client.search_runs([experiment])}
    mine = [run for run in runs.values() if run.tags["mlflow.runName"] == "mine"]
    parents = {runs[run.tags["mlflow.parentRunId"]].tags["sweeper.trial"] for run in mine}
    assert parents == {"0", "1"}
