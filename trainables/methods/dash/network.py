"""The networks of DASH: a wide residual network with mixed or with fixed convolutions.

Both have the form of a WRN (Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016) of depth
6 n + 4: a convolution to 16 channels, three groups of n residual blocks with 16 w, 32 w and 64 w
channels, and a linear map of each point. A block is

    x + conv(relu(norm(dropout(conv(relu(norm(x)))))))

and where shapes change, a convolution of single points takes the place of the first x. Outputs of a
whole sample are read from the mean over all points; then the second and the third group halve the
grid. Dense outputs keep it.

`Mixed` convolutions compute the weighted sum of all candidate operations, and learn its weights.
`Fixed` ones compute one operation. The tensor of a fixed kernel has room for the largest candidate,
with zeros around the taps of a smaller one, and size and dilation are a buffer. So a model has the
same tensors before and after its operations are chosen, and checkpoints, shared stages and exported
models need no exception; the price is memory for the zeros.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trainables.methods.dash.config import Relaxation
from trainables.methods.dash.mixture import (
    Operation,
    Operations,
    convolution,
    mixed_convolution,
)
from trainables.tasks.task import Task, TaskShape

__all__ = ["Fixed", "Mixed", "WideResNet", "build", "network_of"]

STEM = 16  # channels of the first convolution
DEFAULT_OPERATION = Operation(size=3, dilation=1)  # of a WRN whose operations were not searched
GAIN = math.sqrt(2.0)  # of new kernels
SMALL_KERNEL, SMALL_WEIGHT = 0.01, 1e-3  # deviations of new kernels and weights of a mixture
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}

MakeConvolution = Callable[[int, int, int], nn.Module]  # of input and output channels, and stride


class Mixed(nn.Module):
    """The weighted sum of all operations. Its `logits` are the architecture weights of a layer.

    Args:
        separable: Convolve each channel on its own, if there are as many outputs as inputs.
        relaxation: Weights are a softmax of the logits; `gumbel` adds noise to these in training.
        temperature: Divisor of the logits in the softmax.
    """

    fields: Tensor  # receptive field of each operation

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        operations: Operations,
        separable: bool,
        relaxation: Relaxation,
        temperature: float,
    ) -> None:
        super().__init__()
        self.stride, self.operations = stride, operations
        self.relaxation, self.temperature = relaxation, temperature
        per_output = 1 if separable and inputs == outputs else inputs
        self.kernels = nn.Parameter(torch.empty(outputs, per_output, sum(operations.taps)))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.logits = nn.Parameter(torch.empty(len(operations.all)))
        fields = torch.tensor([float(each.field) for each in operations.all])
        self.register_buffer("fields", fields, persistent=False)

    def forward(self, x: Float[Tensor, "b i ..."]) -> Float[Tensor, "b o ..."]:
        y = mixed_convolution(x, self.kernels, self.weights(), self.operations, stride=self.stride)
        return y + self.bias.view(-1, *(1,) * (x.ndim - 2))

    def weights(self) -> Float[Tensor, " n"]:
        """Return the weights of the operations; in training with `gumbel` they are random."""
        logits = functional.log_softmax(self.logits.float(), 0)
        if self.relaxation == "gumbel" and self.training:
            return functional.gumbel_softmax(logits, tau=self.temperature, dim=0)
        return functional.softmax(logits / self.temperature, 0)

    @property
    def chosen(self) -> Operation:
        """The operation with the largest weight."""
        return self.operations.all[int(self.logits.argmax())]


class Fixed(nn.Module):
    """One operation of any size up to the largest one."""

    chosen: Tensor  # size and dilation

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, dimensions: int, largest: int
    ) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(largest,) * dimensions))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.register_buffer(
            "chosen", torch.tensor([DEFAULT_OPERATION.size, DEFAULT_OPERATION.dilation])
        )
        self._read = self.chosen, self.chosen._version, DEFAULT_OPERATION

    def forward(self, x: Float[Tensor, "b i ..."]) -> Float[Tensor, "b o ..."]:
        return convolution(x, self.kernel, self.operation, bias=self.bias, stride=self.stride)

    @property
    def operation(self) -> Operation:
        """The operation, read again after the buffer was written: reading waits for a GPU."""
        # An in-place write, also of a loaded checkpoint, raises the version. A move to another
        # device makes another tensor.
        version = self.chosen._version
        if self._read[0] is not self.chosen or self._read[1] != version:
            size, dilation = self.chosen.tolist()
            self._read = (self.chosen, version, Operation(size=size, dilation=dilation))
        return self._read[2]

    @property
    def kernel(self) -> Float[Tensor, "o i ..."]:
        """The taps of the operation, a copy of the middle of the weight."""
        margin = (self.weight.shape[-1] - self.operation.size) // 2
        return functional.pad(self.weight, [-margin] * 2 * (self.weight.ndim - 2))

    @property
    def inside(self) -> Float[Tensor, "o i ..."]:
        """The taps of the operation, as a view into the weight."""
        margin = (self.weight.shape[-1] - self.operation.size) // 2
        middle = slice(margin, margin + self.operation.size)
        return self.weight[(slice(None), slice(None), *(middle,) * (self.weight.ndim - 2))]

    def choose(self, operation: Operation) -> None:
        """Set the operation. The kernel is to be drawn afterwards."""
        self.chosen.copy_(torch.tensor([operation.size, operation.dilation]))


class Block(nn.Module):
    """A residual block of two convolutions, with batch norm and ReLU before each."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        dimensions: int,
        make: MakeConvolution,
    ) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = NORMS[dimensions](inputs), NORMS[dimensions](outputs)
        self.conv_1, self.conv_2 = make(inputs, outputs, 1), make(outputs, outputs, stride)
        # The dropped share is a setting of the training, not of the network: `drop` sets it.
        self.dropout = nn.Dropout(0.0)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = Pointwise(inputs, outputs, stride, dimensions=dimensions)

    def forward(self, x: Float[Tensor, "b i ..."]) -> Float[Tensor, "b o ..."]:
        y = self.dropout(self.conv_1(self.norm_1(x).relu()))
        y = self.conv_2(self.norm_2(y).relu())
        outputs: Tensor = y + self.shortcut(x)
        return outputs


