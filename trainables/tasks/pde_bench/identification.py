"""Which edition of a published file one has, and whether it is of the task.

Files were published anew: advection, for one, moved at half its stated speed until its authors
corrected it in September 2023. An older edition is no fault, but numbers on it do not compare with
others', so that the manifest says which it is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainables.tasks.formats.checksums import md5_note
from trainables.tasks.formats.hdf5 import damaged
from trainables.tasks.pde_bench.published_files import PUBLISHED, PublishedFile
from trainables.tasks.problem import Problem

__all__ = ["check_attributes", "check_md5", "check_speed"]

RELATIVE_TOLERANCE = 1e-5  # of a parameter that may be stored in single precision
MOST_UNEXPLAINED = 0.3  # of an output, where its input was moved


def check_md5(path: Path, published: PublishedFile) -> tuple[dict[str, Any], list[str]]:
    """Returns the file's MD5 sum, and a note where it is not the published one."""
    md5, notes = md5_note(path, published.md5)
    return {"md5": md5}, notes


def check_attributes(
    file: Any, published: PublishedFile, problem: Problem
) -> tuple[dict[str, Any], list[str]]:
    """Returns the parameters that a file states, and a note for each that it does not.

    Raises:
        DataError: One is not the task's, or of another, so that this is a file of another task.
    """
    others = {name for file in PUBLISHED.values() for name in file.attributes}
    if foreign := sorted(others.difference(published.attributes).intersection(file.attrs)):
        raise damaged(file.filename, f"it states {foreign[0]}, as files of another task do")
    stated, notes = {}, []
    for attribute, name in published.attributes.items():
        expected = float(getattr(problem, name))
        value = _number(file.attrs, attribute)
        if value is None:
            notes.append(f"{Path(file.filename).name}: it does not state `{attribute}`.")
        elif not np.isclose(value, expected, rtol=RELATIVE_TOLERANCE, atol=0):
            raise damaged(
                file.filename, f"it states {attribute} = {value:g}, but the task has {expected:g}"
            )
        else:
            stated[attribute] = value
    return {"attributes": stated}, notes


def check_speed(
    path: Path, x: np.ndarray, y: np.ndarray, speed: float, time: float
) -> tuple[dict[str, Any], list[str]]:
    """Returns at which speed inputs [n, 1, m] became outputs: the stated one, or half of it.

    Raises:
        DataError: At neither.
    """
    unexplained = {each: _unexplained(x, y, each * time) for each in (speed, speed / 2)}
    found = min(unexplained, key=lambda each: unexplained[each])
    if unexplained[found] > MOST_UNEXPLAINED:
        raise damaged(
            path,
            f"moving the inputs at speed {speed:g} leaves {unexplained[speed]:.0%} of the outputs "
            f"unexplained, and at {speed / 2:g} {unexplained[speed / 2]:.0%}",
        )
    if found == speed:
        return {"speed": speed}, []
    note = (
        f"{path.name}: its fields move at {found:g}, half the stated speed, as in files of before "
        "September 2023. Numbers compare only with those on such a file."
    )
    return {"speed": found}, [note]


def _unexplained(x: np.ndarray, y: np.ndarray, distance: float) -> float:
    """Returns the relative error of moved inputs, which are periodic on [0, 1)."""
    points = np.arange(x.shape[-1]) / x.shape[-1]
    moved = np.stack([np.interp(points - distance, points, row, period=1.0) for row in x[:, 0]])
    spread = np.square(y[:, 0] - y[:, 0].mean(axis=1, keepdims=True)).sum()
    error = np.square(moved - y[:, 0]).sum()
    return float(np.sqrt(error / spread)) if spread else 0.0


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    try:
        return float(np.asarray(attributes[name]).item())
    except (KeyError, ValueError, TypeError, OSError):
        return None
