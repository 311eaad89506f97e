"""Launches that go on without their command: on this machine, or as a job of a cluster."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from sqlalchemy import make_url

from sweeper.commands.launch import check
from sweeper.commands.logs import LAUNCH_LOG, PREFIX
from sweeper.commands.result import Message
from sweeper.errors import SweeperError
from sweeper.planning import child
from sweeper.planning.load import Options
from sweeper.planning.sweep_folder import forget, has_ledger, open_ledger, without_password

SETTLES_S = 20.0  # most errors show within this time; after it the launch is left alone
POLL_S = 0.2


class EndedAtOnce(SweeperError):
    """A launch in the background that ended before it was left alone."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


@dataclass(frozen=True, kw_only=True)
class Detached(Message):
    """A launch that runs in the background, or has already finished there."""

    sweep: str
    folder: Path
    pid: int
    log: Path
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Sent(Message):
    """A sweep that was sent to a cluster; its place is known if the command did not wait."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"name", "address", "workdir", "job", "insecure"}
    )

    sweep: str
    exit_code: int
    name: str | None = None
    address: str | None = None
    workdir: str | None = None
    job: str | None = None
    insecure: bool | None = None


def send(
    file: Path, options: Options, *, workdir: Path | None, detach: bool, console: Console
) -> Sent:
    """Send the sweep of `file` to the cluster at `options.address`, as a Ray Job.

    Args:
        file: The sweep file.
        options: Command-line options that change what it says.
        workdir: The folder of the sweep on the cluster; None: of the same path as this folder.
        detach: Return once the cluster accepts the job; otherwise wait until it ends.
        console: Receives the output of the job until it ends.

    Raises:
        FileFaults: The file is invalid; nothing was sent.
        BackendUnreachable: The cluster does not answer.
    """
    from sweeper.driver import remote

    place, code = remote.launch(file, options, workdir=workdir, detach=detach, console=console)
    if code is not None:
        return Sent(message=f"job {place.job} ended", sweep=place.name, exit_code=code)
    text = (
        f"sent `{place.name}` to {place.address} as job {place.job}; follow it with: "
        f"sweeper logs -f {place.name}"
    )
    return Sent.of(place, message=text, sweep=place.name, exit_code=0)


def launch(file: Path, options: Options, *, console: Console) -> Detached:
    """Launch the sweep of `file` in the background, and return once it runs.

    Raises:
        SweeperError: Nothing was started.
        EndedAtOnce: The launch started, and ended with an error within seconds.
    """
    sweep, folder = check(file, options, console)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LAUNCH_LOG
    words, extra = launch_words(file, options)
    words = [*words, "--address", options.address]
    with log.open("ab") as output:
        # The log may have the output of earlier launches.
        begins = output.tell()
        process = subprocess.Popen(
            [*child.command("sweeper.cli.main"), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child.environment(**extra),
            start_new_session=True,  # a terminal that hangs up does not reach it
        )
    follow = f"sweeper logs -f {sweep.name}"
    text = (
        f"`{sweep.name}` runs in the background (process {process.pid}); follow it with: {follow}"
    )
    code = _ends_early(process, folder, options.storage)
    if code is not None:
        text = _printed(log, begins)
        # Without an error the sweep was finished already, or took seconds.
        if code:
            # A refused launch leaves nothing behind, but a folder that was there before stays.
            if is_new and not has_ledger(folder):
                forget(folder, LAUNCH_LOG)
            raise EndedAtOnce(text or f"the launch ended with exit code {code}.", code)
    return Detached(
        message=text if code is not None else f"{text}\nits output: {log}",
        sweep=sweep.name,
        folder=folder,
        pid=process.pid,
        log=log,
    )


def launch_words(file: Path, options: Options) -> tuple[Sequence[str], dict[str, str]]:
    """Return the arguments of a launch, and the secrets that go into its environment instead.

    The address of the cluster is left to the caller.
    """
    words = ["launch", str(file), "--profile", options.profile]
    for setting in options.sets:
        words += ["--set", setting]
    for option, value in (("--trials", options.trials), ("--name", options.name)):
        words += [option, str(value)] if value is not None else []
    words += ["--insecure"] if options.insecure else []
    for path in options.include:
        words += ["--include", str(path)]
    if options.storage is None:
        return words, {}
    # All users of this machine can read the command line of a process.
    password = make_url(options.storage).password
    words += ["--storage", without_password(options.storage)]
    return words, {} if password is None else {"PGPASSWORD": str(password)}


def _ends_early(process: subprocess.Popen[bytes], folder: Path, storage: str | None) -> int | None:
    """Wait until a launch runs its sweep, for some seconds; return its exit code if it ended."""
    deadline = time.monotonic() + SETTLES_S
    while time.monotonic() < deadline and process.poll() is None:
        if has_begun(process.pid, folder, storage):
            return None
        time.sleep(POLL_S)
    return process.returncode


def has_begun(pid: int, folder: Path, storage: str | None) -> bool:
    """Return whether the launch with this process number has begun to run its sweep."""
    if not has_ledger(folder):
        return False
    with suppress(SweeperError), closing(open_ledger(folder, storage)) as ledger:
        record, holder = ledger.sweep(), ledger.holder()
        is_running = record is not None and record.state == "running"
        # The lease may be that of another launch, by which this one is refused.
        return is_running and holder is not None and holder.pid == pid
    return False


def _printed(log: Path, begins: int) -> str:
    """Return the lines that a launch printed, without the prefix of errors."""
    with log.open("rb") as file:
        file.seek(begins)
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(line.removeprefix(PREFIX) for line in lines)
