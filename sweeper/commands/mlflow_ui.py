"""Addresses of the runs of sweeps in an MLflow server, in lines for its user."""

import time
import urllib.request
from collections.abc import Callable, Iterator

from sweeper.tracking.mlflow_store import (
    CLICK,
    experiments,
    experiments_page,
    runs_page,
    without_password,
)

START_S = 120.0  # that a server may take to answer at first
POLL_S = 0.5


def announce(server: str, say: Callable[[str], None]) -> None:
    """Tell where the runs are, once the server answers; nothing if it does not."""
    if _answers(server):
        for line in lines(server):
            say(line)


def lines(server: str) -> Iterator[str]:
    """Return a line for each experiment of sweeps, and one that helps where MLflow goes astray."""
    shown = without_password(server, server)
    try:
        found = experiments(server)
    except Exception:  # whatever MLflow's client or the network raise: the list is there anyway
        found = {}
    for name, experiment_id in found.items():
        yield f"MLflow, the runs of {name}: {runs_page(shown, experiment_id)}"
    if not found:
        yield f"MLflow, all experiments: {experiments_page(shown)}"
    yield CLICK


def _answers(server: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            direct.open(f"{server}/health", timeout=5).close()
        except OSError:
            time.sleep(POLL_S)
        else:
            return True
    return False
