"""Compilation of the body: one graph of its kernels in place of a launch by Python for each.

    off        PyTorch's operators, one by one
    graphs     CUDA graphs: the kernels are recorded, and launched all at once (GPUs only)
    inductor   torch.compile: the operators are fused, and compiled by Triton, or by C++ on a CPU

Shapes are static, so that each is compiled once: full and short micro-batches, parts of halved
ones, mixtures, and the batches of an evaluation. A process keeps what it has compiled for its next
trials with equal shapes. Optimisers stay outside: a fused one is a few kernels, and its learning
rate is an argument, so that a schedule compiles nothing anew and never waits for the device.

Only supervised passes and evaluations are compiled (`TrainState.supervised`). Meta-gradients, which
differentiate twice, contrast, distances and probes are not. Importing this module loads no torch.
"""

import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trainables.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Runner = Callable[[nn.Module, Tensor], Tensor]

__all__ = ["check_compiles", "compiler", "keep_gradients", "runner"]

LIMIT = 64  # shapes and modes that a process compiles; beyond it, bodies run uncompiled

# Random numbers are those of PyTorch's operators, so that drop path draws the same with and
# without compilation.
BACKENDS: dict[str, dict[str, Any]] = {
    "graphs": {"backend": "cudagraphs"},
    "inductor": {"backend": "inductor", "options": {"fallback_random": True}},
}


@cache
def runner(mode: str) -> "Runner":
    """Return the function that computes features [B, M, E] of a body and of tokens [B, N, D].

    Args:
        mode: The value of `model.compile`.
    """
    if mode == "off":
        return lambda body, tokens: body(tokens)
    import torch
    import torch._dynamo.config as limits

    limits.recompile_limit = max(limits.recompile_limit, LIMIT)
    # The body is an argument, so that bodies of equal structure share what was compiled.
    compiled: Runner = torch.compile(
        lambda body, tokens: body(tokens), dynamic=False, **BACKENDS[mode]
    )
    return compiled


def check_compiles(mode: str, device: "torch.device") -> None:
    """Check that a device can compute with a value of `model.compile`.

    Raises:
        DeviceError: It is no GPU, or the machine lacks a compiler.
    """
    if mode == "graphs" and device.type != "cuda":
        raise DeviceError(
            "`model.compile: graphs` needs a GPU, since CUDA graphs are recorded on one: write "
            "`inductor` or `off`."
        )
    if mode == "inductor" and (fault := _missing(device)):
        raise DeviceError(f"`model.compile: inductor`: {fault}, or write `off`.")


def keep_gradients(body: "nn.Module", mode: str) -> None:
    """Copy the gradients of a body out of the memory of CUDA graphs, if `mode` has them.

    The next forward pass of graphs would overwrite them, before the next part of a batch is added.
    """
    if mode == "graphs":
        for parameter in body.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()


def compiler() -> str | None:
    """Return the path of the C++ compiler that PyTorch would use, or None."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


def _missing(device: "torch.device") -> str | None:
    """Return what a device lacks to compile, with the way out; None if it lacks nothing."""
    if compiler() is None:
        return "there is no C++ compiler here; install one, such as g++, or name it in CXX"
    if device.type == "cuda" and find_spec("triton") is None:
        return "there is no Triton here; install it (pip install triton)"
    return None
