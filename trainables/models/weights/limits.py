"""Limits of a backbone's settings, which follow from its sizes. Importing them loads no torch.

The networks and the checks of a sweep file share the table, so that both say the same.
"""

from collections.abc import Callable, Mapping
from math import isqrt
from types import MappingProxyType

from trainables.errors import ConfigError
from trainables.spec import Bidirectional

DEFAULT_SIDE = 16  # patches per side of a 224 x 224 image, the usual input of DINOv2
MAX_TOKENS = 4096  # of global attention, whose cost is quadratic
# By name: the setting, what a backbone takes of it and the way out, and whether it can have a value
LIMITS: Mapping[str, tuple[str, str, Callable[..., bool]]] = MappingProxyType({
    "whole": ("layers", "cannot be cut to its first layers, since it has stages that need each "
              "other, or is one of timm: leave layers out", lambda value: value is None),
    "stored": ("layers", "has {most}: lower it",
               lambda value, most: value is None or value <= most),
    "one_list": ("pretrained_layers", "has not one list of layers, but stages, or is one of timm: "
                 "leave it out", lambda value, is_one: is_one),
    "positions": ("tokens", "has positions for {most}: lower it",
                  lambda value, most: (value or 0) <= most),
    "windows": ("tokens", "takes the square of a multiple of {step}, so that its windows fit: "
                "{least}, {second}, ...",
                lambda value, step, **_: value > 0 and (isqrt(value) // step * step) ** 2 == value),
    "square": ("tokens", "takes a square number, such as {below} or {above}",
               lambda value, below, above: value == below),
    "attention": ("tokens", "takes {most} at most, since all of them attend to each other: lower "
                  "it", lambda value, most: value <= most),
    "pretrained_grid": ("tokens", "has positions for the grid of its pretraining alone: {known}, "
                        "or leave tokens out", lambda value, known: value == known),
    "direction": ("bidirectional", "is a {title}, whose tokens see each other in both directions "
                  "already: leave it out",
                  lambda value, is_causal, **_: value == "none" or is_causal),
})  # fmt: skip


def check_limit(
    limit: str, name: str, value: object, *, key: str | None = None, **sizes: int | str
) -> None:
    """Check a setting of the backbone `name` by a limit in `LIMITS` and what it follows from.

    Raises:
        ConfigError: The backbone cannot have the value.
    """
    setting, takes, fits = LIMITS[limit]
    if not fits(value, **sizes):
        takes = takes.format(**sizes)
        raise ConfigError(f"backbone.{key or setting} is {value}, but `{name}` {takes}.")


def kept_layers(name: str, layers: int | None, stored: int, *, key: str = "layers") -> int:
    """Return the number of layers to keep: `layers`, or all the `stored` ones for None.

    Raises:
        ConfigError: `layers`, which the setting `key` requests, exceeds the `stored` layers.
    """
    check_limit("stored", name, layers, key=key, most=stored)
    return stored if layers is None else layers


def sequence_limit(positions: int | None, *, learned: bool, bidirectional: Bidirectional) -> int:
    """Return the maximal number of tokens of a sequence.

    Args:
        positions: Number of positions of the pretrained network; None: not limited.
        learned: Whether they are a table of the embedder. Doubling a sequence then needs no more.
        bidirectional: How the network sees both directions.
    """
    limit = min(positions or MAX_TOKENS, MAX_TOKENS)
    return limit // 2 if bidirectional == "double" and not learned else limit


def windowed_side(name: str, tokens: int | None, *, pretrained: int, step: int) -> int:
    """Return the tokens per side of the grid of a Swin, which is pretrained for another side.

    Args:
        name: Name of the backbone.
        tokens: Tokens of the whole grid; None: as pretrained.
        pretrained: Tokens per side in pretraining.
        step: Side of a window of the last stage, in tokens of the first stage.

    Raises:
        ConfigError: The grid does not divide into windows.
    """
    count = pretrained * pretrained if tokens is None else tokens
    check_limit("windows", name, count, step=step, least=step * step, second=4 * step * step)
    return isqrt(count)


def grid_side(name: str, tokens: int | None) -> int:
    """Return the tokens per side of the grid of a DINOv2.

    Raises:
        ConfigError: `tokens` is not a square number, or it is too large.
    """
    side = DEFAULT_SIDE if tokens is None else isqrt(tokens)
    count = side * side if tokens is None else tokens
    check_limit("square", name, count, below=side * side, above=(side + 1) ** 2)
    check_limit("attention", name, count, most=MAX_TOKENS)
    return side
