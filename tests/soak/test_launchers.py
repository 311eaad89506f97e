"""Twenty users launch one sweep at once: one drives it, the others are told who does."""

import signal
import time
from collections import Counter

import pytest

from tests.support.command import Shell
from tests.support.figures import show
from tests.support.small_sweep import Sweep

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
LAUNCHERS, ROUNDS = 20, 2  # rounds without processes are in tests/sweeper/ledger/test_lease.py
IS_RUNNING = 4  # the exit code


def test_one_of_twenty_launchers_wins(tmp_path, data_home, new_store):
    environment = {"SWEEPER_HOME": str(data_home), "MLFLOW_TRACKING_URI": new_store()}
    shell, slowest = Shell(tmp_path, environment), 0.0
    for number in range(ROUNDS):
        sweep = Sweep(shell, f"contended{number}")
        sweep.file()
        began = time.monotonic()
        launches = [sweep.start() for _ in range(LAUNCHERS)]
        codes: Counter[int] = Counter()
        while len(losers := [each for each in launches if each.poll() is not None]) < LAUNCHERS - 1:
            assert time.monotonic() < began + 120, "more than one drives the sweep"
            time.sleep(0.05)
        slowest = max(slowest, time.monotonic() - began)
        (winner,) = [each for each in launches if each.poll() is None]
        winner.send_signal(signal.SIGTERM)
        winner.communicate(timeout=60)
        for loser in losers:
            _, err = loser.communicate()
            codes[loser.returncode] += 1
            assert f"pid {winner.pid}," in err or "has just been launched" in err
        assert codes == {IS_RUNNING: LAUNCHERS - 1}
    told = f"the last of the others knew after {slowest:.1f} s, the start of 20 Pythons included"
    show(f"L10 {LAUNCHERS} launchers", "1 winner a round", f"1 in each of {ROUNDS}; {told}")
