"""Analysis of a network that a library built: layers, attention, and roles of all parameters.

Nothing here knows an architecture. A role follows from the type of the module that owns a
parameter, from the place of this module in the tree, and from one backward pass (`probe`). Before
this pass, the input of every attention is replaced by a sequence of equal tokens. Attention then
averages equal values, so that its weights do not matter: the gradient by all that acts on the
weights alone is zero (queries, keys, relative positions, a temperature), and the gradient by values
and by the output projection is not. Names of queries, keys and values are only believed if the
gradients agree. A projection that joins the three is split, so that each can be frozen alone. What
is not understood is refused.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from trainables.errors import WeightsError
from trainables.models.backbone import Role

SPREAD = 0.02  # of weights that stand in for zeros
ZERO = 1e-3  # of the gradient by the values; rounding gives about 1e-6
TOLERANCE = 1e-3  # of a body against the library's own network, relative to the features
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
LINEAR = (nn.Linear, Conv1D)  # GPT-2's `Conv1D` is a linear map with its weight transposed
PROJECTIONS = {
    "q": Role.ATTENTION_QUERY,
    "k": Role.ATTENTION_KEY,
    "v": Role.ATTENTION_VALUE,
}
JOINED = tuple(PROJECTIONS.values())  # order in a joined projection; the gradients confirm it
PART = re.compile(r"^(.*)\.parametrizations\.(\w+)\.original(\d*)$")


def is_norm(module: nn.Module) -> bool:
    """Return whether a module normalises: `LayerNorm`, `LlamaRMSNorm`, `BatchNorm2d`, ..."""
    return re.search(r"Norm(\d+d)?$", type(module).__name__) is not None


def silence_dropout(config: Any) -> None:
    """Set every dropout and drop path of a configuration to 0. A body draws no random numbers."""
    for key, value in list(vars(config).items()):
        # Libraries name these settings in many ways, as `attn_pdrop` or `hidden_dropout_prob`.
        if "drop" in key and isinstance(value, float | int) and not isinstance(value, bool):
            setattr(config, key, 0.0)


def cut(network: nn.Module, stored: int, kept: int) -> None:
    """Remove all layers of `network` but the first `kept` ones.

    `stored` is the number of layers of `network`.

    Raises:
        WeightsError: The list of layers is not found.
    """
    found: dict[str, nn.ModuleList] = {}
    for name, module in network.named_modules():
        # A layer may hold a list of as many parts, which is not the list of layers.
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and len(module) == stored and not inside:
            found[name] = module
    if len(found) != 1:
        raise WeightsError(
            f"{type(network).__name__}: its list of {stored} layers is not found, so it cannot be "
            "cut: leave backbone.layers out."
        )
    name, layers = next(iter(found.items()))
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, layers[:kept])


def split_joined(network: nn.Module) -> None:
    """Split each projection that joins queries, keys and values into three parameters.

    The network computes the same: its weight is the concatenation of the three.
    """
    # Some settings train the values alone, which need a parameter of their own.
    for _, attention in _attentions(network):
        for module in list(attention.modules()):
            if isinstance(module, nn.Linear) and module.out_features == 3 * module.in_features:
                axes = {"weight": 0, "bias": 0}
            elif isinstance(module, Conv1D) and module.nf == 3 * module.nx:
                axes = {"weight": 1, "bias": 0}
            else:
                continue
            for name, axis in axes.items():
                if getattr(module, name) is not None:
                    parametrize.register_parametrization(module, name, _Joined(axis))


class _Joined(nn.Module):
    """Concatenation of the parameters of queries, keys and values."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.cat([query, key, value], self.axis)

    def right_inverse(self, joined: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in joined.chunk(3, self.axis))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Result of one backward pass with equal tokens at the input of every attention."""

    unused: frozenset[str]  # parameters that the output does not depend on
    strength: Mapping[str, float]  # largest absolute gradient by each other parameter


def probe(body: nn.Module, tokens: Tensor) -> Probe:
    """Return which parameters of `body` act on its output, and which on attention's weights alone.

    `tokens` [1, N, D] are those of any source sample.
    """
    trained = {name: p for name, p in body.named_parameters() if not p.requires_grad}
    # The stack takes back hooks, gradients and stand-ins for zeros, also if the pass fails.
    with ExitStack() as stack:
        for _, attention in _attentions(body):
            hook = attention.register_forward_pre_hook(_equal_tokens, with_kwargs=True)
            stack.callback(hook.remove)
        stack.callback(lambda: [p.requires_grad_(False) for p in trained.values()])
        stack.enter_context(torch.enable_grad())
        generator = torch.Generator().manual_seed(0)
        for parameter in body.parameters():
            if not parameter.any():  # a branch that begins at zero would hide what is in it
                parameter.detach().normal_(std=SPREAD, generator=generator)
                stack.callback(parameter.detach().zero_)
        body.requires_grad_(True)
        features = body(tokens)
        # Any direction that is not special to the network will do; a sum is, to a norm.
        direction = torch.randn(features.shape, generator=generator).to(features)
        names, parameters = zip(*body.named_parameters(), strict=True)
        gradients = torch.autograd.grad((features * direction).sum(), parameters, allow_unused=True)
    found = {n: g for n, g in zip(names, gradients, strict=True) if g is not None and g.numel()}
    return Probe(
        unused=frozenset(set(names) - set(found)),
        strength={name: gradient.abs().max().item() for name, gradient in found.items()},
    )


def _equal_tokens(
    module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace all tokens of the first tensor by its last; the first may be a class token, 0."""

    def is_features(value: object) -> bool:
        return isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 3

    def equal(value: Tensor) -> Tensor:
        return value.flatten(0, -2)[-1].expand_as(value)

    for index, value in enumerate(inputs):
        if is_features(value):
            return (*inputs[:index], equal(value), *inputs[index + 1 :]), named
    name = next(name for name, value in named.items() if is_features(value))
    return inputs, {**named, name: equal(named[name])}


