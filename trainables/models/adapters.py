"""Low-rank adapters of a body (LoRA; Hu et al., ICLR 2022), through the package peft.

An adapted linear layer computes

    y = W x + (alpha / rank) B A x        A [rank, in], B [out, rank], B = 0 at first

with a fixed W. The layers are the projections of queries and values, as in the paper, found by
their roles. A layer that joins queries, keys and values has both adapters in one: A holds the rows
of both, and B is zero but in two blocks,

    A = [A_q; A_v]    B = [[B_q, 0], [0, 0], [0, B_v]]        A [2 rank, in], B [3 out, 2 rank]

`merged` gives the weights W + (alpha / rank) B A under the names of the plain body, so
that a trained model needs neither adapters nor peft.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.errors import ConfigError
from trainables.models.backbone import Role
from trainables.models.weights.description import NO_ADAPTERS, NO_PEFT
from trainables.seeding import generator

__all__ = [
    "Adapters",
    "adapters_of",
    "add_adapters",
    "check_adapters",
    "load_merged",
    "merged",
    "plain_name",
    "remove_adapters",
]

WEIGHT = re.compile(r"\.(weight|parametrizations\.weight\.original\d)$")
ADAPTED = frozenset({Role.ATTENTION_QUERY, Role.ATTENTION_VALUE})
BASE = "base_layer."  # in the name of a weight of an adapted layer
PART = "lora_"  # in the name of a weight of an adapter
NAME = "default"
SCOPE = "lora"  # seed scope of A


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """The adapters of a body: their rank, and the numerator of their scale."""

    rank: int
    alpha: float


def plain_name(name: str) -> str | None:
    """Return the name of a weight in the plain body, or None for a weight of an adapter."""
    return None if f".{PART}" in name else name.replace(BASE, "")


def add_adapters(
    body: nn.Module, roles: Mapping[str, Role], adapters: Adapters, *, seed: int
) -> None:
    """Give the body adapters, in place. Its function is unchanged at first.

    `roles` has the role of each parameter of the body, `seed` is the trial's.

    Raises:
        ConfigError: peft is missing, or the body has no linear layers for queries and values.
    """
    places = check_adapters(body, roles)
    from peft import LoraConfig, inject_adapter_in_model  # an extra
    from transformers.pytorch_utils import Conv1D

    joined = {place for place in places if _is_joined(body.get_submodule(place))}
    config = LoraConfig(
        r=adapters.rank,
        lora_alpha=adapters.alpha,  # type: ignore[arg-type]  # it is only divided by the rank
        # A joined layer has both adapters in one. Twice of rank and alpha leaves the scale as it
        # is.
        rank_pattern=dict.fromkeys(joined, 2 * adapters.rank),
        alpha_pattern=dict.fromkeys(joined, 2 * adapters.alpha),
        # GPT-2's Conv1D stores its weight as [in, out].
        fan_in_fan_out=isinstance(body.get_submodule(places[0]), Conv1D),
        lora_dropout=0.0,
        target_modules=places,
    )
    with torch.random.fork_rng(devices=[]):  # peft draws weights, which are drawn anew below
        inject_adapter_in_model(config, body, adapter_name=NAME)
    draws = generator(seed, SCOPE)
    for _, layer in _adapted(body):
        matrix = layer.lora_A[NAME].weight
        drawn = torch.empty(matrix.shape)
        # The distribution is peft's own. The numbers are the trial's, on every device.
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=draws)
        with torch.no_grad():
            matrix.copy_(drawn)
        if _is_joined(layer.base_layer):
            parametrize.register_parametrization(
                layer.lora_B[NAME], "weight", _TwoBlocks(layer.lora_B[NAME].weight)
            )


class _TwoBlocks(nn.Module):
    """The matrix B of a joined layer, which is zero but for queries and values."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        out, rank = weight.shape[0] // 3, weight.shape[1] // 2
        mask = torch.zeros_like(weight, requires_grad=False)
        mask[:out, :rank] = mask[2 * out :, rank:] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def _is_joined(layer: nn.Module) -> bool:
    return parametrize.is_parametrized(layer, "weight")


def check_adapters(body: nn.Module, roles: Mapping[str, Role]) -> list[str]:
    """Return the names of the layers of a plain body that get adapters.

    Raises:
        ConfigError: peft is missing, or the body has no linear layers for queries and values.
    """
    if find_spec("peft") is None:
        raise ConfigError(NO_PEFT)
    from trainables.models.backbones.structure import LINEAR  # with transformers, which is slow

    wanted = {WEIGHT.sub("", name) for name, role in roles.items() if role in ADAPTED}
    linear = {name for name, module in body.named_modules() if isinstance(module, LINEAR)}
    # Attentions with a bias of queries apart read the weight of a joined layer, and never call it.
    called = {
        name
        for name in wanted & linear
        if getattr(body.get_submodule(name.rpartition(".")[0]), "q_bias", None) is None
    }
    if not called:
        raise ConfigError(NO_ADAPTERS.format("this body"))
    return sorted(called)


def remove_adapters(body: nn.Module) -> None:
    """Take the adapters off the body, in place; their effect is lost."""
    for name, layer in list(_adapted(body)):
        outer, _, attribute = name.rpartition(".")
        setattr(body.get_submodule(outer), attribute, layer.base_layer)


def adapters_of(body: nn.Module) -> Adapters | None:
    """Return the adapters that the body has, or None."""
    for _, layer in _adapted(body):
        parts = 2 if _is_joined(layer.base_layer) else 1
        return Adapters(rank=layer.r[NAME] // parts, alpha=layer.lora_alpha[NAME] / parts)
    return None


def merged(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights of a model, with its adapters merged into the plain weights."""
    layers = dict(_adapted(model))
    weights = {}
    for name, tensor in model.state_dict().items():
        if (plain := plain_name(name)) is not None:
            weights[plain] = tensor.detach().clone()
    for name, layer in layers.items():
        change = layer.get_delta_weight(NAME).detach()
        if not _is_joined(layer.base_layer):
            weights[f"{name}.weight"] += change
            continue
        # The change has the thirds of the joined weight. That of the keys is zero.
        joined = layer.base_layer.parametrizations.weight
        for number, part in enumerate(change.chunk(3, joined[0].axis)):
            weights[f"{name}.parametrizations.weight.original{number}"] += part
    return weights


def load_merged(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights that `merged` returned. Adapters of the model have no effect afterwards."""
    own = model.state_dict()
    # The weights already contain what the adapters add, hence zeros for these.
    loaded = {
        name: torch.zeros_like(tensor) if plain is None else weights[plain]
        for name, tensor in own.items()
        for plain in [plain_name(name)]
    }
    model.load_state_dict(loaded)


def _adapted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield each adapted layer by its name."""
    for name, layer in module.named_modules():
        if hasattr(layer, "base_layer") and hasattr(layer, "lora_A"):
            yield name, layer
