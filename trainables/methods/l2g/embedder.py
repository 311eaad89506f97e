"""The network in front of L2G's embedder: DASH's wide residual network as a map to features.

    x [B, C, *grid] -> WRN -> features [B, 16 w, *grid]

It keeps the grid. Its norms are over all channels and points of a sample, in place of batch norms:
so a sample does not depend on its batch, as everywhere else in a model with a backbone, and
micro-batches may be divided.
"""

from torch import nn

from trainables.methods.dash import network
from trainables.tasks.task import Task, TaskShape


def build(
    task: Task | TaskShape, *, sizes: tuple[int, ...], width: int, depth: int
) -> network.WideResNet:
    """Return the network with kernels of three points; for the arguments see DASH's `build`."""
    features = network.STEM * width
    made = network.build(task, sizes=sizes, width=width, depth=depth, features=features)
    for module in list(made.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    return made
