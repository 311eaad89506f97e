"""The events of a sweep as lines, read from its ledger on any machine that reaches it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Result
from sweeper.ledger import Event, EventKind
from sweeper.ledger.records import ClusterSize
from sweeper.model import TrialState, trial_name
from sweeper.planning.checkpoint_paths import folder_of_trial
from sweeper.planning.sweep_folder import CRASHED, existing, has_ledger, living_state, started
from sweeper.planning.trials import find_trial
from sweeper.text import number

POLL_S = 0.5
TICK_S = 0.02  # of the clock of files, at most
LOG = "log.txt"  # in the folder of an attempt: the output of its process
LAUNCH_LOG = "launch.log"  # in the sweep's folder: the output of launches in the background
MAX_BYTES_SHOWN = 8000  # of the end of that file
PREFIX = "sweeper: "  # of each line of an error message
PLAIN_TEXTS = {
    EventKind.ATTEMPT_STARTED: "attempt {attempt} starts",
    EventKind.TRIAL_REOPENED: "to be run again",
    EventKind.CHECKPOINT_DROPPED: "its checkpoint was deleted: {reason}",
    EventKind.NOTED: "{text}",
}


@dataclass(frozen=True, kw_only=True)
class Log(Result):
    """Lines about a sweep, or about one of its trials."""

    sweep: str
    trial: str | None
    lines: tuple[str, ...]


def follow(name: str, trial: str | None, *, forever: bool) -> Iterator[str]:
    """Yield the events of a sweep, or of one of its trials, as lines.

    Args:
        name: Name of the sweep.
        trial: Only this trial, with the output of its process if that is on this machine.
        forever: Wait for further events until the sweep ends.

    Raises:
        NotFound: There is no such sweep or trial.
    """
    folder = existing(name)
    if trial is None and not has_ledger(folder):  # a launch in the background that was refused
        yield from _last_error(folder, since=0.0)
    with started(folder) as (ledger, _):
        found = None if trial is None else find_trial(ledger, trial)
        study, only = (found.study, found.number) if found else (None, None)
        prints = _Prints(folder_of_trial(folder, found)) if found else None
        after, last = 0, 0.0
        while True:
            # This is asked before events are read, so that the last round has all of them.
            is_over = not forever or ledger.holder() is None
            while events := ledger.events(after, study=study, number=only):
                after, last = events[-1].seq, events[-1].at
                for event in events:
                    yield from _lines(event)
            if prints is not None:
                yield from prints.new()
            if is_over:
                if trial is None and ledger.holder() is None:
                    yield from _last_error(folder, since=last)
                record = ledger.sweep() if forever else None
                if record is not None and living_state(record, ledger) == CRASHED:
                    yield f"its driver died without a word; to go on: sweeper resume {name}"
                return
            time.sleep(POLL_S)


def _last_error(folder: Path, *, since: float) -> list[str]:
    """Return the error of the latest launch in the background, if it ended after `since`."""
    log = folder / LAUNCH_LOG
    try:
        # The clock of files ticks, so that a time may be before that of an earlier event.
        if log.stat().st_mtime + TICK_S < since:
            return []
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - MAX_BYTES_SHOWN))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    # An error ends the log, with one line for each of its faults.
    while lines and lines[-1].startswith(PREFIX):
        found.insert(0, lines.pop().removeprefix(PREFIX))
    return found


class _Prints:
    """New lines in the logs of a trial's attempts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[str]:
        paths = self._folder.glob(f"attempt-*/{LOG}")
        # By length first, so that attempt-10 comes after attempt-9.
        for path in sorted(paths, key=lambda each: (len(each.parent.name), each)):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            # The end of a line may not be written yet: it is shown once it is whole.
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                yield f"{path.parent.name} | {line}"


def _lines(event: Event) -> Iterator[str]:
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    trial = ""
    if event.study is not None and event.number is not None:
        trial = f"{trial_name(event.study, event.number)}: "
    for text in _texts(event):
        yield f"{at} {trial}{text}"


def _texts(event: Event) -> Iterator[str]:
    payload = event.payload
    match event.kind:
        case EventKind.SWEEP_STARTED:
            yield f"the sweep is driven by {payload.get('host', 'this machine')}"
        case EventKind.SWEEP_ENDED:
            yield _with_reason(f"the sweep is {payload['state']}", payload.get("reason"))
        case EventKind.MEASURED:
            epoch = f"{payload['stage']} {payload['epoch']}/{payload['num_epochs']}"
            yield epoch + _with_value(", ", payload.get("objective"))
        case EventKind.ATTEMPT_ENDED:
            what = payload.get("failure") or TrialState(payload["state"]).value
            yield _with_reason(f"attempt {event.attempt}: {what}", payload.get("reason"))
            yield from map("  {}".format, (payload.get("log") or "").splitlines())
        case EventKind.TRIAL_ENDED:
            yield payload["state"] + _with_value(", best ", payload.get("value"))
        case EventKind.CLUSTER_RESIZED:
            size = ClusterSize(**payload)
            yield f"{size}" + f", {size.waiting} trials waiting for nodes" * bool(size.waiting)
        case kind if kind in PLAIN_TEXTS:
            yield PLAIN_TEXTS[kind].format_map({**payload, "attempt": event.attempt})


def _with_value(lead: str, value: float | None) -> str:
    return "" if value is None else f"{lead}{number(value)}"


def _with_reason(text: str, reason: str | None) -> str:
    return f"{text} ({reason})" if reason else text
