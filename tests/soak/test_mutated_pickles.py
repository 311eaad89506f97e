"""Half an hour of mutated pickles: none breaks its reader."""

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import ROOT
from tests.support.figures import show

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECONDS = 1800
BATCH = 20_000  # pickles in a process; it takes a few seconds


def test_no_mutated_pickle_crashes_or_hangs_its_reader(tmp_path: Path) -> None:
    current, end, seed, given = tmp_path / "current", time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        words = [sys.executable, "-m", "tests.support.pickles", str(seed), str(BATCH), str(current)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
        (size,) = struct.unpack("<I", current.read_bytes()[:4])
        assert done.returncode == 0, (seed, current.read_bytes()[4 : 4 + size], done.stderr)
        seed, given = seed + 1, given + int(done.stdout)
    show("mutated pickles", "no crash", f"{seed * BATCH:,}, of which {given:,} hold a value")
