"""What becomes of a driver that dies, that cannot start Ray, and of the signals that come."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweeper.console import stderr
from sweeper.driver import supervisor
from sweeper.driver.messages import DriverJob, Ended, RayNotStarted
from sweeper.driver.supervisor import LEASE
from sweeper.errors import BackendUnreachable, SweeperError, exit_code_of
from sweeper.ledger import Ledger
from sweeper.ledger.lease import Lease
from sweeper.planning import child, resuming
from sweeper.planning.catalog import catalog
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID

JOB = DriverJob(folder="", storage=None, address="local", owner="me", requests_after=0)
BEGINS = "import json, os, signal, sys, time\njob = json.load(sys.stdin)\n"
STARTS, UP = "print('{\"starts_ray\": true}', flush=True)\n", "print('{\"starts_ray\": false}')\n"
ABORTS = "sys.stdout.flush(); os.abort()\n"
ENDS = 'print(\'{"signal": null, "why": null}\')\n'


@pytest.fixture
def supervise(tmp_path, monkeypatch) -> Iterator[Callable[[], Any]]:
    monkeypatch.setattr(supervisor, "PAUSES_S", (0.0, 0.0))
    with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.hold() as lease:
        yield lambda: supervisor.supervise(JOB, ledger, lease, stderr())


def drivers(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> list[str]:
    """Have drivers run these programs, one after the other; return those that are left."""
    left = list(scripts)

    def command(module: str, *arguments: str) -> list[str]:
        assert module == "sweeper.driver"
        return [sys.executable, "-S", "-c", BEGINS + left.pop(0)]

    monkeypatch.setattr(child, "command", command)
    return left


def test_a_ray_that_does_not_start_is_no_death_and_is_started_again(supervise, monkeypatch, capsys):
    busy = 'print(\'{"not_started": "its raylet was not up within 120 s"}\')\n'
    left = drivers(monkeypatch, STARTS + ABORTS, busy, STARTS + UP + ENDS)
    assert supervise() == Ended()
    assert left == []
    told = "Ray has not started on this machine: {}; trying again in 0 s."
    assert capsys.readouterr().err.splitlines() == [
        told.format("its driver died (signal 6)"),
        told.format("its raylet was not up within 120 s"),
    ]


def test_what_a_driver_without_ray_has_prepared_reaches_all_that_follow(supervise, monkeypatch):
    made = {"nft/pdebench/advection_1d": {"title": "Advection"}}
    found = f"print(json.dumps({{'not_started': 'busy', 'facts': {made}}}))\n"
    checks = f"assert job['facts'] == {made}, job\n"
    left = drivers(monkeypatch, f"assert job['facts'] is None\n{found}",
                   checks + STARTS + ABORTS, checks + ENDS)  # fmt: skip
    assert supervise() == Ended()
    assert left == []


def test_a_ray_that_never_starts_is_a_backend_that_does_not_answer(supervise, monkeypatch, capsys):
    left = drivers(monkeypatch, *[STARTS + ABORTS] * 4)
    with pytest.raises(BackendUnreachable, match=r"in 3 attempts; .*\(signal 6\)") as ended:
        supervise()
    assert ended.value.exit_code == 5
    assert str(ended.value).endswith("Once there is more, launch again.")  # nothing of it is kept
    assert len(left) == 1
    assert "the driver died" not in capsys.readouterr().err


def test_a_sweep_that_has_begun_is_resumed_once_ray_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "PAUSES_S", ())
    drivers(monkeypatch, STARTS + ABORTS)
    with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.hold() as lease:
        resuming.match(ledger, loads_sweep(VALID, catalog(), name=ledger.name), VALID)
        ledger.start({})
        with pytest.raises(BackendUnreachable, match=f"go on with: sweeper resume {ledger.name}$"):
            supervisor.supervise(JOB, ledger, lease, stderr())


def test_pauses_get_longer_and_a_signal_ends_one(tmp_path, monkeypatch, capsys):
    assert list(supervisor.PAUSES_S) == sorted(set(supervisor.PAUSES_S))
    monkeypatch.setattr(supervisor, "PAUSES_S", (600.0,))
    outcomes: list[int] = []

    def drive(job: DriverJob, lease: Lease, signals: Any) -> RayNotStarted:
        outcomes.append(1)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        return RayNotStarted("busy")

    monkeypatch.setattr(supervisor, "drive", drive)
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGHUP))
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        began = time.monotonic()
        with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.hold() as lease:
            outcome = supervisor.supervise(JOB, ledger, lease, stderr())
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGHUP, hang_up)
    assert time.monotonic() - began < 20
    assert (outcome.signal, outcomes) == (signal.SIGHUP, [1])


@pytest.mark.parametrize("script", [ABORTS, STARTS + UP + ABORTS], ids=["before", "afterwards"])
def test_a_driver_that_dies_when_ray_does_not_start_has_died(supervise, monkeypatch, script):
    drivers(monkeypatch, *[script] * 9)
    with pytest.raises(SweeperError, match=r"the driver died 4 times .*signal 6") as ended:
        supervise()
    assert ended.value.exit_code == 1


def test_a_hang_up_counts_as_sigterm_and_is_handed_on(supervise, monkeypatch):
    waits = "signal.signal(signal.SIGHUP, lambda *_: None)\nos.kill(os.getppid(), signal.SIGHUP)\n"
    drivers(monkeypatch, waits + 'signal.pause()\nprint(\'{"why": "ended"}\')\n')
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        assert supervise() == Ended(signal=signal.SIGHUP, why="ended")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert exit_code_of(signal.SIGHUP) == exit_code_of(signal.SIGTERM) == 143
    assert exit_code_of(signal.SIGINT) == 130


def test_a_hang_up_that_nohup_ignores_stays_ignored(supervise, monkeypatch):
    hangs_up = "os.kill(os.getppid(), signal.SIGHUP)\ntime.sleep(0.3)\n"
    drivers(monkeypatch, hangs_up + ENDS)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert supervise().signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


SUPERVISED = """
import sys
from sweeper.driver import supervisor
from sweeper.planning import child
from sweeper.console import stderr
from sweeper.ledger import Ledger
from tests.sweeper.driver.test_supervisor import JOB

