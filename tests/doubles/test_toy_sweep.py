"""A toy sweep whose driver is killed in the middle goes on, and all three accounts agree."""

from sweeper.model import TrialState
from tests.support.servers.process import wait_until
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import mlflow_violations, read, violations

PLANNED = {"toy/task_0": 5, "toy/task_1": 5}
OPTIONS = ("--studies", "2", "--trials", "5", "--epochs", "4", "--epoch-s", "0.1",
           "--fault", "3@2:kill", "--fault", "0@2:refuse!")  # fmt: skip


def test_a_killed_driver_is_started_again(tmp_path, ray_head, new_store):
    folder, uri = tmp_path / "toy", new_store()
    options = (*OPTIONS, "--tracking", uri, "--address", ray_head.address)
    first = toy_sweep.start(folder, *options, environment=ray_head.environment)
    try:
        wait_until(lambda: len(read(folder)) > 8, timeout_s=120, what="two trials to be under way")
        first.kill_leader()
    finally:
        first.kill()
    second = toy_sweep.start(folder, *options, environment=ray_head.environment)
    try:
        assert second.wait(240) == 0, second.tail()
    finally:
        second.kill()
    ledger = toy_sweep.open_ledger(folder)
    assert violations(folder, ledger, planned=PLANNED, faults=2) == []
    assert mlflow_violations(ledger, uri, "toy") == []
    presets = [t for t in ledger.trials() if t.number == 0]
    assert [(t.state, t.failure) for t in presets] == [(TrialState.FAILED, "non_finite")] * 2
    assert len({line.pid for line in read(folder)}) > 1
