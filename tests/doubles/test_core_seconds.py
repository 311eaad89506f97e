"""Processes that `tests.support.core_seconds` has to count, each with the time that it spends."""

import json
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from tests.support.core_seconds import metered

WORK = "import time\nwhile time.process_time() < {}: pass"
BRIEF = 0.15  # core-seconds; a look each 0.2 s loses most of it
RUN = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', {!r}])"
LEAVE = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {!r}])"
IGNORE = (
    "import signal, subprocess, sys, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', {!r}])\ntime.sleep(1.5)"
)


def counts_of(code: str, tmp_path) -> dict[str, float]:
    subprocess.run([*metered(tmp_path / "cores"), sys.executable, "-c", code], check=True, cwd=ROOT)
    counts: dict[str, float] = json.loads((tmp_path / "cores").read_text())
    return counts


@pytest.mark.parametrize(
    ("how", "seconds", "share"),
    [(RUN, BRIEF, 1), (LEAVE, BRIEF, 1), (IGNORE, 0.6, 0.85)],
    ids=["awaited", "left alone", "ended unawaited"],
)
def test_a_grandchild_counts(how, seconds, share, tmp_path):
    counts = counts_of(how.format(WORK.format(seconds)), tmp_path)
    idle = counts_of(how.format("pass"), tmp_path)
    for way in counts:  # a control group as well, where one may be made
        assert counts[way] - min(idle[way], counts[way]) >= share * seconds - 0.08, way
        assert counts[way] <= idle[way] + seconds + 0.3, way


def test_a_failure_of_the_command_is_its_own(tmp_path):
    done = subprocess.run([*metered(tmp_path / "cores"), "false"], cwd=ROOT, check=False)
    assert done.returncode == 1
