"""What a sweep will take, from its workload and from what a pilot measured. Pure.

Of a trial, seconds are those to begin and those of its stages' epochs; of the sweep, their sum S
over its trials. On m slots that are never idle while a trial waits it takes, with L the longest
trial (Graham, 1969),

    max(S / m, L)  <=  wall  <=  S / m + (1 - 1 / m) L.

The low end is of the fastest epochs measured, shorter by MARGIN; the high end of the slowest,
longer by it: trials beside each other share caches, memory and disk, which the pilot had alone.
What fails and is tried again is not in it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sweeper.config.schema import Checkpoints
from sweeper.core.pruning import NOTHING, Estimate
from sweeper.planning.calibration import Calibration
from sweeper.planning.workload import StageWork, Workload
from trainables.storage.checkpoint_folder import thinned

__all__ = ["MARGIN", "disk_bytes", "predict"]

MARGIN = 1.5
HOUR = 3600.0


def predict(
    priced: Sequence[tuple[Workload, Calibration]],
    *,
    slots: int,
    devices: tuple[str, float],
    keep: Checkpoints,
) -> dict[str, Any]:
    """Returns what all studies take together, as plain data.

    Args:
        slots: Trials at a time.
        devices: What a trial occupies, and how many: ("gpu", 0.5).
        keep: Which checkpoints stay.
    """
    margin = Estimate(1 / MARGIN, 1.0, MARGIN)
    start_s = max(calibration.start_s for _, calibration in priced)
    trials = sum(work.trials for work, _ in priced)
    starts = Estimate(start_s, start_s, start_s) * min(slots, trials)
    studies = {work.study: _seconds(work, found, slots) for work, found in priced}
    seconds = (sum(studies.values(), NOTHING) + starts) * margin
    longest = _longest(priced) * margin
    even = seconds * (1 / slots)
    tail = Estimate(0.0, (1 - 1 / slots) / 2, 1 - 1 / slots)  # half of it is expected
    epochs = sum((work.epochs for work, _ in priced), NOTHING)
    device, count = devices
    return {
        "trials": trials,
        "slots": slots,
        "epochs": asdict(epochs),
        "trial_hours": asdict(seconds * (1 / HOUR)),
        "device": device,
        "device_hours": asdict(seconds * (count / HOUR)),
        "wall_hours": asdict((even + longest * tail).at_least(longest) * (1 / HOUR)),
        "disk_bytes": disk_bytes(priced, keep),
        "studies": {name: asdict(each * margin * (1 / HOUR)) for name, each in studies.items()},
        "measured_at": min(calibration.at for _, calibration in priced),
        "measured_on": priced[0][1].device,
    }


def disk_bytes(priced: Sequence[tuple[Workload, Calibration]], keep: Checkpoints) -> int:
    """Returns what the checkpoints take that stay, at most, once all trials have ended."""
    total = 0
    for work, calibration in priced:
        trials = work.trials if keep.trials is None else min(keep.trials, work.trials)
        total += trials * checkpoint_bytes(calibration, keep)
    return total if keep.max_bytes is None else min(total, keep.max_bytes)


def checkpoint_bytes(calibration: Calibration, keep: Checkpoints) -> int:
    """Returns what the largest checkpoint takes that stays of one trial."""
    best, last = bool(keep.best), bool(keep.last)
    return max(
        sum(
            size
            for name, size in each.files.items()
            if name in thinned(dict.fromkeys(each.files, ""), best=best, last=last)
        )
        for each in calibration.configurations
    )


def _seconds(work: Workload, calibration: Calibration, slots: int) -> Estimate:
    """Returns the seconds of all trials of a study."""
    cold = calibration.configurations[0].begin_s
    warm = min(each.begin_s for each in calibration.configurations)
    once = min(slots, work.trials)  # a process that begins finds the next trial's data in memory
    begin = Estimate(
        work.trials * warm, work.trials * warm + once * (cold - warm), work.trials * cold
    )
    stages = (_of_stage(done, calibration, stage) for stage, done in work.stages.items())
    return sum(stages, begin)


def _of_stage(work: StageWork, calibration: Calibration, stage: str) -> Estimate:
    first, later = _paces(calibration, stage)
    before = max(0.0, first.expected - later.expected)  # what the stage does before its epochs
    return Estimate(0.0, before, before) * work.runs + later * work.epochs


def _longest(priced: Sequence[tuple[Workload, Calibration]]) -> Estimate:
    """Returns the seconds of the longest trial, from its beginning to its end."""
    longest = NOTHING
    for work, calibration in priced:
        begin = calibration.configurations[0].begin_s
        trial = Estimate(0.0, begin, begin)
        for stage, done in work.stages.items():
            first, later = _paces(calibration, stage)
            trial = trial + first + later * max(0, done.longest - 1)
        longest = longest.at_least(trial)
    return Estimate(0.0, longest.expected, longest.high)  # all trials may be shorter


def _paces(calibration: Calibration, stage: str) -> tuple[Estimate, Estimate]:
    """Returns the seconds of a stage's first epoch and of a later one: the least of all that was
    measured, the preset's, and the most. A stage that trained in no pilot takes none."""
    found = [each.stages[stage] for each in calibration.configurations if stage in each.stages]
    if not found:
        return NOTHING, NOTHING
    preset = calibration.configurations[0].stages.get(stage, found[0])
    first = Estimate(min(p.first_s for p in found), preset.first_s, max(p.first_s for p in found))
    later = Estimate(min(p.next_s for p in found), preset.next_s, max(p.next_s for p in found))
    return first, later
