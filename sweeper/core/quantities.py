"""The quantities of a trial that objectives and constraints name, from its measurements."""

from dataclasses import dataclass, field
from math import isfinite

from sweeper.ledger import LedgerReader
from sweeper.spec.goals import (
    DEVICE_SECONDS,
    EPOCHS,
    PARAMETERS,
    PEAK_MEMORY,
    SECONDS,
    Goals,
)
from trainables.report import Measurement


@dataclass
class Quantities:
    """The validation values and costs of one trial so far."""

    best: float | None = None  # value of the objective
    metrics: dict[str, float] = field(default_factory=dict)  # at the best epoch
    seconds: dict[int, float] = field(default_factory=dict)  # attempt -> seconds
    peak_memory: float | None = None
    parameters: float | None = None
    epochs: set[tuple[str, int]] = field(default_factory=set)  # stage and epoch

    def measure(self, measurement: Measurement) -> None:
        """Count an epoch that no earlier attempt has measured, but for its time."""
        value = measurement.objective
        if value is not None and (self.best is None or value < self.best):
            self.best, self.metrics = value, dict(measurement.metrics)
        if measurement.peak_memory_bytes is not None:
            self.peak_memory = max(self.peak_memory or 0.0, float(measurement.peak_memory_bytes))
        if measurement.parameters is not None:
            self.parameters = float(measurement.parameters)
        self.epochs.add((measurement.stage, measurement.epoch))

    def count(self, attempt: int, seconds: float) -> None:
        """Record the seconds of an attempt up to its last epoch."""
        # Measurements have the seconds since the attempt began, so the largest are its own.
        self.seconds[attempt] = max(self.seconds.get(attempt, 0.0), seconds)

    def of(self, goals: Goals, devices: float) -> dict[str, float]:
        """Return the finite quantities that the goals name.

        Args:
            goals: The goals of the study.
            devices: The GPUs of a trial, or else its CPU cores.
        """
        seconds = sum(self.seconds.values())
        values = {
            **self.metrics,
            goals.objectives[0]: self.best,
            SECONDS: seconds,
            DEVICE_SECONDS: seconds * devices,
            PEAK_MEMORY: self.peak_memory,
            PARAMETERS: self.parameters,
            EPOCHS: float(len(self.epochs)),
        }
        found = {name: values.get(name) for name in goals.quantities}
        return {n: value for n, value in found.items() if value is not None and isfinite(value)}


def read_quantities(
    ledger: LedgerReader, study: str, measured: dict[int, tuple[Measurement, ...]]
) -> dict[int, Quantities]:
    """Return the quantities of the trials of a study, the same as before a restart.

    `measured` are the measurements of the study by trial.
    """
    found: dict[int, Quantities] = {}
    for number, measurements in measured.items():
        found[number] = Quantities()
        for each in measurements:
            found[number].measure(each)
    # Each epoch counts once, but the seconds of all attempts at a trial add up.
    for use in ledger.use_of_attempts(study):
        found[use.number].count(use.attempt, use.seconds)
    return found
