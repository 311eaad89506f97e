"""A driver's writes take as long in a ledger of a hundred thousand trials as in one of a hundred.

A trial of five epochs is seven transactions. SQLite in the sweep's folder, as by default; the
ledgers take turns, so that what else the machine does slows all of them alike.
"""

from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import pytest

from sweeper.ledger import Ledger
from tests.soak import imported
from tests.support.figures import compare, show

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
SIZES = (100, 10_000, 100_000 - imported.MORE)  # a study has no more
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
    show(f"events a core-second at {SIZES} trials", "flat within 1.3 x",
         ", ".join(f"{rate:.0f}" for rate in rates))  # fmt: skip
    first = 1e3 * median(seconds[SIZES[0]])
    for size in SIZES[1:]:
        compare(f"writes of trial {size:,}", 1e3 * median(seconds[size]), first,
                peer="those of trial 100", unit="core-ms", goal="<= 1.3")  # fmt: skip
    assert max(rates) < 1.3 * min(rates)
