"""The price of a sweep, computed from its workload and the measurements of pilots.

The duration of a trial is the time to start it plus the times of its epochs and of its test. Let S
be the sum of the durations of all trials, and L the duration of the longest trial. If none of m
slots is idle while a trial waits, the sweep takes (Graham, 1969)

    max(S / m, L)  <=  wall  <=  S / m + (1 - 1 / m) L.

The low end assumes the fastest measured epochs, divided by MARGIN. The high end assumes the slowest
ones, multiplied by MARGIN: concurrent trials share caches, memory and disk, but on CPUs the pilot
ran alone. Repeated attempts after failures are not included.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.core.expected_epochs import NOTHING, Estimate
from sweeper.planning import resources
from sweeper.planning.costs import calibration
from sweeper.planning.costs.calibration import Calibration
from sweeper.planning.costs.workload import StageWork, Workload, workload_of
from sweeper.planning.resources import over_memory
from sweeper.spec.schema import Checkpoints
from sweeper.spec.sweep import Sweep
from sweeper.text import HOUR, duration
from trainables.storage.checkpoint_folder import thinned

MARGIN = 1.5
GB = 10**9

Calibrated = tuple[Workload, Calibration]  # of one study


@dataclass(frozen=True, kw_only=True)
class Price:
    """The cost of all studies of a sweep together, with estimates of hours."""

    trials: int
    slots: int
    epochs: Estimate
    trial_hours: Estimate
    device: str  # cpu or gpu
    device_hours: Estimate
    wall_hours: Estimate
    disk_bytes: int  # upper bound for the checkpoints that stay
    studies: Mapping[str, Estimate]  # study -> hours of its trials
    measured_at: float  # of the oldest calibration, in seconds since the Unix epoch
    measured_on: str  # the name of the device


@dataclass(frozen=True, kw_only=True)
class Priced:
    """The workload and price of a sweep before it starts."""

    workloads: tuple[Workload, ...]
    price: Price | None  # None if some study is not calibrated
    uncalibrated: tuple[str, ...]  # names of studies
    notes: tuple[str, ...]  # about possible problems


def price_of(sweep: Sweep, home: Path, slots: int, *, any_device: bool = False) -> Priced:
    """Return the workload and, if all studies were calibrated, the price of a sweep on `slots`.

    `any_device` uses calibrations of any device of the same kind (CPU or GPU), not only of the
    device of this machine.
    """
    studies = sweep.studies
    workloads = tuple(workload_of(sweep, study) for study in studies)
    found = [calibration.read(sweep, study, home, any_device=any_device) for study in studies]
    known = [(work, each) for work, each in zip(workloads, found, strict=True) if each is not None]
    price, notes = None, []
    if len(known) == len(studies):
        price = predict(
            known, slots=slots, devices=resources.occupied(sweep), keep=sweep.checkpoints
        )
        wall = sweep.budget.wall
        if wall is not None and HOUR * price.wall_hours.expected > wall:
            notes.append(
                f"`budget.wall` ({duration(wall)}) will end it before it is done: "
                f"{_span(price.wall_hours)} are expected."
            )
    notes += _notes_on_budget(sweep, workloads, price)
    # Notes are useful even if some studies are not calibrated.
    for work, each in known:
        peak = max(trial.peak_memory_bytes for trial in each.configurations)
        if note := over_memory(sweep.resources.gpu, peak, each.device_memory_bytes):
            notes.append(f"{work.study}: {note}")
        notes += [f"{work.study}: {n} was not measured: {why}" for n, why in each.skipped.items()]
    missing = (w.study for w, each in zip(workloads, found, strict=True) if each is None)
    return Priced(workloads=workloads, price=price, uncalibrated=tuple(missing), notes=tuple(notes))


def _notes_on_budget(
    sweep: Sweep, workloads: Sequence[Workload], price: Price | None
) -> Iterator[str]:
    """Yield a note for each limit that may end searches before what they are priced with."""
    epochs, hours = sweep.budget.epochs, sweep.budget.device_hours
    _, devices = resources.occupied(sweep)
    spent = [] if price is None else [each.expected * devices for each in price.studies.values()]
    may_end = {
        "epochs": epochs is not None and any(each.epochs.expected > epochs for each in workloads),
        "device_hours": hours is not None and any(each > hours for each in spent),
    }
    for key in (key for key, over in may_end.items() if over):
        yield (
            f"`budget.{key}` may end a search before all of its trials have run; what is planned "
            "counts all of them."
        )


def predict(
    calibrated: Sequence[Calibrated],
    *,
    slots: int,
    devices: tuple[str, float],
    keep: Checkpoints,
) -> Price:
    """Return the price of all studies together. This is a pure function.

    Args:
        calibrated: The studies with their calibrations.
        slots: The number of concurrent trials.
        devices: The kind and the number of devices that a trial occupies: ("gpu", 0.5).
        keep: The rule that says which checkpoints stay.
    """
    margin = Estimate(1 / MARGIN, 1.0, MARGIN)
    start_s = max(found.start_s for _, found in calibrated)
    trials = sum(work.trials for work, _ in calibrated)
    # A slot keeps its process, so that only the first trial of each slot waits for one.
    starts = Estimate(start_s, start_s, start_s) * min(slots, trials)
    studies = {work.study: _seconds(work, found, slots) for work, found in calibrated}
    seconds = (sum(studies.values(), NOTHING) + starts) * margin
    # Graham's bounds: all slots are busy for S / m, and the longest trial may come last.
    longest = _longest(calibrated) * margin
    even = seconds * (1 / slots)
    tail = Estimate(0.0, (1 - 1 / slots) / 2, 1 - 1 / slots)  # half of the bound is expected
    device, count = devices
    return Price(
        trials=trials,
        slots=slots,
        epochs=sum((work.epochs for work, _ in calibrated), NOTHING),
        trial_hours=seconds * (1 / HOUR),
        device=device,
        device_hours=seconds * (count / HOUR),
        wall_hours=(even + longest * tail).at_least(longest) * (1 / HOUR),
        disk_bytes=disk_bytes(calibrated, keep),
        studies={name: each * margin * (1 / HOUR) for name, each in studies.items()},
        measured_at=min(found.at for _, found in calibrated),
        measured_on=calibrated[0][1].device,
    )


def lines(price: Price) -> list[str]:
    """Return a price as lines of text for users."""
    hours, device = price.device_hours, price.device.upper()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(price.measured_at))
    return [
        f"{hours.low:.2g} to {hours.high:.2g} {device}-hours, {hours.expected:.2g} "
        f"expected; {_span(price.wall_hours)} on {price.slots} slots",
        f"up to {price.disk_bytes / GB:.2g} GB of checkpoints stay",
        f"measured {when} on {price.measured_on}; --calibrate measures again",
    ]


def _span(hours: Estimate) -> str:
    return f"{duration(HOUR * hours.low)} to {duration(HOUR * hours.high)}"


def disk_bytes(calibrated: Sequence[Calibrated], keep: Checkpoints) -> int:
    """Return an upper bound for the bytes of checkpoints after all trials have ended."""
    total = best = 0
    for work, found in calibrated:
        trials = work.trials if keep.trials is None else min(keep.trials, work.trials)
        size = checkpoint_bytes(found, keep)
        total, best = total + trials * size, best + size
    # The best of each study stays, whatever the cap is.
    return total if keep.max_bytes is None else min(total, max(best, keep.max_bytes))


def checkpoint_bytes(found: Calibration, keep: Checkpoints) -> int:
    """Return the most bytes that the kept files of one checkpoint take."""
    best, last = bool(keep.best), bool(keep.last)
    return max(
        sum(
            size
            for name, size in each.files.items()
            if name in thinned(dict.fromkeys(each.files, ""), best=best, last=last)
        )
        for each in found.configurations
    )


def _seconds(work: Workload, found: Calibration, slots: int) -> Estimate:
    """Return the seconds of all trials of a study."""
    cold = found.configurations[0].begin_s
    warm = min(each.begin_s for each in found.configurations)
    once = min(slots, work.trials)  # later trials find their data in the process's memory
    # At the least each trial finds its data in memory, at the most none does. Expected is one cold
    # start for each slot.
    fewest, most = work.trials - work.optional, work.trials
    begin = Estimate(fewest * warm, most * warm + once * (cold - warm), most * cold)
    stages = (_of_stage(done, found, stage) for stage, done in work.stages.items())
    # A trial that has all epochs of its last stage is tested, so epochs count the tests, too.
    last = list(work.stages.values())[-1]
    return sum(stages, begin) + last.epochs * (
        found.configurations[0].test_s / max(1, last.longest)
    )


def _of_stage(work: StageWork, found: Calibration, stage: str) -> Estimate:
    first, later = _paces(found, stage)
    before = max(0.0, first.expected - later.expected)  # the work that precedes the stage's epochs
    return Estimate(0.0, before, before) * work.runs + later * work.epochs


def _longest(calibrated: Sequence[Calibrated]) -> Estimate:
    """Return the seconds of the longest trial, including its start."""
    longest = NOTHING
    for work, found in calibrated:
        begin = found.configurations[0].begin_s
        trial = Estimate(0.0, begin, begin)
        for stage, done in work.stages.items():
            first, later = _paces(found, stage)
            trial = trial + first + later * max(0, done.longest - 1)
        test_s = found.configurations[0].test_s
        trial = trial + Estimate(0.0, test_s, test_s)
        longest = longest.at_least(trial)
    return Estimate(0.0, longest.expected, longest.high)  # all drawn trials may be shorter


def _paces(found: Calibration, stage: str) -> tuple[Estimate, Estimate]:
    """Return the seconds of a stage's first epoch, and of a later one.

    The low and high ends are the extremes over the pilots; the expected value is that of the
    preset. A stage that no pilot trained takes no time.
    """
    paces = [each.stages[stage] for each in found.configurations if stage in each.stages]
    if not paces:
        return NOTHING, NOTHING
    preset = found.configurations[0].stages.get(stage, paces[0])
    first = Estimate(min(p.first_s for p in paces), preset.first_s, max(p.first_s for p in paces))
    later = Estimate(min(p.next_s for p in paces), preset.next_s, max(p.next_s for p in paces))
    return first, later
