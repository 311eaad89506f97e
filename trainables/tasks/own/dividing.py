"""The division of samples into splits: by files, by a column, or by shares.

Shares are drawn by scikit-learn's splitters: stratified by class, or by group. Every split is in
random order, so that any prefix of it is a random subset.

Shapes: n = samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from trainables.errors import TaskDataError
from trainables.seeding import derive_seed
from trainables.tasks.own.definition import Splits
from trainables.tasks.store.split import SPLITS

GROUPS_SHOWN = 3


@dataclass(frozen=True)
class Division:
    """The samples of each split, in random order, and remarks for the manifest."""

    rows: Mapping[str, np.ndarray]  # int64, by split
    notes: tuple[str, ...] = ()


def divide(
    wanted: Splits,
    name: str,
    by_file: np.ndarray,
    *,
    column: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Division:
    """Divide samples into `train`, `val` and `test`.

    Args:
        wanted: The part `splits` of the task file.
        name: Name of the task, which the random order depends on.
        by_file: Split of the file of each sample [n]; shares are taken from "train".
        column: Split of each sample [n], as its column states.
        groups: Group of each sample [n].
        classes: Class of each sample [n], for stratified shares.
        names: Names of the classes, for remarks.

    Raises:
        TaskDataError: A split would be empty, a group would be in two splits, or a class has too
            few samples.
    """
    of = by_file.copy() if column is None else _of_column(column, wanted.column)
    pool = int((of == "train").sum())  # before any share is taken
    for split, share in _shares(of, wanted).items():
        _take_share(of, split, share * pool, wanted, name, groups, classes)
    if groups is not None:
        _check_groups(of, groups, wanted.group)
    rows = {}
    for split in SPLITS:
        chosen = np.flatnonzero(of == split)
        if not len(chosen):
            raise TaskDataError(f"{name}: the {split} split has no sample.", ("splits",))
        # Each split has its own stream, so that a change of one changes no other.
        rng = np.random.default_rng(derive_seed(wanted.seed, name, "order", split))
        rows[split] = rng.permutation(chosen)
    return Division(rows, _absent_classes(rows, classes, names))


def _of_column(column: np.ndarray, name: str | None) -> np.ndarray:
    of = column.astype(str)
    key = ("splits", "column")
    if strange := sorted(set(of) - set(SPLITS)):
        raise TaskDataError(
            f"column `{name}`: values must be train, val or test, but one is `{strange[0]}`.", key
        )
    if not (of == "train").any():
        raise TaskDataError(f"column `{name}`: no sample is for training.", key)
    return of


def _shares(of: np.ndarray, wanted: Splits) -> dict[str, float]:
    """Return the shares of the splits that no file and no column gives.

    Raises:
        TaskDataError: A share is no part of the samples, or together they leave none to train.
    """
    # Test comes first, so that another share for validation leaves the test split as it is.
    given = {"test": wanted.test, "val": wanted.val}
    shares = {
        split: share
        for split, share in given.items()
        if isinstance(share, float | int) and not (of == split).any()
    }
    for split, share in shares.items():
        if not 0 < share < 1:
            raise TaskDataError(
                f"`splits.{split}: {share:g}` must be a share above 0 and below 1, such as 0.1.",
                ("splits", split),
            )
    total = sum(shares.values())
    if total >= 1:
        parts = " and ".join(f"`{split}: {share:g}`" for split, share in shares.items())
        raise TaskDataError(
            f"`splits`: {parts} sum to {total:g}, which leaves {1 - total:g} for `train`. Lower "
            "them, such as `{val: 0.1, test: 0.2}`: what they leave trains.",
            ("splits",),
        )
    return shares


def _take_share(
    of: np.ndarray,
    split: str,
    samples: float,
    wanted: Splits,
    name: str,
    groups: np.ndarray | None,
    classes: np.ndarray | None,
) -> None:
    """Move about `samples` samples from "train" to `split`."""
    key = ("splits", split)
    pool = np.flatnonzero(of == "train")
    count = max(1, round(samples))
    if count >= len(pool):
        raise TaskDataError(
            f"{name}: {len(pool)} samples are too few to take {count} of them for {split}.", key
        )
    # scikit-learn takes seeds below 2^32.
    seed = derive_seed(wanted.seed, name, "split", split) % 2**32
    if groups is not None:
        chosen = _grouped(groups[pool], count / len(pool), seed, wanted.group, split)
    elif classes is not None and wanted.stratified:
        chosen = _stratified(classes[pool], count, seed, split)
    else:
        chosen = next(ShuffleSplit(1, test_size=count, random_state=seed).split(pool))[1]
    of[pool[chosen]] = split


def _grouped(
    groups: np.ndarray, share: float, seed: int, name: str | None, split: str
) -> np.ndarray:
    found = len(np.unique(groups))
    if found < 2:
        raise TaskDataError(
            f"`splits.group`: `{name}` leaves {found} group to divide between train and {split}. "
            "Three groups at least are needed, or files of each split.",
            ("splits", "group"),
        )
    # The splitter counts whole groups, of which one at least has to be left for training.
    size = min(found - 1, max(1, round(share * found)))
    chosen: np.ndarray = next(
        GroupShuffleSplit(1, test_size=size, random_state=seed).split(groups, groups=groups)
    )[1]
    return chosen


def _stratified(classes: np.ndarray, count: int, seed: int, split: str) -> np.ndarray:
    numbers = np.bincount(classes)
    present = int((numbers > 0).sum())
    key = ("splits", "stratified")
    if (numbers == 1).any():
        raise TaskDataError(
            f"class number {int((numbers == 1).argmax())} has a single sample to divide between "
            f"train and {split}. Add samples, or set `splits: {{stratified: false}}`.",
            key,
        )
    if count < present or len(classes) - count < present:
        raise TaskDataError(
            f"{count} of {len(classes)} samples are too few for {split} to have each of {present} "
            "classes. Take a larger share, or set `splits: {stratified: false}`.",
            key,
        )
    chosen: np.ndarray = next(
        StratifiedShuffleSplit(1, test_size=count, random_state=seed).split(classes, classes)
    )[1]
    return chosen


def _check_groups(of: np.ndarray, groups: np.ndarray, name: str | None) -> None:
    seen: dict[str, set[object]] = {s: set(np.unique(groups[of == s]).tolist()) for s in SPLITS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if both := sorted(map(str, seen[one] & seen[other])):
            shown = ", ".join(f"`{group}`" for group in both[:GROUPS_SHOWN])
            raise TaskDataError(
                f"`{name}`: {len(both)} groups are in {one} and in {other}, such as {shown}. "
                "Divide the files or the column by whole groups.",
                ("splits", "group"),
            )


def _absent_classes(
    rows: Mapping[str, np.ndarray], classes: np.ndarray | None, names: Sequence[str]
) -> tuple[str, ...]:
    """Return remarks on classes that are never trained on, or never scored."""
    if classes is None:
        return ()
    present = {split: set(np.unique(classes[rows[split]]).tolist()) for split in SPLITS}
    scored = present["val"] | present["test"]
    absent = {
        f"{split} samples, but no training sample": present[split] - present["train"]
        for split in ("val", "test")
    }
    absent["no test sample, never scored there"] = scored - present["test"]
    absent["training samples alone, never scored"] = present["train"] - scored
    return tuple(
        f"{len(found)} class{'es' * (len(found) > 1)} with {what}, such as "
        f"`{names[min(found)] if names else min(found)}`"
        for what, found in absent.items()
        if found
    )
