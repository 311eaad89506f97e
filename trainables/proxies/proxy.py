"""A source-modality data set with labels, standing in for what the backbone was pretrained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ImageProxy:
    """Labelled images: uint8 [n, 3, height, width] and labels int64 [n]."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    mean: tuple[float, float, float]  # per channel, of pixels in [0, 1]
    std: tuple[float, float, float]
    content_hash: str
    dimension: Literal["2d"] = "2d"


@dataclass(frozen=True, kw_only=True)
class TokenProxy:
    """Sentences of words, each word with a label (-1: none): what CoNLL's columns hold."""

    name: str
    sentences: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    content_hash: str
    dimension: Literal["1d"] = "1d"


Proxy = ImageProxy | TokenProxy
