"""The constant sides of the last few distances, kept by this process, and on disk by its machine.

A side is known by the hash of what its samples were made from, their number and width, where they
lie, and the settings. Trials of a sweep that share a source find it ready.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from trainables.distances.statistics import Statistics, prepare
from trainables.storage.tensors import DiskCache

__all__ = ["cached_statistics"]

KEPT = 8
FORMAT = 1  # of what is kept on disk; raise it when what is computed changes


@dataclass(frozen=True)
class _Samples:
    """Samples that are equal if their names are."""

    content_hash: str
    shape: tuple[int, ...]
    device: str
    features: Tensor = field(compare=False)
    labels: Tensor = field(compare=False)


def cached_statistics(
    content_hash: str,
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    folder: Path | None = None,
    **settings: Any,
) -> Statistics:
    """Returns `prepare(features, labels, **settings)`, or what it returned for the same before.

    Args:
        content_hash: Of the samples: a different one for every other choice of them.
        folder: Where other processes find what this one computes; None: nowhere.

    Raises:
        ValueError, DataError: As `prepare` does.
    """
    samples = _Samples(content_hash, tuple(features.shape), str(features.device), features, labels)
    return _statistics(samples, folder, **dict(sorted(settings.items())))


@lru_cache(maxsize=KEPT)
def _statistics(samples: _Samples, folder: Path | None, **settings: Any) -> Statistics:
    cache = None
    if folder is not None:
        made_from = [FORMAT, samples.content_hash, samples.shape, samples.device, settings]
        cache = DiskCache(folder / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32])
    return prepare(samples.features, samples.labels, cache=cache, **settings)
