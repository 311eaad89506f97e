"""Sweeps that a Python program launches, interrupts and continues."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from mlflow import MlflowClient

import sweeper
from sweeper.errors import NotFound, SweepIsHeld, UsageError
from tests.support.command import ROOT, STARTED, Shell
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import EPOCHS, TRIALS, Sweep, finish, wait_for_epochs

PROGRAM = """
import signal, sys
import sweeper

handler = signal.getsignal(signal.SIGINT)
try:
    sweep = {call}
except sweeper.SweeperError as error:
    print(type(error).__name__, error)
    sweep = sweeper.open("small")
assert signal.getsignal(signal.SIGINT) is handler
assert not {{"ray", "torch", "mlflow"}} & set(sys.modules)
print(sweep.status().state, len(sweep.trials()))
"""


def start(small: Sweep, call: str) -> "subprocess.Popen[str]":
    """Start a Python program that calls the API."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(call=call)],
        cwd=small.shell.folder,
        env={**small.shell.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


@pytest.fixture
def small(tmp_path, ray_head, data_home, monkeypatch):
    for name, value in {**ray_head.environment, "SWEEPER_HOME": str(data_home)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield Sweep(Shell(tmp_path, dict(os.environ)), "small")
    with suppress(NotFound):
        sweeper.open("small").cancel()


@pytest.fixture
def held(small):
    """The same sweep, of a program whose first trial waits."""
    sweep = HeldSweep(small.shell, small.name)
    sweep.hold()
    return sweep


def test_a_program_is_interrupted_and_another_continues(small, ray_head):
    file, address = small.file(), ray_head.address
    program = start(small, f"sweeper.launch({str(file)!r}, address={address!r})")
    wait_for_epochs(small, 2)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    assert "Interrupted sweep `small` was interrupted; go on with" in out
    assert "interrupted" in out.splitlines()[-1]
    done = [n for n, state in small.rows("select number, state from trials") if state == "complete"]
    assert len(done) < TRIALS

    sweep = sweeper.open("small").resume(address=address)
    assert sweep.state == "finished"
    trials = sweep.trials()
    assert trials["state"].tolist() == ["complete"] * TRIALS
    curves = sweep.curves()
    objective = curves[curves["metric"] == "val/nrmse"]
    assert len(objective) == TRIALS * EPOCHS
    assert sweep.best().value == trials["value"].min()

    check_models(sweep)


@pytest.mark.soak
def test_a_sweep_grows_and_a_trial_is_repeated(small):
    sweep = sweeper.launch(small.file())
    values = sweep.trials()["value"].tolist()
    assert len(sweep.extend(trials=TRIALS + 1).trials()) == TRIALS + 1
    again = sweep.rerun(0)
    assert (again.kind, again.value) == ("rerun", values[0])


def check_models(sweep: sweeper.Sweep) -> None:
    """Check that the best model is the same from its handle, its folder and its run in MLflow."""
    best = sweep.best()
    model = best.load_model()
    x = np.random.default_rng(0).normal(size=(3, *model.task.input_shape)).astype("float32")
    predicted = model.predict(x)
    assert len(predicted) == 3
    client = MlflowClient(f"sqlite:///{sweep.folder.parents[1] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    tags = f"tags.`sweeper.trial` = '{best.number}'"
    (found,) = client.search_runs([experiment.experiment_id], tags)
    run = found.info.run_id
    for place in (best.checkpoint, f"runs:/{run}", f"runs:/{run}/checkpoints"):
        np.testing.assert_array_equal(sweeper.load_model(place).predict(x), predicted)
    for place, error in (("runs:/0123", NotFound), ("none", UsageError), (".", UsageError)):
        with pytest.raises(error):
            sweeper.load_model(place)


@pytest.mark.soak
def test_a_sweep_ends_with_its_program(held):
    file = held.file()
    program = start(held, f"sweeper.launch({str(file)!r})")
    wait_for_epochs(held, 1)
    program.kill()
    program.communicate(timeout=60)
    sweep = sweeper.open("small")
    assert sweep.wait(timeout_s=60)
    assert sweep.state == "interrupted"


def test_a_detached_sweep_outlives_its_program_and_stops_when_told(held, ray_head):
    more = f"trials=50, detach=True, address={ray_head.address!r}"
    program = start(held, f"sweeper.launch({str(held.file())!r}, {more})")
    finish(program)
    sweep = sweeper.open("small")
    wait_for_epochs(held, 1)
    assert sweep.state == "running"
    assert not sweep.wait(timeout_s=0.1)
    with pytest.raises(SweepIsHeld):
        sweep.resume()
    assert sweep.stop().was_running
    held.release()
    assert sweep.wait(timeout_s=120)
    assert sweep.state == "stopped"
    assert len(sweep.trials()) < 50