child.command = lambda module, *arguments: [sys.executable, "-S", "-c", sys.argv[2]]
ledger = Ledger.in_folder(__import__("pathlib").Path(sys.argv[1]))
with ledger.hold() as lease:
    supervisor.supervise(JOB, ledger, lease, stderr())
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
time.sleep(60)
"""


@pytest.mark.slow
def test_ctrl_z_stops_all_of_a_sweep_and_fg_continues_all(tmp_path):
    environment = child.environment()
    with psutil.Popen(
        [sys.executable, "-c", SUPERVISED, str(tmp_path), PARENT], env=environment
    ) as launch:

        def below() -> list[psutil.Process]:
            found = launch.children(recursive=True)
            return [p for p in found if LEASE in p.environ()]

        def states() -> set[str]:
            return {process.status() for process in (launch, *processes)}

        try:
            wait(lambda: len(below()) == 2)
            processes = below()
            launch.send_signal(signal.SIGTSTP)
            wait(lambda: states() == {psutil.STATUS_STOPPED})
            launch.send_signal(signal.SIGCONT)
            wait(lambda: psutil.STATUS_STOPPED not in states())
        finally:
            for process in (*below(), launch):
                process.kill()


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_children_import_what_we_do_and_nothing_from_the_current_folder(here, monkeypatch):
    (here / "json.py").write_text("raise SystemExit('imported from the folder')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep + "/nowhere")
    paths = child.environment(A="b")["PYTHONPATH"].split(os.pathsep)
    assert paths == [str(child.ROOT), "/nowhere"]
    assert Path(paths[0], "sweeper", "__init__.py").is_file()
    assert child.command("x") == [sys.executable, "-P", "-m", "x"]
