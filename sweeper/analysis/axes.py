"""What each sampled parameter of a study was drawn from, and where a value lies in it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.analysis.table import StudyTable
from sweeper.config.distributions import Choice, Distribution, Float, Int, same
from sweeper.model import Trial, TrialKind, TrialState


def sampled_trials(table: StudyTable) -> list[Trial]:
    """Returns the complete trials that a sampler suggested: those that compare with each other."""
    return [
        trial
        for trial in table.trials
        if trial.kind is TrialKind.SAMPLED
        and trial.state is TrialState.COMPLETE
        and trial.value is not None
        and math.isfinite(trial.value)
    ]


def axes(trials: Sequence[Trial], parameters: Mapping[str, Any]) -> dict[str, Distribution]:
    """Returns the distribution of each parameter that was sampled in some trial.

    Args:
        parameters: The `parameters` of the sweep's file, resolved. What it lacks is taken from
            the values that occurred.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.sampled)
    occurred = {n: [t.params[n] for t in trials if n in t.sampled] for n in names}
    return {name: axis(parameters.get(name), occurred[name]) for name in names}


def axis(written: Any, occurred: Sequence[Any]) -> Distribution:
    """Returns one parameter's distribution, wide enough for all that occurred."""
    written = written if isinstance(written, Mapping) else {}
    if "values" in written or not all(map(_is_number, occurred)):
        values = list(written.get("values", ()))
        for value in occurred:
            if not any(same(value, known) for known in values):
                values.append(value)
        return Choice(values=tuple(values))
    low = min([*occurred, written.get("min", math.inf)])
    high = max([*occurred, written.get("max", -math.inf)])
    log = "log" in str(written.get("distribution", "")) and low > 0
    if all(isinstance(value, int) for value in (*occurred, low, high)):
        return Int(low=low, high=high, log=log)
    return Float(low=float(low), high=float(high), log=log)


def position(value: Any, along: Distribution) -> float:
    """Returns where a value lies, 0 at the low end to 1; a lone value is in the middle."""
    match along:
        case Choice(values=values):
            index = next(i for i, known in enumerate(values) if same(value, known))
            return index / (len(values) - 1) if len(values) > 1 else 0.5
        case Float(low=low, high=high, log=log) | Int(low=low, high=high, log=log):
            if low == high:
                return 0.5
            if log:
                return math.log(value / low) / math.log(high / low)
            return float((value - low) / (high - low))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
