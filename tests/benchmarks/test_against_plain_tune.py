"""The same toy trials through the service, and through plain Ray Tune with Optuna and MLflow.

Plain Tune runs as its manual shows it, with a new process for each trial, and with `reuse_actors`;
it keeps no ledger and judges nothing. All three join the Ray that runs already, on two slots, and
take turns, so that what else the machine does slows all of them alike.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from tests.support.command import ROOT
from tests.support.figures import compare
from tests.support.servers.process import Process
from tests.support.toy import history
from tests.support.toy import sweep as toy_sweep

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]
TRIALS, EPOCHS, EPOCH_S, SLOTS, ROUNDS = 24, 4, 0.05, 2, 3
SAME = ("--trials", str(TRIALS), "--epochs", str(EPOCHS), "--epoch-s", str(EPOCH_S))


@dataclass(frozen=True)
class Times:
    """The times of one run, in seconds."""

    first_report: float  # since its process was started
    overhead: float  # of a trial, beyond its epochs

    @classmethod
    def of(cls, folder: Path, began: float) -> "Times":
        lines = history.read(folder)
        epochs = [line.time for line in lines if line.event == "epoch"]
        assert len(epochs) == TRIALS * EPOCHS
        first = min(line.time for line in lines if line.event == "started")
        return cls(epochs[0] - began, SLOTS * (epochs[-1] - first) / TRIALS - EPOCHS * EPOCH_S)


@pytest.fixture
def run(tmp_path, ray_head, new_store):
    def run(name: str, start: Callable[..., Process], *options: str) -> Times:
        folder = tmp_path / name
        joined = ("--address", ray_head.address, "--tracking", new_store())
        began = time.time()
        process = start(folder, *SAME, *joined, *options, environment=ray_head.environment)
        try:
            assert process.wait(300) == 0, process.tail()
        finally:
            process.kill()
        return Times.of(folder, began)

    return run


def plain(folder: Path, *options: str, environment: dict[str, str]) -> Process:
    """Start plain Tune."""
    command = [sys.executable, "-m", "tests.benchmarks.plain_tune", str(folder), *options]
    folder.mkdir()
    return Process(
        command,
        log=folder / "driver.log",
        environment={"PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
    )


def test_less_than_half_of_what_the_manual_shows_and_as_little_as_reused_actors(run):
    found: dict[str, list[Times]] = {"ours": [], "manual": [], "reuse": []}
    for number in range(ROUNDS):
        ours = ("--pruning", "none", "--concurrent", str(SLOTS))
        found["ours"].append(run(f"ours{number}", toy_sweep.start, *ours))
        found["manual"].append(run(f"manual{number}", plain))
        found["reuse"].append(run(f"reuse{number}", plain, "--reuse-actors"))
    first = {name: median(t.first_report for t in times) for name, times in found.items()}
    over = {name: median(t.overhead for t in times) for name, times in found.items()}
    for name, most in (("manual", 0.5), ("reuse", 1.1)):
        peer, held = f"plain Tune, {name}", f"<= {most}"
        compare("to the first report", first["ours"], first[name], peer=peer, unit="s", goal=held)
        overhead = compare("overhead of a trial", 1e3 * over["ours"], 1e3 * over[name],
                           peer=peer, unit="ms by the wall", goal=held)  # fmt: skip
        assert overhead <= most
