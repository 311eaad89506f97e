"""Tiny-ImageNet as a source of images: 200 classes, 64 x 64 pixels (Le and Yang, CS231N 2015).

A class is a folder with the name of its WordNet synset. Labels follow the order of these names. The
data set has 100 000 training images, more than a source uses. The loader reads 10 000 of them: the
first images of each class in the order of their names.
"""

import re
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.image_files import IMAGENET_MEAN, IMAGENET_STD, read_image, to_planes
from trainables.sources.proxy import ImageProxy, hashed_images
from trainables.sources.registry import PROXIES, proxy_folder, way_to_import

SYNSET = re.compile(r"n\d{8}")
SHAPE = (3, 64, 64)
CLASSES = 200
IMAGES = 10_000  # maximal number over all classes


def load_tiny_imagenet(home: Path) -> ImageProxy:
    """Read the training images from `home/proxies/tiny_imagenet`.

    Raises:
        DataError: A class has no images, or an image is damaged or not 64 x 64.
    """
    if fault := find_tiny_imagenet_fault(home):
        raise DataError(fault)
    classes = _classes(home)
    chosen = [_images(folder)[: max(1, IMAGES // len(classes))] for folder in classes]
    images = np.stack([_read(path) for paths in chosen for path in paths])
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in chosen])
    return hashed_images("tiny_imagenet", images, labels, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def find_tiny_imagenet_fault(home: Path) -> str | None:
    """Return the fault that prevents loading Tiny-ImageNet, or None. Only names are read."""
    hint = way_to_import("tiny_imagenet")
    classes = _classes(home)
    if not classes:
        return f"tiny_imagenet: no classes (nXXXXXXXX) in {_folder(home)}. {hint}"
    if len(classes) > CLASSES:
        return f"tiny_imagenet: {_folder(home)} has {len(classes)} classes, not {CLASSES}. {hint}"
    empty = [folder for folder in classes if not _images(folder)]
    if empty:
        return f"tiny_imagenet: no .JPEG in {empty[0] / 'images'}. {hint}"
    return None


def _read(path: Path) -> np.ndarray:
    planes = to_planes(read_image(path))
    if planes.shape != SHAPE:
        raise DataError(
            f"{path}: an image must be {SHAPE[2]} x {SHAPE[1]}, but is {planes.shape[2]} x "
            f"{planes.shape[1]}: it is not Tiny-ImageNet. {PROXIES['tiny_imagenet'].obtain} anew."
        )
    return planes


def _folder(home: Path) -> Path:
    nested = proxy_folder("tiny_imagenet", home) / "tiny-imagenet-200"
    return (nested if nested.is_dir() else proxy_folder("tiny_imagenet", home)) / "train"


def _classes(home: Path) -> list[Path]:
    return sorted(path for path in _folder(home).glob("n*") if SYNSET.fullmatch(path.name))


def _images(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.JPEG"))
