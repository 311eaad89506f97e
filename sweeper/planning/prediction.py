"""The price of a sweep on some slots, if its studies were calibrated on a device as here."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.config.sweep import Sweep
from sweeper.planning import calibration, resources
from sweeper.planning.devices import over_memory
from sweeper.planning.price import HOUR, predict
from sweeper.planning.workload import Workload, workload_of
from sweeper.text import duration

GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Priced:
    """What is known ahead of a sweep."""

    workloads: tuple[Workload, ...]
    price: dict[str, Any] | None  # None: some study was not calibrated
    uncalibrated: tuple[str, ...]  # studies
    notes: tuple[str, ...]  # of what may go wrong


def price_of(sweep: Sweep, home: Path, slots: int, *, elsewhere: bool = False) -> Priced:
    """Return what a sweep takes on `slots`: here, or `elsewhere`, by what was measured on any
    device of the kind that its trials are given."""
    studies = sweep.studies()
    workloads = tuple(workload_of(sweep, study) for study in studies)
    found = [calibration.read(sweep, study, home, elsewhere=elsewhere) for study in studies]
    known = [(work, each) for work, each in zip(workloads, found, strict=True) if each is not None]
    price, notes = None, []
    if len(known) == len(studies):
        price = predict(
            known, slots=slots, devices=resources.occupied(sweep), keep=sweep.checkpoints
        )
        if (
            sweep.budget.wall is not None
            and HOUR * price["wall_hours"]["expected"] > sweep.budget.wall
        ):
            notes.append(
                f"`budget.wall` ({duration(sweep.budget.wall)}) will end it before it is done: "
                f"{_span(price['wall_hours'])} are expected."
            )
    for work, each in known:
        peak = max(trial.peak_memory_bytes for trial in each.configurations)
        if note := over_memory(sweep.resources.gpu, peak, each.device_memory_bytes):
            notes.append(f"{work.study}: {note}")
        notes += [f"{work.study}: {n} was not measured: {why}" for n, why in each.skipped.items()]
    missing = (w.study for w, each in zip(workloads, found, strict=True) if each is None)
    return Priced(workloads=workloads, price=price, uncalibrated=tuple(missing), notes=tuple(notes))


def lines(price: Mapping[str, Any]) -> list[str]:
    """Returns a price for people."""
    hours, device = price["device_hours"], price["device"].upper()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(price["measured_at"]))
    return [
        f"{hours['low']:.2g} to {hours['high']:.2g} {device}-hours, {hours['expected']:.2g} "
        f"expected; {_span(price['wall_hours'])} on {price['slots']} slots",
        f"up to {price['disk_bytes'] / GB:.2g} GB of checkpoints stay",
        f"measured {when} on {price['measured_on']}; --calibrate measures anew",
    ]


def _span(hours: Mapping[str, float]) -> str:
    return f"{duration(HOUR * hours['low'])} to {duration(HOUR * hours['high'])}"
