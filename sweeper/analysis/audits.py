"""The recorded audit of a benchmark: the predictors without a network on each of its tasks."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AuditedTask", "PredictorRow", "read_audit"]


@dataclass(frozen=True, kw_only=True)
class PredictorRow:
    """A predictor without a network on a task."""

    name: str
    test: float | None  # None: it cannot apply
    validation: float | None
    seconds: float | None
    reason: str | None  # why it cannot apply


@dataclass(frozen=True, kw_only=True)
class AuditedTask:
    """The predictors on one task."""

    task: str
    predictors: tuple[PredictorRow, ...]
    floor: PredictorRow | None

    def value_of(self, name: str) -> float | None:
        """Return the test value of a predictor; None if it is not here, or cannot apply."""
        return next((row.test for row in self.predictors if row.name == name), None)


def read_audit(file: Path) -> tuple[AuditedTask, ...]:
    """Return the tasks in a file that `sweeper audit BENCHMARK --json` wrote; none without one."""
    if not file.exists():
        return ()
    found = []
    for each in json.loads(file.read_text(encoding="utf-8"))["tasks"]:
        rows = tuple(PredictorRow(**row) for row in each["predictors"])
        floor = next((row for row in rows if row.name == each["predictor"]), None)
        found.append(AuditedTask(task=each["task"], predictors=rows, floor=floor))
    return tuple(found)
