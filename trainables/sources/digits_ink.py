"""Handwritten digits with masks: a dense source on every machine. The foreground is the ink.

The images and labels of `digits`; a pixel is ink where its value is above half of the range.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.content import hash_content
from trainables.sources.digits import find_digits_fault, load_digits
from trainables.sources.proxy import BACKGROUND, FOREGROUND, ImageProxy

__all__ = ["find_digits_ink_fault", "load_digits_ink"]

HALF = 128  # grey 8 of 16, as `digits` rounds it


def load_digits_ink(home: Path) -> ImageProxy:
    """Reads the digits and their masks; `home` is not used, since they come with a package.

    Raises:
        DataError: scikit-learn is not installed.
    """
    if fault := find_digits_ink_fault(home):
        raise DataError(fault)
    digits = load_digits(home)
    ink = digits.images[:, 0] > HALF
    masks = np.where(ink, FOREGROUND, BACKGROUND).astype(np.uint8)
    content_hash = hash_content("digits_ink", digits.images, digits.labels, masks)
    return replace(digits, name="digits_ink", masks=masks, content_hash=content_hash)


def find_digits_ink_fault(home: Path) -> str | None:
    """Returns what keeps the digits from loading, or None."""
    fault = find_digits_fault(home)
    return f"digits_ink: made of `digits`. {fault}" if fault else None
