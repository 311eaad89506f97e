"""Asking a running sweep to end: who obeys is waited for, who does not is killed."""

import threading
import time
from contextlib import closing

import pytest

from sweeper.commands import control
from sweeper.ledger import EventKind
from tests.support.fakes import new_ledger


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A sweep that this process drives, in ./sweeps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(control, "OBEYS_S", 0.5)
    with closing(new_ledger(tmp_path / "sweeps")) as ledger:
        yield ledger


def ends(ledger) -> list[dict]:
    return [e.payload for e in ledger.events(0) if e.kind is EventKind.SWEEP_ENDED]


@pytest.mark.slow
def test_a_driver_that_has_obeyed_is_waited_for_and_its_end_is_written_once(running, monkeypatch):
    killed: list[int] = []
    monkeypatch.setattr(control.os, "kill", lambda pid, number: killed.append(pid))
    summed_up = threading.Event()

    def obey() -> None:
        with running.hold():
            running.start({})
            holds.set()
            while not running.requests(0):
                time.sleep(0.02)
            running.end("interrupted", "cancelled by me")
            time.sleep(1.5)  # MLflow's runs are closed, and the launch sums up
            summed_up.set()

    holds = threading.Event()
    launch = threading.Thread(target=obey)
    launch.start()
    assert holds.wait(30)
    answer = control.cancel("s")
    assert summed_up.is_set()
    launch.join()
    assert killed == []
    assert answer.message == "`s` was cancelled; go on with: sweeper resume s"
    assert [end["reason"] for end in ends(running)] == ["cancelled by me"]


@pytest.mark.slow
@pytest.mark.parametrize("says_so", [False, True])
def test_a_driver_that_does_not_obey_is_killed_and_its_end_is_written(
    running, monkeypatch, says_so
):
    killed, holds = threading.Event(), threading.Event()
    monkeypatch.setattr(control.os, "kill", lambda pid, number: killed.set())

    def run_on() -> None:
        with running.hold():
            running.start({})
            holds.set()
            assert killed.wait(30)
            if says_so:  # in its last moment
                running.end("interrupted", "its own")

    launch = threading.Thread(target=run_on)
    launch.start()
    assert holds.wait(30)
    control.cancel("s")
    launch.join()
    assert [end["reason"] for end in ends(running)] == ["its own" if says_so else "cancelled"]
