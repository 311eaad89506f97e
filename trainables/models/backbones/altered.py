"""Controls for what pretraining put into the weights of a backbone.

    shuffled           the values of each tensor in another order: their distribution remains, and
                       what they say together is lost
    pretrained_layers  the first k layers pretrained, all others random as with `weights: random`

The order is drawn from a fixed seed and the name of the tensor, and does not depend on a trial's
seed. Both alter embedder and body, since the embedder of a target starts as a copy.

With k = 0 all is random, and with k = all layers all is pretrained. In between, the embedder and
all that the output of the k-th layer depends on are pretrained, such as positions that all layers
share. What a body has after its layers, such as a last norm, is random.
"""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.backbone import Backbone
from trainables.models.weights.limits import check_limit, kept_layers
from trainables.seeding import generator

SEED = 0  # of all permutations


@torch.no_grad()
def shuffle_weights(backbone: Backbone) -> Backbone:
    """Permute the values within each tensor of a backbone, and return it with another hash."""
    for name, weight in backbone.named_parameters():
        # A stream for each name: a network with fewer layers has the same order in those that it
        # keeps.
        order = torch.randperm(weight.numel(), generator=generator(SEED, "shuffled-weights", name))
        weight.copy_(weight.flatten()[order].reshape(weight.shape))
    backbone.weights_hash = _hash(backbone, "shuffled", SEED)
    return backbone


@torch.no_grad()
def take_random_layers(backbone: Backbone, random: Backbone, *, first: int) -> Backbone:
    """Copy the layers after the first ones, and what follows them, from a random backbone.

    Args:
        backbone: The pretrained backbone, which is changed in place.
        random: The same architecture with random weights.
        first: Number of layers that stay pretrained.

    Returns:
        The mixed backbone, or one of the two if all layers are of it.

    Raises:
        ConfigError: There are fewer layers, or they are not one list.
    """
    if first == 0:
        return random
    layers = _layers(backbone, first)
    if kept_layers(backbone.name, first, len(layers), key="pretrained_layers") == len(layers):
        return backbone
    theirs, kept = dict(random.body.named_parameters()), _behind(backbone, layers[first - 1])
    for name, weight in backbone.body.named_parameters():
        if name not in kept:
            weight.copy_(theirs[name])
    backbone.weights_hash = _hash(backbone, "pretrained_layers", first)
    return backbone


def _behind(backbone: Backbone, layer: nn.Module) -> set[str]:
    """Return the names of the body's parameters that the output of `layer` depends on."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        outputs.append(output if isinstance(output, Tensor) else output[0])

    # A sequence may have any length, and a grid has one alone.
    count = backbone.max_tokens if backbone.grid else 2
    tokens = torch.zeros(1, count, backbone.token_width)
    names, parameters = zip(*backbone.body.named_parameters(), strict=True)
    hook = layer.register_forward_hook(keep)
    with torch.enable_grad():
        backbone.body.requires_grad_(True)
        backbone.body(tokens)
        # A parameter without a path to the output has no gradient, which differs from one of zeros.
        gradients = torch.autograd.grad(outputs[0].sum(), parameters, allow_unused=True)
        backbone.body.requires_grad_(False)
    hook.remove()
    return {name for name, each in zip(names, gradients, strict=True) if each is not None}


def _layers(backbone: Backbone, first: int) -> nn.ModuleList:
    """Return the list of the layers, of which the first ones are kept.

    Raises:
        ConfigError: The layers are not one list of equal layers.
    """
    found: dict[str, nn.ModuleList] = {}
    for name, module in backbone.body.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and not inside:
            found[name] = module
    # A body whose features are on a coarser grid has stages, and no list of equal layers.
    is_one = len(found) == 1 and backbone.grid == backbone.feature_grid
    check_limit("one_list", backbone.name, first, is_one=is_one)
    return next(iter(found.values()))


def _hash(backbone: Backbone, *change: str | int) -> str:
    text = json.dumps([backbone.weights_hash, *change])
    return hashlib.sha256(text.encode()).hexdigest()
