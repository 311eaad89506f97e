"""Handwritten digits as a source of images. scikit-learn ships them, so no download is needed.

The data set has 1797 grey images of 8 x 8 pixels with values 0..16 and ten classes (Alpaydin and
Kaynak, UCI, 1998). The pixels are scaled to 0..255 and repeated over three channels, because the
backbones read colour images.

`digits_ink` is a dense source: it has masks too. The foreground is the ink, which are the pixels
above half of the range.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.proxy import BACKGROUND, FOREGROUND, ImageProxy, hash_content, hashed_images
from trainables.sources.registry import PROXIES


def load_digits(home: Path) -> ImageProxy:
    """Read the digits. `home` is not used, because a package holds the data.

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
    grey_mean, grey_std = (mean, mean, mean), (std, std, std)
    return hashed_images("digits", images, labels, mean=grey_mean, std=grey_std)


def find_digits_fault(home: Path) -> str | None:
    """Return the fault that prevents loading the digits, or None."""
    if find_spec("sklearn") is None:
        return f"digits: scikit-learn is not installed. {PROXIES['digits'].obtain}."
    return None


HALF = 128  # value of grey level 8 of 16 after the scaling of `digits`


def load_digits_ink(home: Path) -> ImageProxy:
    """Read the digits and their masks. `home` is not used, because a package holds the data.

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
    """Return the fault that prevents loading the digits, or None."""
    fault = find_digits_fault(home)
    return f"digits_ink: made of `digits`. {fault}" if fault else None
