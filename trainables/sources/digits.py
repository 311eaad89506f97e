"""Handwritten digits as a source of images: on every machine, since scikit-learn ships them.

1797 grey images of 8 x 8, pixels 0..16, ten classes (Alpaydin and Kaynak, UCI, 1998). Scaled to
0..255 and repeated over three channels, so that a backbone of colour images takes them.

`digits_ink` has masks too, a dense source. The foreground is the ink: a pixel whose value is above
half of the range.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.proxy import BACKGROUND, FOREGROUND, ImageProxy, hash_content
from trainables.sources.registry import PROXIES

__all__ = ["find_digits_fault", "find_digits_ink_fault", "load_digits", "load_digits_ink"]


def load_digits(home: Path) -> ImageProxy:
    """Read the digits; `home` is not used, since they come with a package.

    Raises:
        DataError: scikit-learn is not installed.
    """
    if fault := find_digits_fault(home):
        raise DataError(fault)
    from sklearn.datasets import load_digits as read_digits

    grey, labels = read_digits(return_X_y=True)
    pixels = np.rint(grey.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = np.repeat(pixels, 3, axis=1)
    labels = labels.astype(np.int64)
    mean, std = float((pixels / 255).mean()), float((pixels / 255).std())
    return ImageProxy(
        name="digits",
        images=images,
        labels=labels,
        mean=(mean, mean, mean),
        std=(std, std, std),
        content_hash=hash_content("digits", images, labels),
    )


def find_digits_fault(home: Path) -> str | None:
    """Return what keeps the digits from loading, or None."""
    del home
    if find_spec("sklearn") is None:
        return f"digits: scikit-learn is not installed. {PROXIES['digits'].obtain}."
    return None


HALF = 128  # grey 8 of 16, as `digits` rounds it


def load_digits_ink(home: Path) -> ImageProxy:
    """Read the digits and their masks; `home` is not used, since they come with a package.

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
    """Return what keeps the digits from loading, or None."""
    fault = find_digits_fault(home)
    return f"digits_ink: made of `digits`. {fault}" if fault else None
