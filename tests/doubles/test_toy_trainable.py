"""Toy trials: the same numbers however often they are interrupted, and every fault on demand."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.command import ROOT
from tests.support.results import report_of
from tests.support.servers.process import wait_until
from tests.support.toy.curve import values
from tests.support.toy.faults import Fault
from tests.support.toy.trainable import ToyTrainable
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT

PARAMS = {"refine.lr": 3e-4, "refine.optimizer": "sgd"}
PROCESS = """
import sys, threading, time
from pathlib import Path
from tests.support.toy.faults import BALLAST, Fault, happen

def beat():
    while True:
        with open("beats", "a") as file:
            file.write(".")
        time.sleep(0.01)

Path("beats").touch()
threading.Thread(target=beat, daemon=True).start()
happen(Fault.parse(sys.argv[1]), Path())
print(sum(map(len, BALLAST)))
"""


@pytest.fixture
def make_config(tmp_path):
    def make(*faults: str, attempt: int = 1, resume=()) -> dict:
        spec = {
            "study": "toy/task_0",
            "number": 3,
            "attempt": attempt,
            "params": PARAMS,
            "seed": 11,
            "stages": {"align": 2, "refine": 3},
            "epoch_s": 0.0,
            "checkpoint_bytes": 1000,
            "history": str(tmp_path),
            "faults": [vars(Fault.parse(fault)) for fault in faults],
        }
        config = AttemptConfig(
            spec=spec,
            label="toy 3",
            folder=str(tmp_path / f"attempt-{attempt}"),
            resume=tuple(str(path) for path in resume),
        )
        return {ATTEMPT: config}

    return make


@pytest.fixture
def suffering(tmp_path):
    """Start a process in which a fault happens, while a thread of it writes on and on."""
    processes = []

    def start(fault: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", PROCESS, fault],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        wait_until((tmp_path / "beats").exists, timeout_s=90, what="the process to begin")
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def results(actor: ToyTrainable) -> list[dict]:
    found = [actor.train()]
    while not found[-1]["done"]:
        found.append(actor.train())
    return found


def test_an_undisturbed_trial_follows_the_curve(make_config):
    reports = [report_of(result) for result in results(ToyTrainable(make_config()))]
    assert [(r["stage"], r["epoch"]) for r in reports] == [
        ("align", 1), ("align", 2), ("refine", 1), ("refine", 2), ("refine", 3),
    ]  # fmt: skip
    expected = values(PARAMS, 11, 5)
    assert [r["objective"] for r in reports] == [None, None, *expected[2:]]
    assert [r["is_final"] for r in reports] == [False] * 4 + [True]


def test_it_goes_on_from_the_newest_whole_checkpoint(make_config):
    expected = [report_of(result) for result in results(ToyTrainable(make_config()))]
    cut = ToyTrainable(make_config(attempt=2))
    older, newest = (Path(cut.train()["measurement"]["checkpoint"]) for _ in range(2))
    (newest / "last.safetensors").write_bytes(b"")
    again = results(ToyTrainable(make_config(attempt=3, resume=[newest, older])))
    assert [report_of(result) for result in again] == expected[1:]


def test_an_actor_is_reused_and_saves_and_restores_as_tune_asks(make_config, tmp_path):
    expected = [report_of(result) for result in results(ToyTrainable(make_config()))]
    actor = ToyTrainable(make_config("*@1:refuse"))
    assert actor.train()["done"]
    assert actor.reset(make_config(attempt=2))
    actor.train()
    (tmp_path / "saved").mkdir()
    actor.save_checkpoint(str(tmp_path / "saved"))
    other = ToyTrainable(make_config(attempt=3))
    other.load_checkpoint(str(tmp_path / "saved"))
    assert [report_of(result) for result in results(other)] == expected[1:]


@pytest.mark.parametrize(("fault", "recurs"), [("3@2:raise", False), ("3@2:raise!", True)])
def test_a_fault_happens_once_or_always(make_config, fault, recurs):
    for attempt in (1, 2):
        actor = ToyTrainable(make_config(fault, attempt=attempt))
        actor.train()
        result = actor.train()
        assert (result["kind"] == "failed") is (attempt == 1 or recurs)
        assert result.get("error", "RuntimeError") == "RuntimeError"


def test_other_trials_are_spared(make_config):
    assert ToyTrainable(make_config("4@1:raise!")).train()["kind"] == "measured"


def test_faults_by_result(make_config):
    refused = ToyTrainable(make_config("3@1:refuse")).train()
    assert (refused["error"], refused["stage"], refused["epoch"]) == ("NonFiniteLoss", "align", 1)
    assert "CUDA out of memory" in ToyTrainable(make_config("3@1:oom")).train()["traceback"]
    actor = ToyTrainable(make_config("*@3:nan"))
    objectives = [report_of(result)["objective"] for result in results(actor)]
    assert math.isnan(objectives[2])
    assert objectives[3] == values(PARAMS, 11, 5)[3]


@pytest.mark.parametrize("text", ["", "3@2", "3@2:dance", "@2:kill", "3@x:kill", "3@2:kill=x"])
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match="not a fault"):
        Fault.parse(text)


def test_kill_ends_the_process(suffering):
    assert suffering("*@1:kill").wait(60) == -signal.SIGKILL


def test_stop_stops_it(suffering):
    process = psutil.Process(suffering("*@1:stop").pid)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, timeout_s=60, what="a stop")


@pytest.mark.parametrize(("kind", "beats"), [("hang", True), ("spin", False)])
def test_hang_leaves_other_threads_running_and_spin_does_not(suffering, tmp_path, kind, beats):
    process = suffering(f"*@1:{kind}")
    time.sleep(0.3)
    before = (tmp_path / "beats").stat().st_size
    time.sleep(0.3)
    assert ((tmp_path / "beats").stat().st_size > before) is beats
    assert process.poll() is None


def test_memory_is_held_and_disk_is_written(suffering, tmp_path):
    out, _ = suffering("*@1:memory=50").communicate(timeout=60)
    assert int(out) == 50 * 2**20
    suffering("*@1:disk=3").wait(60)
    assert (tmp_path / "ballast").stat().st_size == 3 * 2**20
