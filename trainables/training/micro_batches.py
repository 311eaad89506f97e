"""Parts of a micro-batch: those after halvings, and those of the processes of a trial.

This module does not import torch.
"""

from collections.abc import Iterator

__all__ = ["largest_part", "parts", "share_of"]


def largest_part(batch_size: int, halvings: int) -> int:
    """Return the number of samples in the largest part of a micro-batch."""
    return -(-batch_size // (1 << halvings))


def parts(samples: int, batch_size: int, halvings: int) -> Iterator[slice]:
    """Yield the parts of a micro-batch of `samples` samples, in order.

    Args:
        samples: Samples of the micro-batch, at most `batch_size`.
        batch_size: Samples of a full micro-batch.
        halvings: Number of halvings. The size of a part depends on `batch_size` alone.
    """
    size = largest_part(batch_size, halvings)
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))


def share_of(samples: int, rank: int, ranks: int) -> slice:
    """Return the samples of a micro-batch that one of several processes computes.

    Shares differ by one sample at most, and the first ones are the larger ones. If there are fewer
    samples than processes, some shares are empty.
    """
    return slice(-(-samples * rank // ranks), -(-samples * (rank + 1) // ranks))
