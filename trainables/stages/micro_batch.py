"""How a step's batch is computed in parts, each of as many samples as memory holds.

A micro-batch is what the settings say (`batch_size`). A trial that ran out of memory is tried anew
with each cut into two, four, ... parts (`TrialSpec.halvings`), whose means are weighted by their
samples: the same steps on the same samples, with gradients that are equal but for rounding.

Noise inside the network is drawn part by part: with `model.drop_path` above 0, which a Swin has,
other samples skip attention than would in one piece. The gradient has the same distribution, and is
another one: a halved trial does not equal the same trial without halvings.

Only losses that are means over samples can be cut so. Stages that compare the samples of a batch
with each other (`align`, `meta`, `contrast`) stay as they are.
"""

from collections.abc import Iterator

__all__ = ["largest_part", "parts"]


def largest_part(batch_size: int, halvings: int) -> int:
    """Returns how many samples of a micro-batch are computed at once."""
    return -(-batch_size // (1 << halvings))


def parts(samples: int, batch_size: int, halvings: int) -> Iterator[slice]:
    """Yields the parts of a micro-batch that holds `samples`, at most `batch_size`, in order."""
    size = largest_part(batch_size, halvings)
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))
