"""The Fourier neural operator of the package neuraloperator, in 1D and 2D.

    u = W v_l + F^{-1}(R_l F(v_l)),    v_{l+1} = gelu(C_l(gelu(u)) + g_l v_l)

F is the Fourier transform, of which R_l keeps frequency 0 and the `modes` lowest ones of each sign;
W and R_l are learned. The paper's layer is gelu(u). The package adds a channel MLP C_l and a soft
gate g_l, so that this is a stronger operator; and it does not pad fields that are not periodic. Li
et al., "Fourier Neural Operator for Parametric Partial Differential Equations", ICLR 2021 (arXiv
2010.08895), equation 2. The coordinates of each point are two more channels (in 1D, one more), as
in the paper.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainables.tasks.task import Task, TaskShape


class FourierOperator(nn.Module):
    """Fields [B, C, *grid] to fields [B, C', *grid], in single precision.

    Fourier transforms are not defined in bfloat16, so that autocast has no effect inside.
    """

    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator
        self.register_state_dict_post_hook(_without_arguments)  # type: ignore[no-untyped-call]

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b k ..."]:
        with torch.autocast(x.device.type, enabled=False):
            fields: Tensor = self.operator(x.float())
        return fields


def _without_arguments(
    module: nn.Module, state: dict[str, object], prefix: str, metadata: object
) -> None:
    """Remove the arguments of the operator, which the library adds to a state as no tensor."""
    state.pop("_metadata", None)


def build_fno(task: Task | TaskShape, *, modes: int, width: int, layers: int) -> FourierOperator:
    """Return a new operator for a task with dense outputs.

    Args:
        task: Target task.
        modes: Frequencies of each sign that are kept in each direction. Those that the grid does
            not have are never used.
        width: Channels of the layers.
        layers: Number of layers.
    """
    with without_wandb(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports; the library also sets a filter
        from neuralop.models.fno import FNO
    # The library counts the frequencies of both signs.
    return FourierOperator(
        FNO(
            n_modes=(2 * modes,) * (len(task.input_shape) - 1),
            in_channels=task.input_shape[0],
            out_channels=task.output_shape[0],
            hidden_channels=width,
            n_layers=layers,
        )
    )


@contextmanager
def without_wandb() -> Iterator[None]:
    """Make imports of wandb fail in the meantime: neuraloperator can do without it.

    wandb takes a second to import, and starts services of its own.
    """
    name = "wandb"
    # A module that is imported already has cost its time, and others may use it.
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
