"""What each study took: device-seconds, on what, and how much of it led nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sweeper.analysis.comparison.contenders import Contender
from sweeper.model import Trial, TrialState


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one study. Seconds are of devices: GPUs, or CPU cores where a trial has no GPU."""

    study: str
    device: str
    trials: int  # that began
    epochs: int  # trained, those run again included
    searched: float  # s
    repeated: float  # s of replicates and reruns
    pruned: float  # s of trials that ended so; in `searched` or `repeated` too
    failed: float
    epoch_seconds: float | None  # median over trials, of the clock
    peak_memory_bytes: int | None  # the most that a trial took

    @property
    def total(self) -> float:
        """All device-seconds."""
        return self.searched + self.repeated


def cost_of(contender: Contender) -> Cost:
    """Returns what a study took, as far as its trials told."""
    device, count = contender.devices
    trials = contender.study.trials
    histories = [contender.history(trial) for trial in trials]
    spent = {t.number: count * h.seconds for t, h in zip(trials, histories, strict=True)}
    paces = [h.seconds / h.epochs for h in histories if h.epochs]
    peaks = [
        m.peak_memory_bytes
        for history in histories
        for m in history.measurements
        if m.peak_memory_bytes is not None
    ]

    def seconds(chosen: Sequence[Trial]) -> float:
        return sum(spent[trial.number] for trial in chosen)

    return Cost(
        study=contender.study.study.name,
        device=device,
        trials=sum(trial.attempt > 0 for trial in trials),
        epochs=sum(history.epochs for history in histories),
        searched=seconds([t for t in trials if t.kind.is_searched]),
        repeated=seconds([t for t in trials if not t.kind.is_searched]),
        pruned=seconds([t for t in trials if t.state is TrialState.PRUNED]),
        failed=seconds([t for t in trials if t.state is TrialState.FAILED]),
        epoch_seconds=median(paces) if paces else None,
        peak_memory_bytes=max(peaks) if peaks else None,
    )