class Pointwise(nn.Module):
    """A convolution of single points: not an operation that is searched."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, dimensions: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(1,) * dimensions))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Float[Tensor, "b i ..."]) -> Float[Tensor, "b o ..."]:
        point = Operation(size=1, dilation=1)
        return convolution(x, self.weight, point, bias=self.bias, stride=self.stride)


class WideResNet(nn.Module):
    """A wide residual network [B, C, *grid] -> dense outputs [B, C', *grid], or [B, outputs]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        dense: bool,
        dimensions: int,
        width: int,
        depth: int,
        make: MakeConvolution,
    ) -> None:
        super().__init__()
        self.dense, self.dimensions = dense, dimensions
        blocks_a_group, channels = (depth - 4) // 6, STEM
        self.stem = make(inputs, STEM, 1)
        blocks = []
        for group in range(3):
            wide = STEM * width * 2**group
            for block in range(blocks_a_group):
                # Outputs at each point need the whole grid, so a dense network never halves it.
                stride = 2 if block == 0 < group and not dense else 1
                blocks.append(Block(channels, wide, stride, dimensions=dimensions, make=make))
                channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.norm = NORMS[dimensions](channels)
        self.linear = nn.Linear(channels, outputs)

    def forward(self, x: Float[Tensor, "b c ..."]) -> Tensor:
        features = self.norm(self.blocks(self.stem(x))).relu()
        if self.dense:
            fields: Tensor = self.linear(features.movedim(1, -1)).movedim(-1, 1)
            return fields
        logits: Tensor = self.linear(features.flatten(2).mean(2))
        return logits

    @property
    def mixed(self) -> list[Mixed]:
        """The mixed convolutions, in their order."""
        return [module for module in self.modules() if isinstance(module, Mixed)]

    def choose(self, operations: Sequence[Operation]) -> None:
        """Set the operation of each fixed convolution, in their order."""
        fixed = [module for module in self.modules() if isinstance(module, Fixed)]
        for module, operation in zip(fixed, operations, strict=True):
            module.choose(operation)

    def drop(self, share: float) -> None:
        """Set the share of values that each block drops in training."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew: those of fixed convolutions for the size of their operations.

        Args:
            generator: Generator on the CPU; None: PyTorch's global one.
        """
        for module in self.modules():
            match module:
                case Mixed():
                    _normal(module.kernels, SMALL_KERNEL, generator)
                    _normal(module.logits, SMALL_WEIGHT, generator)
                    module.bias.zero_()
                case Fixed():
                    module.weight.zero_()
                    _glorot(module.inside, generator)
                    module.bias.zero_()
                case Pointwise():
                    _glorot(module.weight, generator)
                    module.bias.zero_()
                case nn.Linear():
                    bound = 1 / math.sqrt(module.in_features)
                    for tensor in (module.weight, module.bias):
                        _uniform(tensor, bound, generator)
                case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.GroupNorm():
                    module.reset_parameters()


def _uniform(tensor: Tensor, bound: float, generator: torch.Generator | None) -> None:
    # Drawn on the CPU and copied, so that the weights do not depend on the device.
    tensor.copy_(torch.rand(tensor.shape, generator=generator) * (2 * bound) - bound)


def _normal(tensor: Tensor, deviation: float, generator: torch.Generator | None) -> None:
    tensor.copy_(torch.randn(tensor.shape, generator=generator) * deviation)


def _glorot(kernel: Float[Tensor, "o i ..."], generator: torch.Generator | None) -> None:
    """Draw a kernel so that variances stay (Glorot and Bengio, AISTATS 2010), times the gain."""
    taps = math.prod(kernel.shape[2:])
    fans = taps * (kernel.shape[0] + kernel.shape[1])
    _uniform(kernel, GAIN * math.sqrt(6 / fans), generator)


def build(
    task: Task | TaskShape,
    *,
    sizes: tuple[int, ...],
    width: int,
    depth: int,
    features: int | None = None,
) -> WideResNet:
    """Return the network that `train` trains, with the usual operations.

    Its weights are drawn from PyTorch's global generator.

    Args:
        task: Target task.
        sizes: Candidates for the sizes of kernels.
        width: Factor w of the channels.
        depth: 6 n + 4, for n blocks a group.
        features: As in `network_of`.
    """
    dimensions, largest = int(task.info.dimension[0]), max(*sizes, DEFAULT_OPERATION.size)

    def make(inputs: int, outputs: int, stride: int) -> Fixed:
        return Fixed(inputs, outputs, stride, dimensions=dimensions, largest=largest)

    return network_of(task, make, width=width, depth=depth, features=features)


def network_of(
    task: Task | TaskShape,
    make: MakeConvolution,
    *,
    width: int,
    depth: int,
    features: int | None = None,
    generator: torch.Generator | None = None,
) -> WideResNet:
    """Return the network of a task, with the convolutions that `make` makes.

    With `features` it returns so many channels at each point of the input, in place of the task's
    outputs. For `generator` see `WideResNet.draw`.
    """
    network = WideResNet(
        task.input_shape[0],
        task.info.channels[1] if features is None else features,
        dense=task.info.kind == "dense" or features is not None,
        dimensions=int(task.info.dimension[0]),
        width=width,
        depth=depth,
        make=make,
    )
    network.draw(generator)
    return network
