"""The mixture of convolutions that DASH searches over, computed as one convolution.

Every candidate operation i convolves with a kernel w_i of its own size and dilation. Convolution is
linear in the kernel, so that the mixture is one convolution with one kernel:

    y = sum over i of a_i (w_i * x) = (sum over i of a_i D_i w_i) * x

a are the weights of the operations, and D_i writes the taps of a kernel onto a grid, as far apart
as its dilation. By the convolution theorem that convolution is a product of Fourier transforms:

    y = F^-1(F(sum over i of a_i D_i w_i) F(x))

Every transform is computed once, whatever the number of operations (Shen et al., "Efficient
Architecture Search for Diverse Tasks", NeurIPS 2022). The grid is that of the input, padded by
zeros against the wrap-around. Taps that would only ever meet the padding are left out, so that a
dilation beyond the size of the input costs nothing.

As everywhere in deep learning, a convolution is a cross-correlation: y[p] = sum over t of
w[t] x[p + t]. Kernels are odd and centred, and inputs are padded by zeros, so that the output has
the points of the input.

Shapes: B samples, I and O channels, n operations, T taps of all operations together.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int64
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from trainables.models.cross_modal import single_precision

__all__ = ["Operation", "Operations", "convolution", "mixed_convolution"]

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A convolution by the size of its kernel, which is odd, and its dilation."""

    size: int
    dilation: int

    @property
    def reach(self) -> int:
        """Points between the centre of the kernel and its last tap."""
        return self.dilation * (self.size // 2)

    @property
    def field(self) -> int:
        """Points that the kernel spans in one dimension: its receptive field."""
        return 2 * self.reach + 1


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The candidates of a layer: all pairs of a size and a dilation, in the order of sizes."""

    sizes: tuple[int, ...]
    dilations: tuple[int, ...]
    dimensions: int

    @property
    def all(self) -> tuple[Operation, ...]:
        pairs = product(self.sizes, self.dilations)
        return tuple(Operation(size=size, dilation=dilation) for size, dilation in pairs)

    @property
    def taps(self) -> tuple[int, ...]:
        """The number of taps of each operation's kernel."""
        return tuple(each.size**self.dimensions for each in self.all)

    def offsets(self) -> Int64[Tensor, "t d"]:
        """Return the offset of each tap from the centre, all operations in a row."""
        taps = [
            tap
            for each in self.all
            for tap in product(range(-each.reach, each.reach + 1, each.dilation),
                               repeat=self.dimensions)
        ]  # fmt: skip
        return torch.tensor(taps)


@lru_cache(maxsize=512)  # of the layers of a few networks
def _owners(operations: Operations, device: torch.device) -> Int64[Tensor, " t"]:
    """Return the index of the operation that each tap belongs to."""
    taps = torch.tensor(operations.taps)
    return torch.repeat_interleave(torch.arange(len(taps)), taps).to(device)


@cache
def _lengths(operations: Operations, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the points of the transforms in each dimension.

    Output p reads the points p - r to p + r. The wrap-around of a transform of n + r points stays
    in the padding, where r is the largest reach that still meets the input.
    """
    reach = max(each.reach for each in operations.all)
    return tuple(next_fast_len(n + min(reach, n - 1), real=True) for n in grid)


@lru_cache(maxsize=512)
def _places(
    operations: Operations, grid: tuple[int, ...], device: torch.device
) -> tuple[Int64[Tensor, " kept"] | None, Int64[Tensor, " kept"]]:
    """Return the taps that meet the input, and the flat position of each on the transforms' grid.

    The taps are None if all do. The position of an offset t is -t, modulo the points of the grid,
    which makes the product of transforms a cross-correlation.
    """
    offsets, lengths = operations.offsets(), _lengths(operations, grid)
    # An offset of n points or more leads out of the input from every output.
    meets = (offsets.abs() < torch.tensor(grid)).all(1)
    flat = torch.zeros(int(meets.sum()), dtype=torch.int64)
    for dimension, length in enumerate(lengths):
        flat = flat * length + (-offsets[meets, dimension]) % length
    kept = None if bool(meets.all()) else meets.nonzero()[:, 0].to(device)
    return kept, flat.to(device)


def mixed_convolution(
    x: Float[Tensor, "b i ..."],
    kernels: Float[Tensor, "o j t"],
    weights: Float[Tensor, " n"],
    operations: Operations,
    *,
    stride: int = 1,
) -> Float[Tensor, "b o ..."]:
    """Return the weighted sum of all operations on `x`, by one product of Fourier transforms.

    It is computed in single precision.

    Args:
        x: Inputs [B, I, *grid], in one or two dimensions.
        kernels: The taps of all operations, in the order of `Operations.offsets`. J is I, or 1 for
            a convolution of each channel on its own (then O = I).
        weights: The weight of each operation.
        operations: The operations.
        stride: Distance of the outputs, in points of the input.
    """
    with single_precision(x.device):
        grid = tuple(x.shape[2:])
        lengths = _lengths(operations, grid)
        kept, places = _places(operations, grid, x.device)
        taps = kernels.float() * weights.float()[_owners(operations, x.device)]
        if kept is not None:
            taps = taps.index_select(2, kept)
        # One kernel on the grid of the transforms, the sum of all operations.
        flat = taps.new_zeros(*taps.shape[:2], math.prod(lengths)).index_add(2, places, taps)
        kernel = flat.reshape(*taps.shape[:2], *lengths)
        y: Tensor = _Circular.apply(x.float(), kernel)  # type: ignore[no-untyped-call, unused-ignore]
        # The transforms give all points at once, so that a stride only drops some of them.
        outputs: Tensor = y[(slice(None), slice(None), *(slice(None, None, stride) for _ in grid))]
        return outputs.contiguous()


class _Circular(torch.autograd.Function):
    """Circular convolution y of x with kernels k, by Fourier transforms ^ of real values.

        y^ = k^ x^      dL/dx^ = conj(k^) dL/dy^      dL/dk^ = conj(x^) dL/dy^

    PyTorch's own gradients are the same, but transform complex values of twice the size.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        """Return the outputs at the points of `x` [B, I, *grid].

        Args:
            ctx: Where to keep what the gradient needs.
            x: Inputs, padded by zeros to the grid of the kernels.
            kernel: Kernels [O, J, *lengths].
        """
        lengths, grid = kernel.shape[2:], x.shape[2:]
        signal, spectrum = _transform(x, lengths), _transform(kernel, lengths)
        # The transforms are kept, so that the gradient computes neither of them again.
        ctx.save_for_backward(signal, spectrum)
        ctx.grid, ctx.lengths = grid, lengths
        if _is_depthwise(signal, spectrum):
            product = signal * spectrum[:, 0]
        else:
            product = torch.einsum("bi...,oi...->bo...", signal, spectrum)
        return _inverse(product, lengths)[_corner(grid)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients with respect to inputs and kernels."""
        signal, spectrum = ctx.saved_tensors
        outer = _transform(gradient, ctx.lengths)
        of_x: Tensor | None = None
        of_kernel: Tensor | None = None
        depthwise = _is_depthwise(signal, spectrum)
        if ctx.needs_input_grad[0]:
            if depthwise:
                product = outer * spectrum[:, 0].conj()
            else:
                product = torch.einsum("bo...,oi...->bi...", outer, spectrum.conj())
            of_x = _inverse(product, ctx.lengths)[_corner(ctx.grid)]
        if ctx.needs_input_grad[1]:
            if depthwise:
                product = (outer * signal.conj()).sum(0)[:, None]
            else:
                product = torch.einsum("bo...,bi...->oi...", outer, signal.conj())
            # The kernel fills the whole grid of the transforms, so that its gradient is not cut to
            # the input's.
            of_kernel = _inverse(product, ctx.lengths)
        return of_x, of_kernel


def _is_depthwise(signal: Tensor, spectrum: Tensor) -> bool:
    return spectrum.shape[1] == 1 < signal.shape[1]


def _transform(values: Tensor, lengths: torch.Size) -> Tensor:
    spectrum: Tensor = torch.fft.rfftn(values, s=lengths, dim=tuple(range(2, values.ndim)))
    return spectrum


def _inverse(values: Tensor, lengths: torch.Size) -> Tensor:
    found: Tensor = torch.fft.irfftn(values, s=lengths, dim=tuple(range(2, values.ndim)))
    return found


def _corner(grid: torch.Size) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(0, points) for points in grid))


def convolution(
    x: Float[Tensor, "b i ..."],
    kernel: Float[Tensor, "o j ..."],
    operation: Operation,
    *,
    bias: Float[Tensor, " o"] | None = None,
    stride: int = 1,
) -> Float[Tensor, "b o ..."]:
    """Return one operation on `x`.

    Args:
        x: Inputs [B, I, *grid], in one or two dimensions.
        kernel: Its taps [O, J, k, ...]. J is I, or 1 for a convolution of each channel on its own.
        operation: The operation, of size k.
        bias: Added to each output channel.
        stride: Distance of the outputs, in points of the input.
    """
    outputs: Tensor = CONVOLUTIONS[x.ndim - 2](
        x,
        kernel,
        bias,
        stride=stride,
        padding=operation.reach,
        dilation=operation.dilation,
        groups=x.shape[1] // kernel.shape[1],
    )
    return outputs
