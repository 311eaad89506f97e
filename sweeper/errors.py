"""All errors for users, each with its exit code.

Exit code 3 belongs to no error: the sweep finished, but a study has no complete trial, or too many
trials failed.
"""

import difflib
import errno
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANY = 12  # a message lists up to this many names in full
NEAREST = 5  # names in a message if there are more than MANY
SYNONYMS = {  # name of a parameter in other libraries -> name here
    **dict.fromkeys(("learning_rate", "learningrate", "lrate", "step_size", "eta"), "lr"),
    **dict.fromkeys(("batchsize", "bs", "minibatch_size", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs", "epoch", "iterations"), "epochs"),
    **dict.fromkeys(("wd", "l2", "decay"), "weight_decay"),
    **dict.fromkeys(("optim", "optimiser"), "optimizer"),
    **dict.fromkeys(("warmup", "warmup_steps", "num_warmup_epochs"), "warmup_epochs"),
    **dict.fromkeys(("lr_decay", "decay_steps", "lr_decay_epochs"), "decay_epochs"),
    **dict.fromkeys(("grad_clip", "max_grad_norm", "gradient_clip_val", "clip"), "clip_norm"),
    **dict.fromkeys(
        ("grad_accum", "accumulate_grad_batches", "gradient_accumulation_steps"), "accumulation"
    ),
    **dict.fromkeys(("temp", "tau"), "temperature"),
}

# Ways out after an unknown name
NOT_INSTALLED = " A plugin that is not installed needs --plugin PATH."
NOT_INCLUDED = " A task file needs --include PATH, a plugin that is not installed --plugin PATH."

NOT_TAKEN = {  # a disk refuses files: full, read-only, not a folder
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ELOOP,
}


class SweeperError(Exception):
    """Base class of all errors for users. They are printed without a traceback."""

    exit_code = 1


class UsageError(SweeperError):
    """A command line, a sweep file or data that cannot be used."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Fault:
    """One fault of a file or of the command line (`line` None). The message says how to fix it."""

    where: str  # file, or "--set refine.lr"
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.where}{f':{self.line}' if self.line else ''}: {self.message}"


class FileFaults(UsageError):
    """All faults of a file, so that a user can fix them at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class SweepIsHeld(SweeperError):
    """Another launch holds this sweep."""

    exit_code = 4


class BackendUnreachable(SweeperError):
    """A backend that was required does not answer."""

    exit_code = 5


class StorageFull(SweeperError):
    """A disk or a store has no space left, or is not writable."""

    exit_code = 6


class CannotSchedule(SweeperError):
    """A trial asks for more than the cluster has."""

    exit_code = 7


class NotFound(SweeperError):
    """There is no such sweep, study or trial."""

    exit_code = 8


class GateNotMet(SweeperError):
    """A claim about methods does not hold."""

    exit_code = 9


class Interrupted(SweeperError):
    """A signal stopped the command, which can be resumed (128 + the signal's number)."""

    exit_code = 130

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = exit_code_of(number)


def exit_code_of(number: int) -> int:
    """Return the exit code of a command that a signal ended; a hang-up counts as SIGTERM."""
    return 128 + (signal.SIGTERM if number == signal.SIGHUP else number)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown `name` of some `kind`, with the nearest known names."""
    known = sorted(known)
    # The word of another library is a surer guess than a name of similar letters.
    meant = synonym(name, known) or next(iter(nearest(name, known)), None)
    hint = f" Did you mean `{meant}`?" if meant else ""
    if len(known) <= MANY:
        return f"unknown {kind} `{name}`.{hint} Known: {', '.join(known)}."
    near = nearest(name, known, count=NEAREST, cutoff=0.0)
    listed = list(dict.fromkeys([*([meant] if meant else []), *near]))[:NEAREST]
    return f"unknown {kind} `{name}`.{hint} The nearest of {len(known)}: {', '.join(listed)}."


def nearest(name: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that are most like `name`, whatever their cases."""
    folded = {each.casefold(): each for each in known}
    # difflib may take time that is quadratic in the length of a name.
    found = difflib.get_close_matches(name[:200].casefold(), folded, n=count, cutoff=cutoff)
    return [folded[each] for each in found]


def synonym(name: str, known: Iterable[str]) -> str | None:
    """Return the known name for a `name` that other libraries use.

    For example, `align.learning_rate` gives `align.lr`.
    """
    stage, dot, word = name.rpartition(".")
    meant = f"{stage}{dot}{SYNONYMS.get(word.lower().replace('-', '_'), '')}"
    return meant if meant in known else None


def to_record(error: SweeperError) -> dict[str, Any]:
    """Return an error as plain data, so that another process can raise it."""
    faults = [asdict(fault) for fault in error.faults] if isinstance(error, FileFaults) else None
    kind, code = type(error).__name__, error.exit_code
    return {"type": kind, "message": str(error), "faults": faults, "exit_code": code}


def from_record(record: dict[str, Any]) -> SweeperError:
    """Return the error of a record of `to_record`; a SweeperError if its class is unknown."""
    if record["faults"] is not None:
        return FileFaults(Fault(**fault) for fault in record["faults"])
    kinds = {kind.__name__: kind for kind in SweeperError.__subclasses__()}
    error = kinds.get(record["type"], SweeperError)(record["message"])
    error.exit_code = record["exit_code"]  # that of a signal
    return error


def storage_fault(error: OSError) -> StorageFull | None:
    """Return the StorageFull for a refusing disk; None for any other kind of error."""
    if error.errno not in NOT_TAKEN:
        return None
    named = isinstance(error.filename, str | os.PathLike)
    place = f"{os.fspath(error.filename)}: " if named else ""
    return StorageFull(
        f"{place}{os.strerror(error.errno).lower()}. Free space, or work in a folder that can be "
        "written."
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise errors of writing a file as those of a user, or of a disk."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {path}: {path.parent} is no folder.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file in it.") from error
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}.") from error
