"""A hundred thousand trials in one ledger: its commands stay usable.

All trials are of one study, which can have no more. Seconds are those of a core, and bytes the most
that the command's own process has at once, looked at every 50 ms. What the same command takes on
three trials is taken off: the start of Python and the imports.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.soak import imported
from tests.support.command import ROOT
from tests.support.figures import show
from trainables.runtime.memory import peak_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
TRIALS = 100_000 - imported.MORE  # the rest is yet to run
NAME = imported.NAME


@dataclass(frozen=True)
class Cost:
    """The core-seconds and the memory of a process."""

    seconds: float
    mib: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds - other.seconds, self.mib - other.mib)

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s and {self.mib:.0f} MiB"


def cost_of(folder: Path, module: str, *arguments: str) -> Cost:
    """Return the cost of a process of Python that runs a module."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    # `ru_maxrss` begins with the memory of this process, of which the other is a fork.
    most = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        most = max(most, peak_of(Path(f"/proc/{process.pid}")) or 0)
        time.sleep(0.05)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert most
    return Cost(used.ru_utime + used.ru_stime, most / 2**20)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Two folders with a sweep: of three trials, and of all."""
    small, large = (tmp_path_factory.mktemp(name) for name in ("small", "large"))
    imported.write(small / "sweeps" / NAME, 3)
    imported.write(large / "sweeps" / NAME, TRIALS)
    return small, large


@pytest.mark.parametrize(
    ("command", "seconds", "mib"),
    [
        (("status", NAME), 3, 300),
        (("ls",), 1, 100),
        (("report", NAME, "-o", "page.html"), 60, 3000),
    ],
    ids=["status", "ls", "report"],
)
def test_a_command_is_usable(folders, command, seconds, mib):
    start, whole = (cost_of(folder, "sweeper.cli.main", *command) for folder in folders)
    cost = whole - start
    show(f"`{command[0]}` of {TRIALS:,} trials", f"<= {seconds} s of a core, {mib} MiB",
         f"{cost}, and {start} for Python's start")  # fmt: skip
    assert cost.seconds <= seconds
    assert cost.mib <= mib


def test_a_resume_is_ready_within_a_minute(folders):
    """And suggests: it ends with the twenty-first suggestion."""
    costs = [
        cost_of(folder, "tests.soak.resume_imported", str(folder / "sweeps" / NAME), str(trials))
        for folder, trials in zip(folders, (3, TRIALS), strict=True)
    ]
    cost = costs[1] - costs[0]
    show(f"resume of {TRIALS:,} trials", "<= 60 s of a core, 3000 MiB", f"{cost}")
    assert cost.seconds <= 60
    assert cost.mib <= 3000
