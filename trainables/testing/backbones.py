"""The contract of a backbone, on which every method relies."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.models.backbone import Backbone, Role
from trainables.models.backbones.loading import load_backbone
from trainables.spec import BackboneSpec

INPUT_SHAPES = {"1d": (2, 24), "2d": (2, 8, 8)}  # of a target: channels and points
SAMPLES = 2


def check_backbone(spec: BackboneSpec, home: Path) -> Backbone:
    """Check that a backbone does what every method relies on, on a target of a few points.

    Args:
        spec: The backbone. A tiny network is checked in a second.
        home: SWEEPER_HOME, for its caches.

    Returns:
        The backbone.

    Raises:
        AssertionError: The contract is broken; the message says where.
        ConfigError: The network does not support the spec.
        WeightsError: The weights are missing or do not fit, or the architecture is not understood.
    """
    backbone = load_backbone(spec, home)
    tokens = _embed_target(backbone)
    _check_shapes(backbone, tokens)
    _check_roles(backbone)
    assert not backbone.training, "a backbone stays in evaluation mode"
    assert not any(p.requires_grad for p in backbone.parameters()), "a backbone never trains"
    _check_copies(backbone, tokens)
    _check_gradients(backbone, tokens)
    again = load_backbone(spec, home)
    assert again.weights_hash == backbone.weights_hash, "loading twice gives two hashes of weights"
    assert torch.equal(again.body(tokens), backbone.body(tokens)), (
        "loading twice gives two bodies: something is random that the weights do not hold"
    )
    return backbone


def _embed_target(backbone: Backbone) -> Tensor:
    """Return tokens [B, N, D] of a random target, by a new embedder of each kind."""
    shape = INPUT_SHAPES[backbone.dimension]
    x = torch.randn(SAMPLES, *shape, generator=_generator())
    for init in ("random", "pretrained_copy"):
        first, second = (
            backbone.target_embedder(shape, init=init, generator=_generator()) for _ in range(2)
        )
        assert torch.equal(first(x), second(x)), (
            f"target_embedder(init={init!r}) draws from another generator than the one it is given"
        )
    tokens: Tensor = first(x)
    return tokens.detach()


def _check_shapes(backbone: Backbone, tokens: Tensor) -> None:
    samples, count, width = tokens.shape
    assert width == backbone.token_width, f"tokens are {width} wide, not {backbone.token_width}"
    assert count <= backbone.max_tokens, f"{count} tokens exceed max_tokens {backbone.max_tokens}"
    expected = count
    if backbone.dimension == "2d":
        assert backbone.grid is not None, "a 2d backbone states its grid"
        assert backbone.feature_grid is not None, "a 2d backbone states its feature_grid"
        assert count == backbone.grid[0] * backbone.grid[1], f"{count} tokens: {backbone.grid=}"
        expected = backbone.feature_grid[0] * backbone.feature_grid[1]
    shape = tuple(backbone.body(tokens).shape)
    wanted = (samples, expected, backbone.feature_width)
    assert shape == wanted, f"features have the shape {shape}, not {wanted}"


def _check_roles(backbone: Backbone) -> None:
    names = {name for name, _ in backbone.body.named_parameters()}
    without, unknown = sorted(names - set(backbone.roles)), sorted(set(backbone.roles) - names)
    assert not without, f"parameters without a role: {', '.join(without)}"
    assert not unknown, f"roles of no parameter: {', '.join(unknown)}"
    odd = sorted(name for name, role in backbone.roles.items() if role not in frozenset(Role))
    assert not odd, f"roles that are none of `Role`: {', '.join(odd)}"
    assert Role.NORM in backbone.roles.values(), "no parameter is a norm: `layernorm` trains none"


def _check_copies(backbone: Backbone, tokens: Tensor) -> None:
    body = backbone.new_body(drop_path=0.0)
    assert body.training, "new_body gives a body in training mode"
    before = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(body(tokens), backbone.body(tokens)), (
            "a new body is not the backbone's own, or differs in training mode"
        )
        assert torch.equal(torch.get_rng_state(), before), "the body draws random numbers: dropout?"
        for parameter in body.parameters():
            parameter.mul_(1.1)
        other = backbone.new_body(drop_path=0.0)
        other.load_state_dict(body.state_dict())
        assert torch.equal(other(tokens), body(tokens)), "the state of a body does not hold it all"
        changed = not torch.equal(body(tokens), backbone.body(tokens))
    assert changed, "training a new body changes the backbone, or the parameters do not matter"


def _check_gradients(backbone: Backbone, tokens: Tensor) -> None:
    body = backbone.new_body(drop_path=0.0)
    tokens = tokens.clone().requires_grad_()
    names, parameters = zip(*body.named_parameters(), strict=True)
    untrained = sorted(
        name for name, p in zip(names, parameters, strict=True) if not p.requires_grad
    )
    assert not untrained, f"parameters that do not train: {', '.join(untrained)}"
    # MoNA differentiates twice: the gradient by the weights, by the embedder behind the tokens.
    with sdpa_kernel(SDPBackend.MATH):
        loss = _loss(body, tokens)
        first = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        unused = sorted(n for n, g in zip(names, first, strict=True) if g is None)
        assert not unused, f"parameters that the features do not depend on: {', '.join(unused)}"
        total = sum((g.square().sum() for g in first if g is not None), loss.new_zeros(()))
        (second,) = torch.autograd.grad(total, tokens)
    assert torch.isfinite(second).all(), "the second derivative is not finite"
    assert second.any(), "the second derivative is zero: part of the body is detached"


def _loss(body: nn.Module, tokens: Tensor) -> Tensor:
    features: Tensor = body(tokens)
    direction = torch.randn(features.shape, generator=_generator())
    return (features * direction).sum()


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
