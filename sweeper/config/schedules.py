"""Learning-rate schedules against the epochs that they are for.

A published `decay_epochs` belongs to the published number of epochs. Where a file sets or searches
`epochs` and says nothing of `decay_epochs`, the rate falls to 0 at the last epoch of each trial.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sweeper.config.distributions import Distribution
from sweeper.config.study_plan import StudyPlan

__all__ = ["following", "schedule_notes"]

EPOCHS, DECAY, WARMUP = "epochs", "decay_epochs", "warmup_epochs"


def following(
    known: Iterable[str], searched: Mapping[str, Distribution], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the `decay_epochs` that follow `epochs`, by `stage.parameter`.

    Args:
        known: Every `stage.parameter` of the file's methods.
    """
    found: dict[str, Any] = {}
    for name in known:
        stage, _, key = name.rpartition(".")
        if key != DECAY or name in searched or name in fixed:
            continue
        epochs = f"{stage}.{EPOCHS}"
        if epochs in fixed:
            found[name] = fixed[epochs]
        elif epochs in searched:
            found[name] = None  # at the last epoch, whichever is drawn
    return found


def schedule_notes(studies: Iterable[StudyPlan]) -> list[str]:
    """Return a note for each schedule that ends before its stage does: the rest of the epochs
    would train nothing, and say nothing of it."""
    return list(dict.fromkeys(note for study in studies for note in _ends_early(study)))


def _ends_early(study: StudyPlan) -> Iterator[str]:
    for stage, most in study.stage_epochs.items():
        name = f"{stage}.{DECAY}"
        ends = [float(end) for end in _values(study, name) if end is not None]
        rises = [float(rise) for rise in _values(study, f"{stage}.{WARMUP}")]
        first = min(ends, default=float(most))
        if first < most and first > min(rises, default=0.0):  # a shorter one stays at its peak
            yield (
                f"`{study.method}`: the rate of `{stage}` is 0 after epoch {first:g} "
                f"(`{name}`), but a trial may have {most} epochs: those after it train nothing. "
                f"Leave `{name}` out, and it follows `{stage}.{EPOCHS}`."
            )


def _values(study: StudyPlan, name: str) -> tuple[Any, ...]:
    """Return what a parameter may be, at its ends: nothing if the stage has none of that name."""
    if (drawn := study.parameters.get(name)) is not None:
        return tuple(drawn.examples())
    return (study.preset[name],) if name in study.preset else ()
