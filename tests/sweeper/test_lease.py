"""One driver a sweep."""

import os
import signal
import subprocess
import sys

import pytest

from sweeper import lease
from sweeper.errors import SweepIsHeld

HOLD = """
import sys, time
from pathlib import Path
from sweeper import lease
with lease.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_refused_and_a_dead_one_is_replaced_at_once(tmp_path):
    folder = tmp_path / "mine"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert lease.is_held(folder)
        refused = pytest.raises(SweepIsHeld, match=rf"sweep `mine` is running .*pid {holder.pid}")
        with refused, lease.hold(folder):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with lease.hold(folder):
        assert lease.is_held(folder)
    assert not lease.is_held(folder)
