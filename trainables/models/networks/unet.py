"""The U-Net of the package MONAI, in 1D and 2D, with PDEBench's depth and functions.

Four times, two convolutions with batch norm and tanh are followed by a maximum over 2 (or 2 x 2)
points; then as many transposed convolutions lead back, each beside the fields of its size.
Ronneberger et al., MICCAI 2015; Takamoto et al., NeurIPS 2022 (arXiv 2210.07182), appendix.

Batch norm keeps the amplitude of a field, which norms of single samples remove.
"""

import warnings
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trainables.tasks.task import Task, TaskShape

HALVES = 16  # sides are divided by this on the way down
MIN_SIDE = 2 * HALVES  # points of a side, so that two are left: the least for a norm of one sample


class PaddedUnet(nn.Module):
    """Fields [B, C, *grid] to fields [B, C', *grid] of any size.

    Fields are continued by their border values to a side that can be halved, and cut afterwards.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b k ..."]:
        sides = x.shape[2:]
        more = [max(MIN_SIDE, -(-side // HALVES) * HALVES) - side for side in sides]
        if any(more):
            ends = [n for extra in reversed(more) for n in (0, extra)]  # the last side comes first
            x = functional.pad(x, ends, mode="replicate")
        fields: Tensor = self.unet(x)
        for axis, side in enumerate(sides, start=2):
            fields = fields.narrow(axis, 0, side)
        return fields


def build_unet(
    task: Task | TaskShape, *, width: int, norm: Literal["batch", "instance", "none"]
) -> PaddedUnet:
    """Return a new U-Net for a task with dense outputs.

    Args:
        task: Target task.
        width: Channels at full resolution. Each halving of the grid doubles them.
        norm: Norm after each convolution.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from monai.networks.nets.basic_unet import BasicUNet
    # Its annotation lacks None, by which its convolutions have no norm.
    norms: dict[str, Any] = {
        "batch": "batch",
        "instance": ("instance", {"affine": True}),
        "none": None,
    }
    return PaddedUnet(
        BasicUNet(
            spatial_dims=len(task.input_shape) - 1,
            in_channels=task.input_shape[0],
            out_channels=task.output_shape[0],
            features=(width, 2 * width, 4 * width, 8 * width, 16 * width, width),
            act="tanh",
            norm=norms[norm],
        )
    )
