"""Looks into the best weights of one trial, and says what there is to be seen."""

from collections.abc import Sequence
from typing import Any

from sweeper.app.folder import existing, started
from sweeper.app.load import from_record
from sweeper.app.places import Places
from sweeper.app.tracking import make_recorder
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.ledger import Ledger
from sweeper.study import Trial
from trainables.tasks.generation import Progress

WHAT = ("landscape", "intermediate", "scatter", "otdd")


def diagnose(
    name: str,
    study: str,
    number: int,
    *,
    what: Sequence[str] | None,
    samples: int,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the files of the diagnostics `what`, or of all that the trial has data for.

    Args:
        samples: Of each modality, or of a split, at most.

    Raises:
        NotFound: No such sweep, study or trial.
        UsageError: No such diagnostic, the trial has no checkpoint, or its data are too few or of
            one modality for a diagnostic that was asked for.
    """
    for each in what or ():
        if each not in WHAT:
            raise UsageError(unknown("diagnostic", each, WHAT))
    folder = existing(name)
    with started(folder) as (ledger, record):
        sweep = from_record(record)
        places = Places(folder, sweep.checkpoints.store)
        trial = places.placed(_find(ledger, study, number))
        from sweeper.app.diagnostics import write  # torch, which a mistyped name does not need

        out, written, notes = write(
            folder, sweep, trial, what=what, samples=samples, progress=progress
        )
        if written and not make_recorder(ledger, sweep, places).attach(study, number, out):
            notes.append("MLflow does not have the trial's run, or did not take the files.")
    return {
        "sweep": name,
        "study": study,
        "trial": number,
        "checkpoint": trial.checkpoint,
        "folder": str(out),
        "files": written,
        "notes": notes,
    }


def _find(ledger: Ledger, study: str, number: int) -> Trial:
    studies = [each.name for each in ledger.studies()]
    if study not in studies:
        raise NotFound(unknown("study", study, studies))
    trials = {trial.number: trial for trial in ledger.trials(study)}
    if number not in trials:
        raise NotFound(unknown("trial", str(number), map(str, trials)))
    return trials[number]
