"""Notes on validation splits that are too small to tell settings apart."""

import math

from sweeper.analysis.table import StudyTable
from sweeper.core.ranking import ranked

__all__ = ["FEW", "few_samples", "validation_notes"]

FEW = 30  # validation samples
SHARES = ("zero_one_error",)  # metrics that are a share of samples, whose error is binomial


def few_samples(task: str, samples: int) -> str | None:
    """Return a note if so few samples validate that chance decides; None if there are enough."""
    if samples >= FEW:
        return None
    return (
        f"{task}: {samples} samples validate, under {FEW}: each weighs {1 / samples:.0%} of the "
        "value that settings are chosen by. Raise `data.samples` or `data.val_fraction`."
    ).replace("%", " %")


def validation_notes(study: StudyTable) -> list[str]:
    """Return what keeps a study's validation values from deciding between its trials."""
    samples = int((study.facts.get("samples") or {}).get("val", 0))
    if samples <= 0:
        return []
    notes = [few_samples(study.study.task, samples)]
    if study.study.objective.removeprefix("val/") in SHARES:
        notes.append(_unresolved(study, samples))
    return [note for note in notes if note is not None]


def _unresolved(study: StudyTable, samples: int) -> str | None:
    """Return a note if the best two trials differ by less than the standard error of one.

    Of a share p of n samples that is sqrt(p (1 - p) / n); p is taken as (k + 1) / (n + 2), so that
    no error at all is not taken for certainty.
    """
    values = sorted(t.value for t in ranked(study.trials) if t.value is not None)
    if len(values) < 2:
        return None
    best, second = values[:2]
    share = (best * samples + 1) / (samples + 2)
    error = math.sqrt(share * (1 - share) / samples)
    if second - best >= error:
        return None
    return (
        f"{study.study.name}: the best two trials differ by {second - best:.2g} in validation, and "
        f"the standard error of either is {error:.2g} on {samples} samples: chance may have chosen."
    )
