"""Image files as arrays: JPEG and PNG, decoded by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainables.errors import DataError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "read_image", "to_planes"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # per channel, of pixels in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(path: Path) -> Image.Image:
    """Decodes an image to the end.

    Raises:
        DataError: The file is missing, cut short or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except DAMAGE as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Unpack it anew.") from None


def to_planes(image: Image.Image) -> np.ndarray:
    """Returns red, green and blue, uint8 [3, height, width]; a grey image has three alike."""
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
