"""JPEG and PNG files as arrays, decoded by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainables.errors import DataError
from trainables.tasks.formats.files import open_regular

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # per channel, of pixels in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_SIDE = 2048  # maximal pixels per side; published images have at most 500
FORMATS = ("JPEG", "PNG")
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(path: Path) -> Image.Image:
    """Decode an image completely.

    Other formats are refused, because Pillow's decoder of EPS would run an external program.

    Raises:
        DataError: The file is missing, truncated, too large, or neither JPEG nor PNG.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                size = f"{image.width} x {image.height} pixels"
                raise ValueError(f"{size}, more than {MAX_SIDE} a side")
            # Pillow decodes lazily, and damage has to show while the file is open.
            image.load()
            return image
    except DAMAGE as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Unpack it anew.") from None


def to_planes(image: Image.Image) -> np.ndarray:
    """Return red, green and blue as uint8 [3, height, width], three equal planes if grey."""
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
