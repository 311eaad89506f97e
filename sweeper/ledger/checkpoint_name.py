"""The name by which a ledger calls a checkpoint: `attempt-2/refine-0004`, within its trial's place.

A name holds wherever the folder or the store of a sweep is. Ledgers from before schema 4 hold whole
places; these end with the name, so that they are read the same way.
"""

import re
from dataclasses import dataclass

FORM = re.compile(r"(?:.*/)?attempt-([1-9][0-9]*)/([A-Za-z][A-Za-z0-9_]*)-([0-9]{4,})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class CheckpointName:
    """The state of a trial after an epoch of a stage, saved by one of its attempts."""

    attempt: int
    stage: str
    epoch: int

    @classmethod
    def parse(cls, place: str) -> "CheckpointName | None":
        """Return the name with which a path or a URL ends; None if it ends with none."""
        path = place.partition("?")[0] if "://" in place else place
        found = FORM.fullmatch(path)
        if found is None:
            return None
        return cls(attempt=int(found[1]), stage=found[2], epoch=int(found[3]))

    def __str__(self) -> str:
        return f"attempt-{self.attempt}/{self.stage}-{self.epoch:04d}"


def name_in(place: str) -> str:
    """Return the name with which a place ends, or the whole of a place that ends with none."""
    name = CheckpointName.parse(place)
    return place if name is None else str(name)
