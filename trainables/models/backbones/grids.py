"""A network that a library built, as the body of grids: its patch convolution is taken out.

The network is the library's own, on its own path of code. Its patch convolution is replaced by a
stand-in that returns the tokens of the target's embedder. Three things move from the network to the
embedder of its pretraining images, and so to that of a target: the convolution, the norm after it
(Swin), and the rows of patches in a table of positions. Class tokens and their positions stay in
the body, which removes them from the features. A network for another grid is built anew at that
size; its table of positions is interpolated (bicubic), and everything else must fit as it is.
"""

from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.errors import WeightsError
from trainables.models.backbone import Geometry, Role
from trainables.models.backbones.structure import (
    check_equal,
    is_norm,
    probe,
    retire,
    split_joined,
    structural_roles,
)
from trainables.models.embedders import GridEmbedder, resize_positions
from trainables.models.weights.limits import check_limit, grid_side

Forward = Callable[[nn.Module, Tensor], Tensor]  # network, images -> features of any layout


class TokenGate(nn.Module):
    """Stand-in for a patch convolution, which returns the tokens as a grid [B, D, side, side].

    Some networks read the type of their numbers from `weight`.
    """

    weight: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.tokens: Tensor | None = None
        self.register_buffer("weight", torch.zeros(1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        assert self.tokens is not None, "the gate is opened by the body"
        samples, _, width = self.tokens.shape
        return self.tokens.transpose(1, 2).reshape(samples, width, self.side, self.side)


class GridBody(nn.Module):
    """Tokens [B, N, D] of a grid -> features [B, M, E], without those of class tokens."""

    def __init__(
        self, network: nn.Module, forward: Forward, gate: TokenGate, image: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.network = network
        self._forward, self._image = forward, image
        self._gate_name = next(n for n, m in network.named_modules() if m is gate)
        self.first = 0  # feature of a patch; those before belong to class tokens

    def forward(self, tokens: Tensor) -> Tensor:
        # Found by its name, since a copy of the body has a gate of its own.
        gate = self.network.get_submodule(self._gate_name)
        assert isinstance(gate, TokenGate)
        # The images hold no memory: only their shape is read.
        images = tokens.new_zeros(1).expand(len(tokens), *self._image)
        gate.tokens = tokens
        try:
            features = self._forward(self.network, images)
        finally:
            # Tokens that stay would keep the graph of the pass alive.
            gate.tokens = None
        return flat(features)[:, self.first :]


class PrefixRows(nn.Module):
    """Table of positions [1, n + N, D] of which only the n rows of class tokens remain."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patches = patches

    def forward(self, prefix: Tensor) -> Tensor:
        zeros = prefix.new_zeros(1, self.patches, prefix.shape[2])
        return torch.cat([prefix, zeros], dim=1)

    def right_inverse(self, table: Tensor) -> Tensor:
        return table[:, : table.shape[1] - self.patches].clone()


def flat(features: Tensor) -> Tensor:
    """Return features [B, M, E] of [B, M, E], or of a square grid [B, E, r, r] or [B, r, r, E].

    Raises:
        WeightsError: The layout is not one of these.
    """
    if features.dim() == 3:
        return features
    shape = tuple(features.shape)
    # If both are equal, nothing tells whether channels are first or last.
    if len(shape) == 4 and shape[1] != shape[3]:
        if shape[2] == shape[3]:
            return features.flatten(2).transpose(1, 2)
        if shape[1] == shape[2]:
            return features.flatten(1, 2)
    raise WeightsError(f"features of shape {shape[1:]} are neither a sequence nor a square grid.")


def _resized(
    build: Callable[[int], nn.Module], network: nn.Module, name: str, *, native: int, side: int
) -> nn.Module:
    """Return `network` for a grid of `side` tokens in a row instead of `native` ones.

    Raises:
        ConfigError: More than its table of positions depends on the grid.
    """
    new = build(side)
    state, patches = new.state_dict(), side * side
    for key, value in network.state_dict().items():
        fitted = value
        if state[key].shape != value.shape:
            # Only a table of positions [1, class tokens + patches, D] can be interpolated, and only
            # if its patches form a square. Anything else depends on the grid of pretraining.
            extra = state[key].shape[1] - patches if value.dim() == 3 else -1
            if extra < 0 or isqrt(value.shape[1] - extra) ** 2 != value.shape[1] - extra:
                check_limit("pretrained_grid", name, patches, known=native * native)
            rows = resize_positions(value[0, extra:], (side, side))
            fitted = torch.cat([value[:, :extra], rows[None]], dim=1)
        state[key] = fitted
    new.load_state_dict(state)
    return new.eval()


def grid_parts(
    network: nn.Module,
    name: str,
    forward: Forward,
    build: Callable[[int], nn.Module],
    *,
    native: int,
    tokens: int | None,
) -> dict[str, Any]:
    """Take a network apart; return the arguments of `ImageBackbone` that follow.

    Args:
        network: The network of a library, with its weights.
        name: Its name, for messages.
        forward: Computes its features of images.
        build: Builds it for a number of tokens in a row, with random weights.
        native: Tokens in a row of its own grid.
        tokens: Tokens of the grid that is asked for; None: its own.

    Raises:
        ConfigError: It does not take such a grid.
        WeightsError: The architecture is not understood.
    """
    side = native if tokens is None else grid_side(name, tokens)
    if side != native:
        network = _resized(build, network, name, native=native, side=side)
    return _taken_apart(network, name, forward, side)


def _taken_apart(network: nn.Module, name: str, forward: Forward, side: int) -> dict[str, Any]:
    """Return the arguments of `ImageBackbone` that follow from a network of `side` tokens a row."""
    place, convolution = _patch_convolution(network, name)
    patch = convolution.kernel_size[0]
    image = (convolution.in_channels, side * patch, side * patch)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        images = torch.randn(1, *image, generator=generator)
        # Computed while the network is whole: what is taken apart below has to give the same
        # features.
        whole = flat(forward(network, images))
    first, feature_side = _feature_grid(whole.shape[1], side, name)
    known, positions = _take_positions(network, place, side * side, convolution.out_channels)
    norm = _take_norm(network, place, name)
    gate = TokenGate(side)
    _replace(network, place, gate)
    split_joined(network)
    body = GridBody(network, forward, gate, image)
    body.first = first
    width = convolution.out_channels
    embedder = GridEmbedder(
        image[0], width, patch=patch, grid=(side, side), norm=norm, positions=positions
    )
    embedder.projection = convolution
    with torch.no_grad():
        embedded = embedder(images)
        check_equal(body(embedded), whole[:, first:], name)
    measured = probe(body, embedded)
    retire(body, measured.unused)
    known = {f"network.{key}": role for key, role in known.items()}
    # Unused parameters have become buffers, and buffers have no role.
    known = {key: role for key, role in known.items() if key not in measured.unused}
    return {
        "name": name,
        "dimension": "2d",
        "source_embedder": embedder,
        "body": body,
        "roles": structural_roles(body, measured, known=known, outside=Role.MERGING),
        "geometry": Geometry(
            token_width=width,
            feature_width=whole.shape[2],
            max_tokens=side * side,
            grid=(side, side),
            feature_grid=(feature_side, feature_side),
            stride=patch * side // feature_side,
        ),
    }


def _patch_convolution(network: nn.Module, name: str) -> tuple[str, nn.Conv2d]:
    """Return name and module of the convolution that cuts an image into patches."""
    found = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    place, first = found[0] if found else ("", None)
    if first is None or first.kernel_size != first.stride or len(set(first.kernel_size)) != 1:
        raise WeightsError(
            f"`{name}`: it does not begin with a convolution that cuts an image into square "
            "patches: this architecture is not supported."
        )
    return place, first


def _feature_grid(features: int, side: int, name: str) -> tuple[int, int]:
    """Return the number of class tokens and the rows of the features."""
    if features >= side * side:
        return features - side * side, side
    rows = isqrt(features)
    if rows * rows != features or side % rows:
        raise WeightsError(f"`{name}`: its {features} features are no grid: it is not supported.")
    return 0, rows


def _take_positions(
    network: nn.Module, place: str, patches: int, width: int
) -> tuple[dict[str, Role], Tensor | None]:
    """Take the rows of patches out of a table of positions.

    Returns:
        The roles of the class tokens and of their positions, by name, and the rows [N, D].
    """
    embedding = place.partition(".")[0]
    known, rows = {}, None
    for key, parameter in list(network.named_parameters()):
        owner_name, _, attribute = key.rpartition(".")
        shape = tuple(parameter.shape)
        if (
            owner_name not in ("", embedding)
            or len(shape) != 3
            or (shape[0], shape[2]) != (1, width)
        ):
            continue
        # Fewer rows than patches are those of class tokens. A table of positions has all patches,
        # and rows of class tokens before them.
        if shape[1] < patches:
            known[key] = Role.CLASS_TOKEN
            continue
        owner = network.get_submodule(owner_name)
        rows = parameter.detach()[0, shape[1] - patches :]
        if shape[1] == patches:
            # The network adds its table on its own path of code, so that zeros take the place of
            # the rows that the embedder adds.
            delattr(owner, attribute)
            owner.register_buffer(attribute, torch.zeros(shape), persistent=False)
        else:
            parametrize.register_parametrization(owner, attribute, PrefixRows(patches))
            prefix = f"{owner_name}." if owner_name else ""
            known[f"{prefix}parametrizations.{attribute}.original"] = Role.CLASS_TOKEN
    return known, rows


def _take_norm(network: nn.Module, place: str, name: str) -> nn.LayerNorm | None:
    """Take the norm after the patch convolution out of a network, if it has one."""
    embedding = place.partition(".")[0]
    top = network.get_submodule(embedding)
    found = [n for n, m in top.named_modules(prefix=embedding) if is_norm(m)]
    if not found or top is network.get_submodule(place):
        return None
    norm = network.get_submodule(found[0])
    if len(found) > 1 or not isinstance(norm, nn.LayerNorm):
        raise WeightsError(
            f"`{name}`: its embedding has more than a convolution, positions and one LayerNorm: "
            "this architecture is not supported."
        )
    _replace(network, found[0], nn.Identity())
    return norm


def _replace(network: nn.Module, place: str, module: nn.Module) -> None:
    parent, _, attribute = place.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module)
