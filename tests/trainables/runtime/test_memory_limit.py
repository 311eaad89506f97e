"""A process over its limit ends at once, saying why; mapped files do not count."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.support.command import ROOT
from trainables.runtime.memory import KILLED, held_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit reads /proc")

PROGRAM = """
import sys, time
from trainables.runtime.memory import MemoryLimit, held_bytes
limit = MemoryLimit(held_bytes() + 200_000_000, lambda text: print(text, flush=True))
if sys.argv[1] == "lifted":
    limit.lift()
taken = []
for _ in range(8):
    taken.append(bytearray(b"x") * int(sys.argv[2]))
    time.sleep(0.3)
print("lived")
"""


def run(how: str, taken: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, how, str(taken)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_a_process_that_takes_too_much_ends_at_once_and_says_so():
    done = run("watched", 60_000_000)
    assert done.returncode == KILLED
    said = re.fullmatch(r"HostOutOfMemory: ([\d.]+) GiB held, limit ([\d.]+) GiB\n", done.stdout)
    assert said is not None
    assert float(said[1]) > float(said[2])


@pytest.mark.slow
@pytest.mark.parametrize(("how", "taken"), [("watched", 20_000_000), ("lifted", 60_000_000)])
def test_one_that_takes_less_or_has_no_limit_lives(how, taken):
    done = run(how, taken)
    assert (done.returncode, done.stdout) == (0, "lived\n")


def test_a_mapped_file_does_not_count_and_memory_does(tmp_path):
    size = 100_000_000
    np.zeros(size, dtype=np.uint8).tofile(tmp_path / "data")
    before = held_bytes()
    mapped = np.memmap(tmp_path / "data", dtype=np.uint8, mode="r")
    assert mapped.sum() == 0
    assert held_bytes() - before < size / 4
    taken = np.ones(size, dtype=np.uint8)
    assert held_bytes() - before > size * 3 / 4
    assert taken.all()
