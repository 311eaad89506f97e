"""Matrix products of linear layers on a CPU: those of torch, or of oneDNN.

Torch hands the product of a linear layer to MKL. On processors of other vendors than Intel, MKL
takes a path without AVX-512, with half the operations in a second that oneDNN attains on the same
cores. Both compute in float32, and add in another order: results differ by rounding. A trial
therefore states which of them computes it (`model.products`).
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainables.errors import NodeUnfit

MIN_GAIN = 1.3  # oneDNN's speed beside torch's from which `auto` takes it
MIN_WIDTH = 128  # of a body, in `auto`: calls outweigh the products of narrower ones
ROWS = 512  # tokens of a measured product
TURNS = 7  # measurements, of which the shortest counts


class _Linear(torch.autograd.Function):
    """x wᵀ + b by oneDNN.

    Its derivatives are products of the same kind, so it can be differentiated any number of times.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "m k"], w: Float[Tensor, "n k"], b: Float[Tensor, " n"] | None
    ) -> Float[Tensor, "m n"]:
        ctx.save_for_backward(x, w)
        return cast("Tensor", torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], ""))

    @staticmethod
    def backward(
        ctx: Any, *gradients: Float[Tensor, "m n"]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, w), (g,) = ctx.saved_tensors, gradients
        needs_x, needs_w, needs_b = ctx.needs_input_grad
        # `_linear` transposes its second argument: these are g w and gᵀ x.
        by_x = _linear(g, w.t(), None) if needs_x else None
        by_w = _linear(g.t(), x.t(), None) if needs_w else None
        return by_x, by_w, g.sum(0) if needs_b else None


def _linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return cast("Tensor", _Linear.apply(x, w, b))  # type: ignore[no-untyped-call, unused-ignore]


class OneDNNLinear(nn.Linear):
    """A linear layer with products by oneDNN, where its input is in float32 on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x wᵀ + b: [..., n] of x [..., k]."""
        takes = x.dtype is torch.float32 and x.device.type == "cpu" and x.numel()
        # Autocast lowers the precision of torch's linear layer, and does not know oneDNN's product.
        if not takes or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        rows = x.reshape(-1, x.shape[-1])
        return _linear(rows, self.weight, self.bias).view(*x.shape[:-1], self.out_features)


def use_products(model: nn.Module, products: str) -> None:
    """Let the linear layers of a model compute by `products`, in place.

    Args:
        model: The model; subclasses of linear layers, which compute something else, stay.
        products: `onednn`, or any other value for torch's own.
    """
    if products == "onednn" and has_onednn():
        for module in model.modules():
            if type(module) is nn.Linear:
                # A change of class keeps the parameters, their names and all references to the
                # module.
                module.__class__ = OneDNNLinear


def has_onednn() -> bool:
    """Return whether this build of torch has oneDNN's product of linear layers."""
    is_built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_built and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def check_products(products: str) -> None:
    """Check that this machine computes a trial as its settings ask.

    Raises:
        NodeUnfit: This build of torch has no oneDNN.
    """
    if products == "onednn" and not has_onednn():
        raise NodeUnfit(
            "`model.products: onednn`: torch was built without oneDNN on this machine; use another "
            "build, or write `plain` in a new sweep."
        )


def choose_products(width: int) -> tuple[str, float | None]:
    """Return the faster products for a body on this machine, and oneDNN's gain.

    The gain is measured only where MKL takes its general path, so that a machine on which torch is
    fast already always gets the same answer.

    Args:
        width: Features of a token in the body.

    Returns:
        `plain` or `onednn`, and how many times as fast oneDNN was; None if it was not measured.
    """
    if width < MIN_WIDTH or not has_onednn() or mkl_is_fast():
        return "plain", None
    gain = step_seconds(nn.Linear, width) / step_seconds(OneDNNLinear, width)
    return ("onednn" if gain >= MIN_GAIN else "plain"), gain


def mkl_is_fast() -> bool:
    """Return whether MKL, if it is used here, has its fast path on this machine's processor."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True  # no MKL there
    info = Path("/proc/cpuinfo")
    vendor = info.read_text() if info.exists() else platform.processor()
    return "GenuineIntel" in vendor


def step_seconds(kind: Callable[[int, int], nn.Linear], width: int) -> float:
    """Return the shortest time of a forward and a backward pass of a body's widest layer."""
    generator = torch.Generator().manual_seed(0)
    layer, x = kind(width, 4 * width), torch.randn(ROWS, width, generator=generator)
    times, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # as of a worker with one core
    for _ in range(TURNS):
        # The time of this thread alone, so that other processes on the cores do not count.
        began = time.thread_time()
        layer(x).sum().backward()
        times.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    return min(times)
