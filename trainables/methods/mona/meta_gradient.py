"""Meta-gradient of MoNA's first stage: the gradient of an outer loss through a step of the body.

    theta* = theta - alpha g(phi),  g(phi) = grad_theta L_inner(phi, theta)     (virtual step)
    grad_phi L_outer(theta*) = -alpha (d g / d phi)^T v,  v = grad_theta* L_outer(theta*)

phi is the embedder and theta the body; the head is a constant here. L_outer depends on phi only
through g. A first-order approximation of the gradient is therefore zero. Ma et al., "Learning
Modality Knowledge Alignment for Cross-Modality Transfer", ICML 2024, Algorithm 1.

The product of v with the mixed second derivative is computed in one of two ways:

    exact   reverse mode through the graph of g (double backward)
    fd      -alpha [grad_phi L_inner(theta + e v) - grad_phi L_inner(theta - e v)] / 2e, e = r / |v|
            central difference, error O(e^2). It keeps no graph of a gradient and works with any
            attention kernel. Liu et al., "DARTS", ICLR 2019, section 2.3, with r = 0.01.

`exact` also supports several virtual steps on the same data: theta* is then the result of the last
step, and the product is propagated through all steps. v needs no graph in either mode. An iteration
of fd costs one full pass each for the inner and the outer loss, and two passes that skip the
gradient of the body's weights.

Both losses must be deterministic functions of their arguments (seed their random numbers), in
float32 or better. Do not use `torch.utils.checkpoint` inside them: with parameters passed through
`functional_call` it recomputes with wrong parameters and raises no error.

On a CPU, and on a GPU with the flash and memory-efficient kernels, fused attention has neither a
second derivative nor forward mode. Every backbone calls PyTorch's `scaled_dot_product_attention`,
so that the context `attention` can select the kernel.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.training.discriminability import Discriminability

__all__ = ["InnerGradient", "MetaGradient", "Parameters", "inner_gradient", "meta_gradient"]

RADIUS = 0.01  # r: distance of theta + e v from theta, in the norm of all weights of the body

Parameters = Mapping[str, Tensor]  # leaves that require a gradient, by name
# Embedder, head, and those parameters of the body that the virtual step moves.
Leaves = tuple[Parameters, Parameters, Parameters]
InnerLoss = Callable[
    [Parameters, Parameters, Parameters], Tensor
]  # function of embedder, head, body
OuterLoss = Callable[[Parameters], Discriminability]  # function of the body


@dataclass(frozen=True, kw_only=True)
class InnerGradient:
    """L_inner, and its gradient by embedder and head. The tensors have no graph."""

    inner_loss: Tensor
    embedder: dict[str, Tensor]
    head: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class MetaGradient(InnerGradient):
    """Result of one iteration with an outer loss: also L_outer and its gradient by the embedder."""

    outer: Discriminability  # L_outer(theta*), in its two terms
    meta: dict[str, Tensor]  # gradient of L_outer by the embedder
    cosine: Tensor  # of g and v; MoNA increases it, to first order in alpha
    relative_step: Tensor  # |theta* - theta| / |theta|


def inner_gradient(
    inner_loss: InnerLoss, embedder: Parameters, head: Parameters, body: Parameters
) -> InnerGradient:
    """Return L_inner and its gradient by embedder and head.

    `inner_loss` is L_inner as a function of embedder, head and body: leaves that require a gradient
    and stay unchanged.
    """
    # As a constant the body needs no gradient of its own, which would be the largest one.
    loss = inner_loss(embedder, head, _constant(body))
    by_embedder, by_head = _gradients(loss, embedder, head)
    return InnerGradient(inner_loss=loss.detach(), embedder=by_embedder, head=by_head)


def meta_gradient(
    inner_loss: InnerLoss,
    outer_loss: OuterLoss,
    leaves: Leaves,
    *,
    alpha: float,
    mode: Literal["exact", "fd"],
    steps: int = 1,
) -> MetaGradient:
    """Return the gradients of L_inner by embedder and head, and of L_outer(theta*) by embedder.

    Args:
        inner_loss: L_inner as a function of embedder, head and body.
        outer_loss: L_outer as a function of the body.
        leaves: Leaves that require a gradient; none is changed.
        alpha: Rate of the virtual step.
        mode: `exact` or `fd`. `exact` needs a twice differentiable `inner_loss`.
        steps: Number of virtual steps.

    Raises:
        ValueError: `steps` is above 1 and `mode` is `fd`.
    """
    exact, (embedder, head, body) = mode == "exact", leaves
    if steps > 1 and not exact:
        raise ValueError(f"Finite differences take one step, but got {steps=}. Use `exact`.")
    inner = inner_loss(*leaves)
    by_embedder, by_head, g = _gradients(inner, *leaves, create_graph=exact)
    # theta* has a graph to phi only in mode `exact`; `path` is the sum of the steps' gradients.
    theta, path = _stepped(body, g, alpha) if exact else _moved(body, g, -alpha), g
    for _ in range(steps - 1):
        (more,) = _gradients(inner_loss(embedder, _constant(head), theta), theta, create_graph=True)
        theta = _stepped(theta, more, alpha)
        path = dict(zip(path, torch._foreach_add(*_parts(path, more)), strict=True))
    stepped = {name: weight.detach().requires_grad_() for name, weight in theta.items()}
    outer = outer_loss(stepped)
    (v,) = _gradients(outer.loss, stepped)
    if exact:
        meta = _pulled_back(theta, embedder, v)
    else:
        meta = _finite_difference(inner_loss, embedder, _constant(head), body, v)
        meta = {name: -alpha * value for name, value in meta.items()}
    return MetaGradient(
        inner_loss=inner.detach(),
        embedder=_constant(by_embedder),
        head=_constant(by_head),
        outer=Discriminability(*(term.detach() for term in outer)),
        meta=meta,
        cosine=_cosine(g, v),
        relative_step=alpha * _norm(path) / _norm(body).clamp_min(_tiny(_norm(g))),
    )


def _cosine(g: Parameters, v: Parameters) -> Tensor:
    g_norm, v_norm = _norm(g), _norm(v)
    products = torch._foreach_mul(*_parts(g, v))
    agreement = sum((product.sum() for product in products), torch.zeros_like(g_norm))
    return agreement / (g_norm * v_norm).clamp_min(_tiny(v_norm))


def _stepped(body: Parameters, g: Parameters, alpha: float) -> dict[str, Tensor]:
    """Return theta - alpha g, with the graph of g if any, in one kernel for many weights."""
    change = torch._foreach_mul(_ordered(g, body), alpha)
    return dict(zip(body, torch._foreach_sub(list(body.values()), change), strict=True))


def _pulled_back(theta: Parameters, embedder: Parameters, v: Parameters) -> dict[str, Tensor]:
    """Return (d theta* / d phi)^T v, by the graph of theta*."""
    products = torch.autograd.grad(
        list(theta.values()),
        list(embedder.values()),
        grad_outputs=[v[name] for name in theta],
        materialize_grads=True,
    )
    return dict(zip(embedder, products, strict=True))


def _finite_difference(
    inner_loss: InnerLoss, embedder: Parameters, head: Parameters, body: Parameters, v: Parameters
) -> dict[str, Tensor]:
    """Return (d g / d phi)^T v, by grad_phi L_inner at theta + e v and theta - e v."""
    # If v is 0, a finite epsilon makes the difference 0 instead of NaN.
    norm = _norm(v)
    epsilon = RADIUS / norm.clamp_min(_tiny(norm))
    ahead, behind = (
        _gradients(inner_loss(embedder, head, _moved(body, v, scale)), embedder)[0]
        for scale in (epsilon, -epsilon)
    )
    return {name: (ahead[name] - behind[name]) / (2 * epsilon) for name in embedder}


def _gradients(
    loss: Tensor, *groups: Parameters, create_graph: bool = False
) -> list[dict[str, Tensor]]:
    """Return the gradient of `loss` by each group of parameters; zero for unused parameters."""
    gradients = iter(
        torch.autograd.grad(
            loss,
            [weight for group in groups for weight in group.values()],
            create_graph=create_graph,
            materialize_grads=True,
        )
    )
    return [{name: next(gradients) for name in group} for group in groups]


@torch.no_grad()
def _moved(weights: Parameters, direction: Parameters, scale: Tensor | float) -> dict[str, Tensor]:
    """Return weights + scale * direction, without a graph, in one kernel for many weights."""
    change = torch._foreach_mul(_ordered(direction, weights), scale)
    moved = torch._foreach_add(list(weights.values()), change)
    return dict(zip(weights, moved, strict=True))


def _ordered(parts: Parameters, names: Iterable[str]) -> list[Tensor]:
    return [parts[name] for name in names]


def _parts(*groups: Parameters) -> list[list[Tensor]]:
    """Return the constant values of each group, in the order of the first."""
    return [[each.detach() for each in _ordered(group, groups[0])] for group in groups]


def _constant(weights: Parameters) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}


def _norm(weights: Parameters) -> Tensor:
    return nn.utils.get_total_norm([weight.detach() for weight in weights.values()])


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny


def attention(kernel: Literal["fused", "math"]) -> AbstractContextManager[None]:
    """Return a context in which attention runs on `kernel`. Make a new one for each `with`."""
    return sdpa_kernel(SDPBackend.MATH) if kernel == "math" else nullcontext()
