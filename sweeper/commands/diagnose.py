"""Looks into the best weights of one trial, and says what there is to be seen."""

from collections.abc import Sequence
from typing import Any

from sweeper.driver.recorder import make_recorder
from sweeper.errors import UsageError, unknown
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.load import from_record
from sweeper.planning.sweep_folder import existing, started
from sweeper.planning.trials import find_trial
from trainables.tasks.generation import Progress

WHAT = ("landscape", "intermediate", "scatter", "otdd")


def diagnose(
    name: str,
    trial: str,
    *,
    what: Sequence[str] | None,
    samples: int,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the files of the diagnostics `what`, or of all that the trial has data for.

    Args:
        trial: As `find_trial` takes it.
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
        places = CheckpointPaths(folder, sweep.checkpoints.store)
        found = places.placed(find_trial(ledger, trial))
        from sweeper.commands.diagnostics import write

        out, written, notes = write(
            folder, sweep, found, what=what, samples=samples, progress=progress
        )
        recorder = make_recorder(ledger, sweep, places)
        if written and not recorder.attach(found.study, found.number, out):
            notes.append("MLflow does not have the trial's run, or did not take the files.")
    return {
        "sweep": name,
        "study": found.study,
        "trial": found.number,
        "checkpoint": found.checkpoint,
        "folder": str(out),
        "files": written,
        "notes": notes,
    }