def structural_roles(
    body: nn.Module,
    measured: Probe,
    *,
    known: Mapping[str, Role],
    outside: Role,
) -> dict[str, Role]:
    """Return the role of every parameter of `body`, by name.

    Args:
        body: The network without embedder and head.
        measured: Result of `probe`.
        known: Roles that the caller gave parts of its own, by name of the parameter.
        outside: Role of a linear map outside of the blocks.

    Raises:
        WeightsError: A parameter has no role that module types and gradients agree on.
    """
    attentions = dict(_attentions(body))
    blocks = {name.rpartition(".")[0] for name in attentions}
    roles = dict(known)
    for attention in attentions:
        roles |= _attention_roles(body, attention, measured)
    values = [measured.strength[n] for n, role in roles.items() if role == Role.ATTENTION_VALUE]
    for name, parameter in body.named_parameters():
        if name in roles:
            continue
        module_name, owner = _owner(body, name)
        if is_norm(owner):
            role = Role.NORM
        elif isinstance(owner, CONVOLUTIONS):
            role = Role.CONVOLUTION
        elif isinstance(owner, LINEAR):
            inside = not blocks or any(module_name.startswith(f"{block}.") for block in blocks)
            role = Role.MLP if inside else outside
        elif parameter.dim() > 1 and measured.strength[name] < ZERO * min(values, default=0.0):
            role = Role.ATTENTION_POSITION  # a table that the attentions of several blocks share
        elif parameter.dim() == 1 and not isinstance(owner, nn.Embedding):
            role = Role.SCALE
        else:
            raise _unknown(name, f"of a {type(owner).__name__}")
        roles[name] = role
    return roles


def _attention_roles(body: nn.Module, attention: str, measured: Probe) -> dict[str, Role]:
    """Return the role of each parameter of one attention, with one matrix for each projection."""
    roles, matrices = {}, []
    inside = [n for n, _ in body.named_parameters() if n.startswith(f"{attention}.")]
    named = {name: _named_projection(body, name) for name in inside}
    value = max(
        (measured.strength[n] for n, role in named.items() if role == Role.ATTENTION_VALUE),
        default=0.0,
    )
    for name in inside:
        _, owner = _owner(body, name)
        # Of equal tokens every weighted mean is the same, so that what acts on the weights alone
        # has a gradient of rounding.
        acts_on_weights = measured.strength[name] < ZERO * value
        by_name = named[name]
        if is_norm(owner):
            roles[name] = Role.NORM
        elif isinstance(owner, CONVOLUTIONS):
            roles[name] = Role.CONVOLUTION
        elif by_name is not None:
            if acts_on_weights != (by_name != Role.ATTENTION_VALUE):
                raise _unknown(name, "named like a projection that it is not")
            roles[name] = by_name
        else:
            roles[name] = Role.ATTENTION_POSITION if acts_on_weights else Role.ATTENTION_OUTPUT
        if body.get_parameter(name).dim() > 1:
            matrices.append(roles[name])
    # With two matrices of one role, or none, `finetune: wv` would freeze or train the wrong one.
    for role in (*JOINED, Role.ATTENTION_OUTPUT):
        if matrices.count(role) != 1:
            raise _unknown(attention, f"an attention with {matrices.count(role)} of {role}")
    return roles


def _named_projection(body: nn.Module, name: str) -> Role | None:
    """Return the projection that the name of a parameter claims, or None."""
    if part := PART.match(name):
        module = body.get_submodule(part[1])
        joined = parametrize.is_parametrized(module, part[2])
        return JOINED[int(part[3])] if joined and part[3] else None
    module_name, owner = _owner(body, name)
    if isinstance(owner, nn.Embedding):
        return None
    # A bias apart from its layer, such as `q_bias`, has the projection in its own name.
    own = module_name.rpartition(".")[2] if isinstance(owner, LINEAR) else name.rpartition(".")[2]
    return PROJECTIONS.get(own[:1].lower())


def _owner(body: nn.Module, name: str) -> tuple[str, nn.Module]:
    """Return name and module that own a parameter."""
    part = PART.match(name)
    module_name = part[1] if part else name.rpartition(".")[0]
    return module_name, body.get_submodule(module_name)


def _attentions(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost modules of a type of attention that have parameters."""
    outer: list[str] = []
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{other}.") for other in outer)
        has_parameters = next(module.parameters(), None) is not None
        if "Attention" in type(module).__name__ and has_parameters and not inside:
            outer.append(name)
            yield name, module


def _unknown(name: str, what: str) -> WeightsError:
    return WeightsError(f"{name} has no known role ({what}): this architecture is not supported.")


def retire(body: nn.Module, unused: frozenset[str]) -> None:
    """Turn parameters that the output does not depend on into buffers, which never train."""
    for name in unused:
        module_name, owner = _owner(body, name)
        attribute = name.rpartition(".")[2]
        # Not persistent: a constant that is built with the backbone is in no checkpoint.
        value = owner._parameters.pop(attribute)
        assert value is not None, module_name
        owner.register_buffer(attribute, value.detach(), persistent=False)


def check_equal(ours: Tensor, theirs: Tensor, name: str) -> None:
    """Check that a body computes what the network of the library does.

    Raises:
        WeightsError: It does not, so its embedding is not understood.
    """
    if ours.shape != theirs.shape or (ours - theirs).abs().max() > TOLERANCE * theirs.abs().max():
        raise WeightsError(
            f"`{name}`: its body, fed with the embedded inputs, does not give what the whole "
            "network gives: this architecture is not supported."
        )
