"""Tags and notes that people put on a sweep: in its ledger, and on its run in MLflow."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.config.faults import shown
from sweeper.driver.recorder import make_recorder
from sweeper.errors import NotFound, SweeperError, UsageError, unknown
from sweeper.ledger import Ledger, SweepRecord
from sweeper.planning import load
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import existing, started
from sweeper.text import written

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
LONGEST_VALUE, LONGEST_NOTE = 200, 2000  # characters


def tag(name: str, words: Sequence[str], removed: Sequence[str]) -> dict[str, Any]:
    """Set tags of a sweep, NAME or NAME=VALUE, remove others, and return all that it has.

    Raises:
        NotFound: There is no such sweep, or no tag that is to be removed.
        UsageError: A word makes no tag.
    """
    tags = dict(map(parse_tag, words))
    folder = existing(name)
    with started(folder) as (ledger, record):
        known = ledger.tags()
        for each in removed:
            if each not in known:
                raise NotFound(unknown("tag", each, known) if known else f"`{name}` has no tags.")
        ledger.set_tags({**tags, **dict.fromkeys(removed)})
        late = _ship(folder, ledger, record) if tags or removed else ""
        found = ledger.tags()
    text = written(found) or f"`{name}` has no tags"
    return {"message": f"{text}{late}", "sweep": name, "tags": found}


def note(name: str, text: str | None) -> dict[str, Any]:
    """Add a note to a sweep, and return all that it has.

    Raises:
        NotFound: There is no such sweep.
        UsageError: The note is empty, or too long.
    """
    if text is not None and not 0 < len(text.strip()) <= LONGEST_NOTE:
        raise UsageError(f"a note has 1 to {LONGEST_NOTE} characters.")
    folder = existing(name)
    with started(folder) as (ledger, record):
        late = ""
        if text is not None:
            ledger.remark(text.strip())
            late = _ship(folder, ledger, record)
        found = ledger.remarks()
    lines = [str(each) for each in found] or [f"`{name}` has no notes"]
    return {
        "message": "\n".join(lines) + late,
        "sweep": name,
        "remarks": [vars(each) for each in found],
    }


def parse_tag(word: str) -> tuple[str, str]:
    """Return the name and the value of a tag that is written as NAME or NAME=VALUE.

    Raises:
        UsageError: It is written otherwise.
    """
    name, _, value = word.partition("=")
    if not TAG.fullmatch(name):
        raise UsageError(f"tag {shown(name)}: a name has 1 to 63 of letters, digits, _, . and -.")
    if len(value) > LONGEST_VALUE or not value.isprintable():
        raise UsageError(f"tag {name}: a value has at most {LONGEST_VALUE} characters of one line.")
    return name, value


def _ship(folder: Path, ledger: Ledger, record: SweepRecord) -> str:
    """Show tags and notes on the sweep's run; return a line where MLflow does not have it yet."""
    with suppress(SweeperError):  # the ledger has it, and the next `sync` says what is wrong
        places = CheckpointPaths.recorded(folder, record.resolved)
        if make_recorder(ledger, load.from_record(record), places).describe():
            return ""
    return "\nMLflow does not show it yet: it does once it has the sweep, or by `sweeper sync`."
