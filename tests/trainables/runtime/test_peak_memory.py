"""Peak memory: what was held counts though it is gone, and is forgotten for the next trial."""

import subprocess
import sys

import numpy as np
import pytest

from trainables.runtime import memory
from trainables.runtime.memory import count_anew, peak_bytes

LARGE = 2**27  # bytes
# In a process of its own: in that of the tests, the collection of an earlier test's garbage would
# make room for what is held here.
PEAKS = f"""
import numpy as np
from trainables.runtime.memory import count_anew, peak_bytes

count_anew(False)
print(peak_bytes(False))
np.ones({LARGE} // 8).sum()
print(peak_bytes(False))
count_anew(False)
print(peak_bytes(False))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process forgets its peak on Linux alone")
def test_what_was_held_counts_until_the_next_trial_begins():
    printed = subprocess.run([sys.executable, "-c", PEAKS], stdout=subprocess.PIPE, check=True)
    before, held, after = map(int, printed.stdout.split())
    assert held > before + 0.8 * LARGE
    assert after < before + 0.5 * LARGE


def test_without_linux_the_process_tells_what_it_ever_held(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nowhere")
    count_anew(False)
    np.ones(LARGE // 8).sum()
    assert LARGE < peak_bytes(False) < 2**40
