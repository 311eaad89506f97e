"""Tags and notes of a sweep, kept in its ledger and shown on its run in MLflow."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Message
from sweeper.errors import NotFound, SweeperError, UsageError, unknown
from sweeper.ledger import Ledger, SweepRecord
from sweeper.ledger.records import Remark
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import existing, started
from sweeper.spec.faults import shown
from sweeper.text import written

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
MAX_VALUE, MAX_NOTE = 200, 2000  # characters


@dataclass(frozen=True, kw_only=True)
class Tags(Message):
    """All tags of a sweep."""

    sweep: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Notes(Message):
    """All notes of a sweep."""

    sweep: str
    remarks: tuple[Remark, ...]


def tag(name: str, words: Sequence[str], removed: Sequence[str]) -> Tags:
    """Set and remove tags of a sweep, and return all that it has.

    Args:
        name: Name of the sweep.
        words: Tags to set, each written NAME or NAME=VALUE.
        removed: Names of tags to remove.

    Raises:
        NotFound: There is no such sweep, or no such tag to remove.
        UsageError: A word is not a valid tag.
    """
    tags = dict(map(parse_tag, words))
    folder = existing(name)
    with started(folder) as (ledger, record):
        known = ledger.tags()
        for each in removed:
            if each not in known:
                raise NotFound(unknown("tag", each, known) if known else f"`{name}` has no tags.")
        # A tag with the value None is removed.
        ledger.set_tags({**tags, **dict.fromkeys(removed)})
        late = _ship(folder, ledger, record) if tags or removed else ""
        found = ledger.tags()
    text = written(found) or f"`{name}` has no tags"
    return Tags(message=f"{text}{late}", sweep=name, tags=found)


def note(name: str, text: str | None) -> Notes:
    """Add a note to a sweep, and return all notes that it has.

    With `text` None no note is added.

    Raises:
        NotFound: There is no such sweep.
        UsageError: The note is empty, or too long.
    """
    if text is not None and not 0 < len(text.strip()) <= MAX_NOTE:
        raise UsageError(f"a note has 1 to {MAX_NOTE} characters.")
    folder = existing(name)
    with started(folder) as (ledger, record):
        late = ""
        if text is not None:
            ledger.remark(text.strip())
            late = _ship(folder, ledger, record)
        found = ledger.remarks()
    lines = [str(each) for each in found] or [f"`{name}` has no notes"]
    return Notes(message="\n".join(lines) + late, sweep=name, remarks=tuple(found))


def parse_tag(word: str) -> tuple[str, str]:
    """Return the name and the value of a tag written as NAME or NAME=VALUE.

    Raises:
        UsageError: It is not a valid tag.
    """
    name, _, value = word.partition("=")
    if not TAG.fullmatch(name):
        raise UsageError(f"tag {shown(name)}: a name has 1 to 63 of letters, digits, _, . and -.")
    if len(value) > MAX_VALUE or not value.isprintable():
        raise UsageError(f"tag {name}: a value has at most {MAX_VALUE} characters of one line.")
    return name, value


def _ship(folder: Path, ledger: Ledger, record: SweepRecord) -> str:
    """Show tags and notes on the sweep's run; return a line if MLflow does not have the run yet."""
    from sweeper.driver.recorder import make_recorder  # slow, and `status` imports this module
    from sweeper.planning import resuming

    with suppress(SweeperError):  # the ledger has them; the next `sync` reports the error
        places = CheckpointPaths.recorded(folder, record.resolved)
        if make_recorder(ledger, resuming.from_record(record), places).describe():
            return ""
    return f"\nMLflow does not show it yet; to record it there: sweeper sync {record.name}"
