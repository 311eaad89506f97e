"""Resumption of an imported sweep up to its next suggestions; prints the costs as JSON.

Seconds are those of a core, which hold on a busy machine too.

python -m tests.soak.resume_imported FOLDER TRIALS
"""

import json
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil

from sweeper.core.runner import SweepRunner
from sweeper.driver import driver
from sweeper.ledger import Ledger
from tests.soak.imported import plan_of, read_sweep

ASKED = 20


def main(folder: Path, num_trials: int) -> None:
    """Print seconds and bytes."""
    assert driver.__doc__
    bytes_before = psutil.Process().memory_info().rss
    began = time.process_time()
    with closing(Ledger.in_folder(folder)) as ledger:
        runner = SweepRunner([plan_of(read_sweep(num_trials), ledger)], ledger)
        runner.next_trial()
        first_s = time.process_time() - began
        asks = []
        for _ in range(ASKED):
            began = time.process_time()
            runner.next_trial()
            asks.append(time.process_time() - began)
    rss = psutil.Process().memory_info().rss
    print(json.dumps({"first_s": first_s, "asks_s": asks, "imports": bytes_before, "rss": rss}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
