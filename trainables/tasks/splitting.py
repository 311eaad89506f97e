"""Random order of rows, and a validation split of a tenth of the training samples.

The published sets have no validation split, or their official code validates on the test set. The
rows of every split are shuffled, so that any prefix of a split is a random subset.
"""

from typing import NamedTuple

import numpy as np
import torch

from trainables.errors import DataError
from trainables.seeding import generator
from trainables.tasks.store.split import SplitData

VAL_FRACTION = 0.1


def shuffled(count: int, seed: int, *scope: str) -> np.ndarray:
    """Return 0..count-1 in an order that `seed` and `scope` determine: int64 [count]."""
    return torch.randperm(count, generator=generator(seed, *scope)).numpy()


def hold_out(count: int, seed: int, *scope: str) -> dict[str, np.ndarray]:
    """Return the shuffled indices of `train` and `val`. `val` has a tenth, and at least one.

    Raises:
        DataError: There are fewer than two samples.
    """
    if count < 2:
        raise DataError(
            f"{'/'.join(scope)}: {count} training samples, but two at least are needed, for "
            "training and for validation. Import the whole published set."
        )
    order = shuffled(count, seed, *scope)
    num_val = max(1, round(count * VAL_FRACTION))
    return {"train": order[num_val:], "val": order[:num_val]}


def hold_out_of_each(classes: np.ndarray, seed: int, *scope: str) -> dict[str, np.ndarray]:
    """Return the shuffled indices of `train` and `val`. `val` has a tenth of each class.

    A class with two samples or more has at least one in `val`.

    `classes` [n] has the class of each sample.

    Raises:
        DataError: No class has two samples.
    """
    order = shuffled(len(classes), seed, *scope)
    validates = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        members = order[classes[order] == label]
        if len(members) > 1:
            validates[members[: max(1, round(len(members) * VAL_FRACTION))]] = True
    if not validates.any():
        raise DataError(
            f"{'/'.join(scope)}: no class has two training samples, one to train on and one to "
            "validate. Import the whole published set."
        )
    return {"train": order[~validates[order]], "val": order[validates[order]]}


def uniforms(shape: tuple[int, ...], seed: int, *scope: str) -> np.ndarray:
    """Draw float64 numbers from U(0, 1) in the given shape."""
    drawn = torch.rand(shape, generator=generator(seed, *scope), dtype=torch.float64)
    return drawn.numpy()


class Labelled(NamedTuple):
    """Inputs [n, ...] and outputs [n, ...] of a published part, in memory."""

    x: np.ndarray
    y: np.ndarray


def split_published(
    train: Labelled, test: Labelled, *, by_class: bool, seed: int, scope: str
) -> dict[str, SplitData]:
    """Return the splits, each in random order. The validation split is a tenth of `train`.

    `sample_id` numbers the published samples, first those of training, then those of test.

    `by_class` holds out a tenth of each class instead of a tenth of all samples.

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
