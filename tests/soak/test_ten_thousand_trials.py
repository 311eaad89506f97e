"""Ten thousand trials in one ledger: resume, status, answers and suggestions stay quick.

Writes are measured in tests/benchmarks/test_ledger_rate.py. Seconds are those of a core: what a
machine takes by the wall that does little else, and a busy one as well.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.soak import imported
from tests.soak.resume_imported import ASKED
from tests.support.command import ROOT, Shell
from tests.support.figures import show
from tests.support.servers.proxy import fault_proxy

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
TRIALS = 10_000
MIB = 2**20
NAME = imported.NAME


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    return Shell(tmp_path_factory.mktemp("imported"), {})


@pytest.fixture(scope="module")
def folder(shell) -> Path:
    folder = shell.folder / "sweeps" / NAME
    imported.write(folder, TRIALS)
    return folder


def test_the_ledger_is_small(folder):
    """Five epochs a trial of 29 parameters, seven of them sampled; 50 MB holds for those of ten."""
    size = sum(file.stat().st_size for file in folder.glob("ledger.db*")) / 1e6
    show("L4 ledger", "<= 50 MB", f"{size:.1f} MB, {size / TRIALS * 1e3:.1f} KB a trial")
    assert size < 60


def test_status_and_best_answer_within_a_second(shell, folder, tmp_path):
    """And neither asks MLflow anything, of which the port here would know.

    The start of Python and the commands' imports are taken off: what they take on three trials.
    """
    small = Shell(tmp_path, {})
    imported.write(tmp_path / "sweeps" / NAME, 3)
    with fault_proxy(target=1) as nobody:
        asking = Shell(shell.folder, {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{nobody.port}"})
        for load, command in {
            "L4 `status`": ("status", NAME),
            "L8 `best --top 10`": ("best", NAME, "--top", "10"),
        }.items():
            took, start = core_seconds(asking, *command), core_seconds(small, *command)
            show(load, "<= 1 s", f"{took - start:.2f} s, and {start:.2f} s for Python's start")
            assert took - start < 1
        found = asking.run("best", NAME, "--top", "10", "--json").json
        values = [trial["value"] for trial in found["studies"][0]["best"]]
        assert len(values) == 10
        assert values == sorted(values)
        exported = asking.run("export", NAME).out
        assert exported.count("\n") == TRIALS + 1
        assert nobody.num_connections == 0


def core_seconds(shell: Shell, *command: str) -> float:
    """Return what a core spent on the cheapest of three runs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shell.run(*command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(3))


def test_a_resume_suggests_soon_and_then_fast_in_little_memory(folder):
    command = [sys.executable, "-m", "tests.soak.resume_imported", str(folder), str(TRIALS)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    p95 = np.percentile(found["asks_s"], 95)
    grown = (found["rss"] - found["imports"]) / MIB
    show("L4 resume", "first suggestion <= 20 s", f"{found['first_s']:.1f} s")
    show(f"L4 ask ({ASKED} times)", "p95 <= 250 ms", f"{p95 * 1e3:.0f} ms")
    show("L4 memory", "<= 600 MB", f"{found['rss'] / MIB:.0f} MiB, of which {grown:.0f} are the "
         "trials', the rest the driver's imports")  # fmt: skip
    assert found["first_s"] < 20
    assert p95 < 0.25
    assert grown < 600
