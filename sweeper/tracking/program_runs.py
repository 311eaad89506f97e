"""The reports of a program that writes runs to MLflow itself, printed as lines of JSON.

    python -m sweeper.tracking.program_runs MARK METRIC     until standard input ends

Each step at which the program logs the metric is a report, numbered from 1 in the order of steps.
"""

import json
import select
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from sweeper.tracking.mlflow_store import MARK, client, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL_S = 0.5
SHARE = 0.1  # of its time goes into reading, since MLflow has whole histories alone


def follow(runs: "MlflowClient", mark: str, metric: str) -> None:
    """Print the reports of the runs with a mark as they come, and return with the input's end."""
    known: set[int] = set()
    done, last, has_ended, took = 0, -1, False, 0.0
    while not has_ended:
        # After the end of its input it reads once more: the program may have logged meanwhile.
        has_ended = bool(select.select([sys.stdin], [], [], max(POLL_S, took / SHARE))[0])
        began = time.monotonic()
        found = values_by_step(runs, mark)
        took = time.monotonic() - began
        ready = sorted(step for step, values in found.items() if step > last and metric in values)
        # A step is complete when it was there before: other values may follow the metric.
        for step in [each for each in ready if each in known or has_ended]:
            done, last = done + 1, step
            print(json.dumps({"step": done, **found[step]}), flush=True)
        known.update(ready)


def values_by_step(runs: "MlflowClient", mark: str) -> dict[int, dict[str, float]]:
    """Return all values that the runs with a mark have logged, by step."""
    experiments = [each.experiment_id for each in runs.search_experiments()]
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for run in runs.search_runs(experiments, f"tags.`{MARK}` = '{mark}'"):
        for name in run.data.metrics:
            for point in runs.get_metric_history(run.info.run_id, name):
                found[point.step][name] = point.value
    return found


if __name__ == "__main__":
    follow(client(tracking_uri(None)), *sys.argv[1:])
