"""Another division of the imported samples of an own task, as an import with another seed makes it.

Samples that the task file divides by shares are divided anew. Splits of files, of arrays or of a
column stay as they are. Nothing is written: a split is a view of the stored ones. Inputs keep the
standardisation, and the means in the place of missing values, of the import.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.own.dividing import divide
from trainables.tasks.store.rows import PickedRows
from trainables.tasks.store.split import SPLITS, Split
from trainables.tasks.store.store import Store


class Redivided:
    """The samples of each split after another division, and a hash of it.

    Args:
        rows: Numbers of the samples [n] in the order of the given files, by split.
    """

    def __init__(self, store: Store, rows: Mapping[str, np.ndarray]) -> None:
        self._parts = [getattr(store, split) for split in SPLITS]
        stored = np.concatenate([part.sample_id for part in self._parts])
        self._places = np.argsort(stored)  # of each sample in the stored splits, one after another
        self._rows = rows

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each split."""
        return {split: len(rows) for split, rows in self._rows.items()}

    @property
    def digest(self) -> str:
        """A hash of the samples of all splits, in their order."""
        content = hashlib.sha256()
        for split in SPLITS:
            content.update(np.append(len(self._rows[split]), self._rows[split]).tobytes())
        return content.hexdigest()[:16]

    def head(self, split: str, samples: int) -> Split:
        """Return the first samples of a split; the outputs are copied, and the inputs are not."""
        rows = self._rows[split][:samples]
        x, y = (
            PickedRows([getattr(part, name) for part in self._parts], self._places[rows])
            for name in ("x", "y")
        )
        return Split(x=x, y=y[:], sample_id=rows)


def redivide(store: Store, definition: TaskDefinition, seed: int) -> Redivided:
    """Return the division of imported samples that an import with `splits.seed: seed` makes.

    Args:
        store: The imported data.
        definition: The task file, which divides samples by shares (`Splits.shares`).
        seed: Of the division.

    Raises:
        TaskDataError: A class or the groups cannot be divided with this seed.
    """
    columns = {split: store.columns(split) for split in SPLITS}
    # Back to the order of the given files, on which the draw of an import depends.
    order = np.argsort(np.concatenate([columns[split]["sample_id"] for split in SPLITS]))
    given = {"val", "test"} - definition.splits.shares
    # Samples of shares go back to "train", from which an import takes shares.
    of = [np.full(len(columns[s]["sample_id"]), s if s in given else "train") for s in SPLITS]
    classes = None
    if definition.kind == "classification":
        classes = np.concatenate([getattr(store, split).y for split in SPLITS])[order]
    groups = None
    if definition.splits.group is not None:
        groups = np.concatenate([columns[split]["group"] for split in SPLITS])[order]
    division = divide(
        definition.splits.model_copy(update={"seed": seed}),
        definition.name,
        np.concatenate(of)[order],
        groups=groups,
        classes=classes,
    )
    return Redivided(store, division.rows)
