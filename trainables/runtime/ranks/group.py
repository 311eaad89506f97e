"""The exchange between the processes of a trial, by torch.distributed.

GPUs exchange by NCCL, CPUs by Gloo, over the loopback interface alone. Processes find each other in
a file. Only numbers are exchanged, never objects.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from trainables.errors import RankError
from trainables.models.sample_draws import part_of
from trainables.training.micro_batches import largest_part, parts, share_of
from trainables.training.optim import as_real
from trainables.training.ranks import Ranks
from trainables.training.state import TrainState

FIRST = 0  # rank of the process that runs the attempt
# Of one exchange. Deaths are noticed at once, so only a stop (Ctrl-Z) takes long.
TIMEOUT = timedelta(days=7)
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


class PeerLost(RankError):
    """An exchange failed, in general because another process has left."""


def join(rank: int, ranks: int, device: torch.device, rendezvous: Path) -> None:
    """Join the other processes of a trial, and wait for them.

    Args:
        rank: Rank of this process.
        ranks: Number of processes.
        device: Device of this process.
        rendezvous: File in which they find each other, in a folder of this user alone.
    """
    # Otherwise the libraries choose the interface, which other machines may reach. A setting of the
    # user's stays.
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    for variable in INTERFACES if loopback else ():
        os.environ.setdefault(variable, loopback[0])
    with _exchange():
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=ranks,
            timeout=TIMEOUT,
        )


def leave() -> None:
    """End the exchange of this process, if there is one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


class SeveralRanks(Ranks[TrainState]):
    """This process and the others of a trial, which have joined."""

    @property
    def count(self) -> int:
        return distributed.get_world_size()

    def parts(self, samples: int, batch_size: int, halvings: int) -> Iterator[tuple[slice, int]]:
        rank, ranks = distributed.get_rank(), self.count
        own = share_of(samples, rank, ranks)
        # Without a sample of its own a process computes the first one with the weight 0, so that it
        # has the same gradients to add up as the others.
        counts = own.stop > own.start
        own = own if counts else slice(0, 1)
        # Parts are cut by the largest share of a full batch, which is the first process's, so that
        # their size does not depend on the batch at hand.
        most = largest_part(share_of(batch_size, FIRST, ranks).stop, halvings)
        for part in parts(own.stop - own.start, most, 0):
            place = slice(own.start + part.start, own.start + part.stop)
            with part_of(samples, place):
                yield place, (place.stop - place.start) * counts

    def all_reduce(
        self, parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        # One exchange of one vector: gradients, and behind them the quantities to report.
        # Gradients of complex parameters are exchanged as pairs of real numbers.
        gradients = [as_real(p.grad) for p in parameters if p.grad is not None]
        totals = torch.stack([term.float() for term in terms.values()])
        whole = torch.cat([*(gradient.flatten() for gradient in gradients), totals])
        with _exchange():
            distributed.all_reduce(whole)
        sizes = [*(gradient.numel() for gradient in gradients), len(totals)]
        *sums, totals = torch.split(whole, sizes)
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total.view_as(gradient))
        return dict(zip(terms, totals, strict=True))


def state_tensors(state: TrainState) -> list[Tensor]:
    """Return the tensors of a trial's state but those of the optimiser, in a fixed order."""
    return [*state.model.state_dict().values(), *state.extras.state_dict().values()]


def broadcast(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Replace tensors by those of the first process. All processes call this at once."""
    for tensor in tensors:
        if not tensor.numel():
            continue
        # As bytes, since not every type of numbers can be exchanged.
        plain = tensor.detach().to(device).contiguous()
        with _exchange():
            distributed.broadcast(plain.reshape(-1).view(torch.uint8), FIRST)
        # `plain` may be a copy: on another device, or of a tensor that was not contiguous.
        if distributed.get_rank() != FIRST:
            tensor.detach().copy_(plain)


@contextmanager
def _exchange() -> Iterator[None]:
    """Convert the errors of an exchange.

    Raises:
        PeerLost: The exchange failed.
    """
    try:
        yield
    # A RuntimeError too, but one of this process: the attempt has to report it as such.
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise PeerLost(f"the exchange with the other processes failed: {error}") from error
