"""The processes of a trial, its ranks, as a stage sees them.

A trial on several GPUs has a process for each. All of them draw the same batches. Each computes its
own samples of every micro-batch, and the gradients, weighted by samples, are added up over the
processes. Each then takes the same step. This is data parallelism as in PyTorch's
DistributedDataParallel, with two differences: shares may be unequal, and a step has one exchange,
after its last micro-batch.

`Ranks` is a single process, and does nothing. `runtime.ranks` has those of several.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from torch import Tensor, nn

from trainables.training.micro_batches import parts

__all__ = ["Ranks"]

S = TypeVar("S")


class Ranks(Generic[S]):
    """The only process of a trial. `S` is what the processes share: the trial's `TrainState`."""

    @property
    def count(self) -> int:
        """The number of processes."""
        return 1

    def epoch(self, state: S) -> AbstractContextManager[None]:
        """Return the context of the steps of an epoch, in which all processes train."""
        return nullcontext()

    def parts(self, samples: int, batch_size: int, halvings: int) -> Iterator[tuple[slice, int]]:
        """Yield the parts of a micro-batch that this process computes, with their weights.

        The weight is the number of samples. It is 0 for a sample that another process counts.

        Args:
            samples: Samples of the micro-batch, at most `batch_size`.
            batch_size: Samples of a full micro-batch.
            halvings: Number of halvings.
        """
        for part in parts(samples, batch_size, halvings):
            yield part, part.stop - part.start

    def all_reduce(
        self, parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Replace the gradients of a step by their sums over all processes.

        Args:
            parameters: Parameters with gradients of this process's samples.
            terms: Weighted quantities of the step by name, scalars.

        Returns:
            The sums of the quantities over all processes.
        """
        return terms
