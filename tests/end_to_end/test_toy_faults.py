"""Every way in which a trial goes wrong, in one sweep whose ledger is locked for a while too.

What becomes of each is the default of `failures.actions`; no other trial is touched.
"""

import sqlite3
import time
from collections import defaultdict
from contextlib import closing

import pytest

from sweeper.ledger import EventKind
from sweeper.model import TrialState
from tests.support.servers.process import wait_until
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import events, mlflow_violations, read, violations

pytestmark = [pytest.mark.timeout(700)]
LOCKED_S = 15.0
FAULTS = {  # by the trial that it befalls: the fault, its class, what becomes of the trial
    0: ("raise", "crash", TrialState.COMPLETE),
    1: ("refuse", "non_finite", TrialState.FAILED),
    2: ("nan", "non_finite", TrialState.FAILED),
    3: ("oom", "cuda_oom", TrialState.COMPLETE),
    4: ("kill", "crash", TrialState.COMPLETE),
    5: ("hang", "timeout", TrialState.COMPLETE),
    6: ("spin", "timeout", TrialState.COMPLETE),
    7: ("stop", "timeout", TrialState.COMPLETE),
    8: ("memory=2000", "host_oom", TrialState.COMPLETE),
    9: ("raise!", "crash", TrialState.FAILED),
    10: ("cgroup", "host_oom", TrialState.COMPLETE),
}
TRIALS = len(FAULTS) + 2


def lock(ledger_file, seconds: float) -> None:
    with closing(sqlite3.connect(ledger_file, timeout=30, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        time.sleep(seconds)
        connection.execute("rollback")


def test_each_failure_has_its_class_and_what_follows_from_it(tmp_path, ray_head, new_store):
    folder, uri = tmp_path / "toy", new_store()
    options = ["--trials", str(TRIALS), "--epoch-s", "0.1", "--pruning", "none"]
    options += ["--silence", "25", "--memory-mib", "900", "--tracking", uri]
    for number, (fault, *_) in FAULTS.items():
        options += ["--fault", f"{number}@2:{fault}"]
    driver = toy_sweep.start(
        folder, *options, "--address", ray_head.address, environment=ray_head.environment
    )
    try:
        wait_until(lambda: len(read(folder)) > 6, timeout_s=180, what="trials to be under way")
        lock(folder / "ledger.db", LOCKED_S)
        assert driver.wait(400) == 0, driver.tail()
    finally:
        driver.kill()
    ledger = toy_sweep.open_ledger(folder)
    assert violations(folder, ledger, planned={"toy/task_0": TRIALS}, faults=3) == []
    assert mlflow_violations(ledger, uri, "toy") == []
    failures = defaultdict(set)
    for event in events(ledger):
        if event.kind is EventKind.ATTEMPT_ENDED and event.payload["failure"]:
            failures[event.number].add(event.payload["failure"])
    assert dict(failures) == {number: {kind} for number, (_, kind, _) in FAULTS.items()}
    states = {trial.number: trial.state for trial in ledger.trials()}
    assert states == dict.fromkeys(range(TRIALS), TrialState.COMPLETE) | {
        number: state for number, (_, _, state) in FAULTS.items()
    }
    halved = {trial.number for trial in ledger.trials() if trial.halvings}
    assert halved == {3, 8, 10}
    attempts = {trial.number: trial.attempt for trial in ledger.trials()}
    assert attempts == dict.fromkeys(range(TRIALS), 2) | {1: 1, 2: 1, 9: 2, 11: 1, 12: 1}


@pytest.mark.soak
def test_a_trial_that_hangs_while_it_is_set_up_is_ended_and_tried_again(
    tmp_path, ray_head, new_store
):
    """In an actor that starts for it, and in one that had a trial before."""
    folder = tmp_path / "toy"
    options = ["--trials", "3", "--concurrent", "1", "--epochs", "2", "--silence", "15"]
    options += ["--fault", "0@0:hang", "--fault", "2@0:hang", "--tracking", new_store()]
    driver = toy_sweep.start(
        folder, *options, "--address", ray_head.address, environment=ray_head.environment
    )
    try:
        assert driver.wait(300) == 0, driver.tail()
    finally:
        driver.kill()
    ledger = toy_sweep.open_ledger(folder)
    ended = [
        e for e in events(ledger) if e.kind is EventKind.ATTEMPT_ENDED and e.payload["failure"]
    ]
    assert [(e.number, e.payload["failure"]) for e in ended] == [(0, "timeout"), (2, "timeout")]
    reason = "silent for 15 s while it started (failures.silence): it was ended."
    assert {e.payload["reason"] for e in ended} == {reason}
    assert {trial.state for trial in ledger.trials()} == {TrialState.COMPLETE}
    assert "no node has had room" not in driver.tail()
