"""Measurements of toy sweeps in load tests, and their printed form."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sweeper.ledger import EventKind, Ledger
from tests.support.toy import history


class Row(NamedTuple):
    """A line of the table that `python -m tests.benchmarks` prints."""

    what: str
    ours: str
    theirs: str
    ratio: str
    goal: str


ROWS: list[Row] = []  # what this process has measured


def show(load: str, held: str, measured: str) -> None:
    """Print a figure beside the one to be held, and how busy the machine is."""
    ROWS.append(Row(load, measured, "", "", held))
    _print(load, held, measured)


def compare(what: str, ours: float, theirs: float, *, peer: str, unit: str, goal: str) -> float:
    """Return ours / theirs, after it was printed beside its goal."""
    ratio = ours / theirs
    row = Row(what, f"{ours:.3g} {unit}", f"{theirs:.3g} {unit}, {peer}", f"{ratio:.3g}", goal)
    ROWS.append(row)
    _print(what, goal, f"{row.ours}; {row.theirs}: {ratio:.3g} x")
    return ratio


def _print(what: str, held: str, measured: str) -> None:
    print(f"\n{what}: {measured} (to hold: {held}; load {os.getloadavg()[0]:.1f})", end="")


@dataclass(frozen=True)
class Pace:
    """The pace of the trials of a toy sweep, in seconds.

    `lags` are from the end of an epoch in its trial to its commit by the driver, its checkpoint
    included; `gaps` from one epoch of a trial to its next, while all trials ran.
    """

    lags: np.ndarray
    gaps: np.ndarray
    epochs_per_s: float  # of all trials together, while all ran


def pace(folder: Path, ledger: Ledger) -> Pace:
    """Read the pace of the sweep in `folder`, whose trials all ran at once."""
    epochs = [line for line in history.read(folder) if line.event == "epoch"]
    times: dict[history.Key, list[float]] = {}
    for line in epochs:
        times.setdefault(line.key, []).append(line.time)
    begun, over = max(t[0] for t in times.values()), min(t[-1] for t in times.values())
    committed = {
        (e.study, e.number, e.payload["stage"], e.payload["epoch"]): e.at
        for e in history.events(ledger)
        if e.kind is EventKind.MEASURED
    }
    together = [line for line in epochs if begun <= line.time <= over]
    assert together, "never did all trials run at once"
    return Pace(
        lags=np.array([committed[*e.key, e.stage, e.epoch] - e.time for e in together]),
        gaps=np.array(
            [b - a for t in times.values() for a, b in pairwise(t) if begun <= a and b <= over]
        ),
        epochs_per_s=len(together) / (over - begun),
    )


def moments(ledger: Ledger, kind: EventKind) -> list[float]:
    """Return when events of a kind happened, in seconds since the epoch."""
    return [event.at for event in history.events(ledger) if event.kind is kind]
