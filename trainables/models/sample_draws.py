"""Random numbers of the samples of a batch.

A process that computes a part of a micro-batch draws the numbers of all its samples and keeps those
of its part. Several processes with equal generators therefore draw what a single one does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["part_of", "sample_draws"]


@dataclass
class _Part:
    """The part of a micro-batch that is being computed."""

    start: int = 0
    stop: int = 0
    samples: int = 0  # of the micro-batch; 0: all of it is computed


_current = _Part()


@contextmanager
def part_of(samples: int, place: slice) -> Iterator[None]:
    """Draw for a part of a micro-batch during the block.

    Args:
        samples: Samples of the micro-batch.
        place: Position of the part, which is not empty.
    """
    _current.start, _current.stop, _current.samples = place.start, place.stop, samples
    try:
        yield
    finally:
        _current.samples = 0


def sample_draws(rows: int, device: torch.device) -> Float[Tensor, " rows"]:
    """Draw a uniform number in [0, 1) for each row of a batch from torch's global generator.

    Args:
        rows: Rows of the batch: the samples of the current part, or a multiple of them if they pass
            several times, such as a sample and its mixture.
        device: Device of the numbers.
    """
    start, stop, samples = _current.start, _current.stop, _current.samples
    if not samples:
        return torch.rand(rows, device=device)
    # All samples of the micro-batch are drawn, [times, samples], and those of the part are kept.
    times = rows // (stop - start)
    drawn = torch.rand(times * samples, device=device)
    return drawn.view(times, samples)[:, start:stop].reshape(-1)
