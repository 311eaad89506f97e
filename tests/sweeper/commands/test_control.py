"""Asking a running sweep to end: who obeys is waited for, who does not is killed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from sweeper.commands import control
from sweeper.ledger import EventKind, Ledger
from sweeper.planning.sweep_folder import existing
from tests.support.fakes import new_ledger


@pytest.fixture
def running(here, monkeypatch):
    """A sweep that this process drives, in ./sweeps."""
    monkeypatch.setattr(control, "OBEYS_S", 0.5)
    with closing(new_ledger(here / "sweeps")) as ledger:
        yield ledger


def ends(ledger) -> list[dict]:
    return [e.payload for e in ledger.events(0) if e.kind is EventKind.SWEEP_ENDED]


@contextmanager
def driving(ledger: Ledger, rest: Callable[[], None]) -> Iterator[None]:
    """Drive the sweep in a thread: hold its ledger, start it, and do the `rest`."""
    holds = threading.Event()

    def drive() -> None:
        with ledger.hold():
            ledger.start({})
            holds.set()
            rest()

    launch = threading.Thread(target=drive)
    launch.start()
    assert holds.wait(30)
    yield
    launch.join()


@pytest.mark.slow
def test_a_driver_that_has_obeyed_is_waited_for_and_its_end_is_written_once(running, monkeypatch):
    killed: list[int] = []
    monkeypatch.setattr(control.os, "kill", lambda pid, number: killed.append(pid))
    summed_up = threading.Event()

    def obey() -> None:
        while not running.requests(0):
            time.sleep(0.02)
        running.end("interrupted", "cancelled by me")
        time.sleep(1.5)  # MLflow's runs are closed, and the launch sums up
        summed_up.set()

    with driving(running, obey):
        answer = control.cancel(existing("s"))
        assert summed_up.is_set()
    assert killed == []
    assert answer.message == "`s` was cancelled; go on with: sweeper resume s"
    assert [end["reason"] for end in ends(running)] == ["cancelled by me"]


@pytest.mark.slow
def test_a_sweep_that_finishes_before_it_can_be_cancelled_is_said_to_have_finished(running):
    def finish() -> None:
        while not running.requests(0):
            time.sleep(0.02)
        running.end("finished", "")

    with driving(running, finish):
        assert control.cancel(existing("s")).message.startswith("`s` has finished")


@pytest.mark.slow
@pytest.mark.parametrize("says_so", [False, True])
def test_a_driver_that_does_not_obey_is_killed_and_its_end_is_written(
    running, monkeypatch, says_so
):
    killed = threading.Event()
    monkeypatch.setattr(control.os, "kill", lambda pid, number: killed.set())

    def run_on() -> None:
        assert killed.wait(30)
        if says_so:  # in its last moment
            running.end("interrupted", "its own")

    with driving(running, run_on):
        control.cancel(existing("s"))
    assert [end["reason"] for end in ends(running)] == ["its own" if says_so else "cancelled"]
