"""Trials train as fast while MLflow takes requests and answers none as while it works."""

import time
from statistics import median

import pytest

from tests.support.figures import compare
from tests.support.servers.mlflow_server import mlflow_server
from tests.support.servers.process import wait_until
from tests.support.servers.proxy import fault_proxy
from tests.support.toy import history
from tests.support.toy import sweep as toy_sweep

pytestmark = pytest.mark.benchmark
WINDOW_S, ROUNDS, SETTLE_S = 15.0, 3, 2.0


def test_an_outage_costs_no_throughput(tmp_path, ray_head):
    folder, windows = tmp_path / "toy", {"pass": [], "black_hole": []}
    with mlflow_server(tmp_path) as server, fault_proxy(server.port) as proxy:
        sweep = toy_sweep.start(
            folder, "--trials", "2", "--epochs", "100000", "--epoch-s", "0.2", "--pruning", "none",
            "--tracking", f"http://127.0.0.1:{proxy.port}", "--address", ray_head.address,
            environment=ray_head.environment,
        )  # fmt: skip
        try:
            numbers = set()
            wait_until(
                lambda: numbers.update(x.number for x in history.read(folder)) or len(numbers) == 2,
                timeout_s=90,
                what="both trials to train",
            )
            for _ in range(ROUNDS):
                for mode, times in windows.items():
                    proxy.set(mode)
                    time.sleep(SETTLE_S)
                    times.append(time.time())
                    time.sleep(WINDOW_S)
            assert sweep.is_alive, sweep.tail()
        finally:
            sweep.kill()
    epochs = [line.time for line in history.read(folder) if line.event == "epoch"]
    rates = {
        mode: median(sum(at < time < at + WINDOW_S for time in epochs) / WINDOW_S for at in times)
        for mode, times in windows.items()
    }
    away, there = rates["black_hole"], rates["pass"]
    what, peer = "training while MLflow is away", "while it answers"
    ratio = compare(what, away, there, peer=peer, unit="epochs/s", goal="> 0.95")
    assert ratio > 0.95
