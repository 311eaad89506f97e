"""A published training and test set, held in memory, as three splits."""

from typing import NamedTuple

import numpy as np

from trainables.tasks.store.order import hold_out, hold_out_of_each, shuffled
from trainables.tasks.store.store import SplitData

__all__ = ["Labelled", "split_published"]


class Labelled(NamedTuple):
    """Inputs [n, ...] and their outputs [n, ...]."""

    x: np.ndarray
    y: np.ndarray


def split_published(
    train: Labelled, test: Labelled, *, by_class: bool, seed: int, scope: str
) -> dict[str, SplitData]:
    """Returns the splits, each in random order; a tenth of the training set validates.

    `sample_id` numbers the published samples: those to train on, then those to test on.

    Args:
        by_class: Holds out a tenth of each class, and not just of all.

    Raises:
        DataError: There are too few samples.
    """
    rows = (
        hold_out_of_each(train.y, seed, scope, "train")
        if by_class
        else hold_out(len(train.y), seed, scope, "train")
    )
    splits = {
        split: SplitData(sample_id=chosen, x=train.x[chosen], y=train.y[chosen])
        for split, chosen in rows.items()
    }
    order = shuffled(len(test.y), seed, scope, "test")
    splits["test"] = SplitData(sample_id=len(train.y) + order, x=test.x[order], y=test.y[order])
    return splits
