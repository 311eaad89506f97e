"""Notes of sweeps that were sent to a cluster, where commands about them have to run."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import SweeperError, UsageError

NOTE = "remote.json"  # in the sweep's folder here
IN_JOB = "SWEEPER_ADDRESS"  # set on the cluster: which cluster a command there means


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where a sweep is that was sent to a cluster."""

    name: str
    address: str  # of the dashboard, http://HEAD:8265
    workdir: str  # on the cluster
    job: str  # that launched it
    insecure: bool = False  # sent although others reach that cluster, and it asks for no token


class IsElsewhere(SweeperError):
    """The sweep that a command names lives on a cluster, where the command has to run."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        super().__init__(f"sweep `{remote.name}` is on the cluster at {remote.address}.")
        self.remote, self.folder = remote, folder


def forget(folder: Path) -> None:
    """Remove the note of a sweep that was deleted on its cluster, and its folder if it is empty."""
    (folder / NOTE).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def note_of(folder: Path) -> Remote | None:
    """Returns where the sweep of this folder was sent, if it was; on the cluster itself, None.

    Raises:
        UsageError: The note of it is damaged.
    """
    note = folder / NOTE
    if IN_JOB in os.environ or not note.is_file():
        return None
    try:
        return Remote(**json.loads(note.read_text()))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{note}: no note of where the sweep is ({error}). Remove {folder}, and launch its "
            "file again: on the cluster it goes on."
        ) from error


def check_here(folder: Path) -> None:
    """Sees that the sweep of this folder was not sent away: here it would run a second time.

    Raises:
        UsageError: It was; the text says where it is, and how it is steered.
    """
    remote = note_of(folder)
    if remote is not None:
        name, address = remote.name, remote.address
        raise UsageError(
            f"sweep `{name}` is on the cluster at {address}, in {remote.workdir}. Go on with it "
            f"there by `sweeper resume {name}` or --address {address}, steer it from here by "
            f"`sweeper status {name}`, `logs -f` or `stop`, or launch under another --name."
        )
