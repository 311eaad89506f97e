"""Controls for what pretraining put into the weights of a backbone.

    shuffled           the values of each tensor in another order: their distribution remains, and
                       what they say together is lost
    pretrained_layers  the first k layers pretrained, all others random as with `weights: random`

The order is drawn from a fixed seed and the name of the tensor, and does not depend on a trial's
seed. Both alter embedder and body, since the embedder of a target starts as a copy.

With k = 0 all is random, and with k = all layers all is pretrained. In between, the embedder and
what a body has before its layers are pretrained, because the first layer needs its own inputs. What
a body has after its layers, such as a last norm, is random.
"""

import hashlib
import json

import torch
from torch import nn

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
    place, layers = _layers(backbone, first)
    if kept_layers(backbone.name, first, len(layers), key="pretrained_layers") == len(layers):
        return backbone
    theirs = dict(random.body.named_parameters())
    is_after = False
    for name, weight in backbone.body.named_parameters():
        number = name.removeprefix(f"{place}.").partition(".")[0]
        is_inside = name.startswith(f"{place}.")
        is_after = is_after or is_inside  # parameters have the order of their modules
        if is_after and not (is_inside and int(number) < first):
            weight.copy_(theirs[name])
    backbone.weights_hash = _hash(backbone, "pretrained_layers", first)
    return backbone


def _layers(backbone: Backbone, first: int) -> tuple[str, nn.ModuleList]:
    """Return the name in the body and the list of the layers, of which the first ones are kept.

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
    return next(iter(found.items()))


def _hash(backbone: Backbone, *change: str | int) -> str:
    text = json.dumps([backbone.weights_hash, *change])
    return hashlib.sha256(text.encode()).hexdigest()
