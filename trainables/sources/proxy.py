"""Labelled data sets of the source modality, as substitutes for the backbone's pretraining data.

The content hash identifies the data independently of their location.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainables.errors import DataError

BACKGROUND, FOREGROUND, IGNORED = 0, 1, 255  # values of a mask's pixels


@dataclass(frozen=True, kw_only=True)
class ImageProxy:
    """Images uint8 [n, 3, height, width] with labels int64 [n], from 0.

    A dense proxy also has `masks`, uint8 [n, h, w]. Their size may differ from that of the images.

    Raises:
        DataError: There is no image. Or an image has no label or no mask. Or the masks hold values
            other than `BACKGROUND`, `FOREGROUND` and `IGNORED`, or no foreground at all.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    mean: tuple[float, float, float]  # per channel, of pixels in [0, 1]
    std: tuple[float, float, float]
    content_hash: str
    masks: np.ndarray | None = None
    dimension: Literal["2d"] = "2d"
    has_shuffled_labels: bool = False  # as a control: `load_source` permutes them over the samples

    def __post_init__(self) -> None:
        fault = _labels_fault(self.labels, len(self.images))
        if self.masks is not None:
            fault = fault or _masks_fault(self.masks, len(self.images))
        if fault:
            raise DataError(f"{self.name}: {fault} Correct the data, or choose another proxy.")


@dataclass(frozen=True, kw_only=True)
class TokenProxy:
    """Sentences of words, each with a label (-1: none), as in the columns of CoNLL-2003."""

    name: str
    sentences: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    content_hash: str
    dimension: Literal["1d"] = "1d"
    has_shuffled_labels: bool = False  # as a control: `load_source` permutes them over the windows


Proxy = ImageProxy | TokenProxy


def hashed_images(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray | None = None,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> ImageProxy:
    """Return a proxy of images with the hash of its content."""
    return ImageProxy(
        name=name, images=images, labels=labels, masks=masks, mean=mean, std=std,
        content_hash=hash_content(name, images, labels, *([] if masks is None else [masks])),
    )  # fmt: skip


def hashed_sentences(
    name: str, sentences: Sequence[Any], labels: Sequence[Any], classes: tuple[str, ...]
) -> TokenProxy:
    """Return a proxy of sentences with the hash of its content."""
    content = hash_content(name, sentences, labels, classes)
    sentences, labels = tuple(sentences), tuple(labels)
    return TokenProxy(
        name=name, sentences=sentences, labels=labels, classes=classes, content_hash=content
    )


def _labels_fault(labels: np.ndarray, images: int) -> str | None:
    if not images:
        return "there is no image."
    if labels.shape != (images,):
        return f"{images} images need a label each, but labels are {list(labels.shape)}."
    if unlabelled := int((labels < 0).sum()):
        return f"{unlabelled} of {images} images have no label (labels count from 0)."
    return None


def _masks_fault(masks: np.ndarray, images: int) -> str | None:
    if masks.ndim != 3 or len(masks) != images:
        return f"masks must be [{images}, h, w], one an image, but are {list(masks.shape)}."
    if not np.isin(masks, (BACKGROUND, FOREGROUND, IGNORED)).all():
        return (
            f"a mask's pixels are {BACKGROUND} (background), {FOREGROUND} (foreground) or "
            f"{IGNORED} (ignored), but others were found."
        )
    if not (masks == FOREGROUND).any():
        return "no mask has a pixel of foreground, so there is nothing to tell from background."
    return None


def hash_content(*parts: Any) -> str:
    """Return the SHA-256, in hex, of arrays (dtype, shape and bytes) and of JSON values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, ensure_ascii=True, sort_keys=True).encode())
        # Without a sign between them, other parts could have the same bytes in turn.
        digest.update(b"\0")
    return digest.hexdigest()
