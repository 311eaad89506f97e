"""A driver's writes take as long in a ledger of ten thousand trials as in one of a hundred.

A trial of five epochs is seven transactions. SQLite in the sweep's folder, as by default; the
ledgers take turns, so that what else the machine does slows all of them alike.
"""

from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import pytest

from sweeper.ledger import Ledger
from tests.soak import imported
from tests.support.figures import show

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
SIZES = (100, 1_000, 10_000)
TIMED = 150  # trials that each gets more


def test_events_per_second_are_flat(tmp_path):
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    with ExitStack() as stack:
        ledgers, plans = {}, {}
        for size in SIZES:
            folder = Path(tmp_path, str(size), imported.NAME)
            imported.write(folder, size)
            ledgers[size] = stack.enter_context(closing(Ledger.in_folder(folder)))
            plans[size] = imported.plan_of(imported.read_sweep(size, "random"), ledgers[size])
        before = ledgers[SIZES[0]].count_events()
        for more in range(TIMED):
            for size, ledger in ledgers.items():
                seconds[size] += imported.write_trials(ledger, plans[size], [size + more], tmp_path)
        events = (ledgers[SIZES[0]].count_events() - before) / TIMED
    rates = [events / median(found) for found in seconds.values()]
    show("events a second at 100, 1,000 and 10,000 trials", "flat within 2 x",
         ", ".join(f"{rate:.0f}" for rate in rates))  # fmt: skip
    show("L4 writes of a trial", "#10,000 <= 1.5 x #100",
         f"{median(seconds[100]) * 1e3:.1f} ms, then {rates[0] / rates[-1]:.2f} x")  # fmt: skip
    assert max(rates) < 2 * min(rates)
    assert rates[0] < 1.5 * rates[-1]
