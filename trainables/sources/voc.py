"""PASCAL VOC 2012 (segmentation, training) as a dense source (Everingham et al., IJCV 2010).

A mask is a PNG of indices: 0 for the background, 1..20 for the class of an object, 255 for a border
that belongs to neither. The loader reduces it to foreground and background, as PaRe's dense tasks
require. It resizes images to 224 x 224 pixels and masks to 128 x 128, without keeping their aspect
ratio. The label of an image is the most frequent class of its object pixels. An image without an
object has no label and is omitted.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.errors import DataError
from trainables.sources.image_files import IMAGENET_MEAN, IMAGENET_STD, read_image, to_planes
from trainables.sources.proxy import BACKGROUND, FOREGROUND, IGNORED, ImageProxy, hashed_images
from trainables.sources.registry import PROXIES, proxy_folder, way_to_import

NAME = re.compile(r"[\w-]+")
CLASSES = 20
IMAGE_SIZE = (224, 224)
MASK_SIZE = (128, 128)
MEANING = np.full(256, FOREGROUND, dtype=np.uint8)
MEANING[0], MEANING[255] = BACKGROUND, IGNORED


def load_voc(home: Path) -> ImageProxy:
    """Read the training images and their masks from `home/proxies/voc`.

    Raises:
        DataError: A file is missing or damaged, a mask has another size than its image or holds no
            indices, or no image has an object.
    """
    if fault := find_voc_fault(home):
        raise DataError(fault)
    folder = _folder(home)
    pairs = [_read_pair(*_files(folder, name)) for name in _names(folder)]
    labelled = [pair for pair in pairs if pair[2] >= 0]
    if not labelled:
        raise DataError(f"voc: no mask in {folder} has an object. {PROXIES['voc'].obtain} anew.")
    images = np.stack([planes for planes, _, _ in labelled])
    masks = np.stack([mask for _, mask, _ in labelled])
    labels = np.array([label for _, _, label in labelled], dtype=np.int64)
    return hashed_images("voc", images, labels, masks, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def find_voc_fault(home: Path) -> str | None:
    """Return the fault that prevents loading VOC, or None. Only names are read."""
    folder, hint = _folder(home), way_to_import("voc")
    if not _list_file(folder).is_file():
        return f"voc: no {_list_file(folder)}. {hint}"
    names = _names(folder)
    if not names:
        return f"voc: {_list_file(folder)} names no image. {hint}"
    if len(names) != len(set(names)) or not all(map(NAME.fullmatch, names)):
        return f"voc: {_list_file(folder)} names an image twice, or one that cannot be. {hint}"
    files = [path for name in names for path in _files(folder, name)]
    missing = [path for path in files if not path.is_file()]
    if missing:
        return f"voc: {len(missing)} of {len(files)} files are not there: {missing[0]}… {hint}"
    return None


def _read_pair(image_path: Path, mask_path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Return planes uint8 [3, 224, 224], mask uint8 [128, 128] and label (-1: no object)."""
    image, mask = (read_image(path) for path in (image_path, mask_path))
    if mask.size != image.size:
        raise DataError(
            f"{mask_path}: a mask must be of its image's size {image.size}, but is {mask.size}. "
            f"{PROXIES['voc'].obtain} anew."
        )
    # Of a palette image NumPy takes the indices, and not the colours.
    values = np.asarray(mask)
    if mask.mode not in ("P", "L") or ((values > CLASSES) & (values != 255)).any():
        raise DataError(
            f"{mask_path}: a mask must hold indices 0..{CLASSES} and 255, but holds others, or "
            f"colours ({mask.mode=}). Take SegmentationClass as it is in the official archive."
        )
    # The label counts the pixels of the original mask. Only then is the mask reduced and resized.
    pixels = np.bincount(values.ravel(), minlength=CLASSES + 1)[1 : CLASSES + 1]  # by class
    label = int(pixels.argmax()) if pixels.any() else -1
    planes = to_planes(image.convert("RGB").resize(IMAGE_SIZE, Image.Resampling.BILINEAR))
    # By nearest neighbours, since a mean of two indices is another index.
    small = Image.fromarray(MEANING[values]).resize(MASK_SIZE, Image.Resampling.NEAREST)
    return planes, np.asarray(small), label


def _folder(home: Path) -> Path:
    nested = proxy_folder("voc", home) / "VOCdevkit" / "VOC2012"
    return nested if nested.is_dir() else proxy_folder("voc", home) / "VOC2012"


def _list_file(folder: Path) -> Path:
    return folder / "ImageSets" / "Segmentation" / "train.txt"


def _names(folder: Path) -> list[str]:
    return _list_file(folder).read_text(encoding="utf-8", errors="replace").split()


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClass" / f"{name}.png"
