"""Data of tasks on this machine: their state, and errors of the science as errors of commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import StorageFull, UsageError
from sweeper.planning.catalog import home
from sweeper.planning.disk import NOT_TAKEN
from trainables.errors import DataError, TrainableError
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.loading import is_prepared

READY, TO_MAKE, TO_IMPORT = "ready", "to be made", "to be imported"


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Raise errors of the science, and of a disk, as errors of commands.

    Raises:
        UsageError: Data or settings cannot be used.
        StorageFull: The disk of SWEEPER_HOME is full or read-only.
    """
    try:
        yield
    except TrainableError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise _refusal(error) from error


def _refusal(error: OSError) -> StorageFull | UsageError:
    named = isinstance(error.filename, str | os.PathLike)
    place = Path(error.filename) if named else home()
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in NOT_TAKEN and place.is_relative_to(home()):
        way_out = "Free space, or set SWEEPER_HOME to another folder that can be written"
        return StorageFull(f"{place}: {reason}. {way_out}.")
    return UsageError(f"{place}: {reason}. See that it is there and can be read, and try again.")


def state_of(task: str, data: DataSpec) -> str:
    """Return whether a task's data are there, are made by a launch, or have to be imported."""
    try:
        if is_prepared(task, data, home()):
            return READY
    except DataError:
        return TO_IMPORT
    return TO_MAKE if official.is_generated(task) else TO_IMPORT
