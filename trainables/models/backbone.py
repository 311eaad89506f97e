"""A pretrained transformer in two parts: its own embedder, and the body that all methods share.

    x -> embedder -> tokens [B, N, D] -> body -> features [B, M, E] -> predictor -> y

A backbone is constant. A trial trains a copy of the body and a new embedder.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError, WeightsError
from trainables.models.embedders import GridEmbedder
from trainables.models.weights.description import no_drop_path

B = TypeVar("B", bound="Backbone")


class Role(StrEnum):
    """The role of a parameter in a body. A bias has the role of its weight."""

    ATTENTION_QUERY = "attention_query"
    ATTENTION_KEY = "attention_key"
    ATTENTION_VALUE = "attention_value"
    ATTENTION_OUTPUT = "attention_output"
    ATTENTION_POSITION = "attention_position"  # relative positions, or a temperature
    MLP = "mlp"
    CONVOLUTION = "convolution"
    NORM = "norm"
    SCALE = "scale"  # of a residual branch, by channel
    MERGING = "merging"  # of patches, between Swin's stages
    PROJECTION = "projection"  # of tokens to the width of the layers, before these
    CLASS_TOKEN = "class_token"  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The numbers and widths of the tokens that a body takes, and of its features."""

    token_width: int  # D
    feature_width: int  # E
    max_tokens: int  # that the body takes: at most (1D) or exactly (2D)
    grid: tuple[int, int] | None = None  # rows and columns of the tokens, in 2D
    feature_grid: tuple[int, int] | None = None  # of the features, in 2D
    stride: int = 1  # pixels of the embedder's image per feature, in each direction, in 2D


class Backbone(nn.Module, ABC):
    """Frozen base of all backbones, in evaluation mode. Its parts are attributes.

    Args:
        weights_hash: SHA-256 of the origin of the weights.
        roles: Role of each module or parameter of the body, by name, with `*` for each number.
    """

    description: Mapping[str, Any] = MappingProxyType({})  # config from which it can be rebuilt

    def __init__(
        self,
        *,
        name: str,
        dimension: Literal["1d", "2d"],
        weights_hash: str,
        source_embedder: nn.Module,
        body: nn.Module,
        roles: Mapping[str, Role],
        geometry: Geometry,
    ) -> None:
        super().__init__()
        self.name = name
        self.dimension = dimension
        self.weights_hash = weights_hash
        self.source_embedder = source_embedder
        self.body = body
        self.roles = role_map(body, roles)
        self.geometry = geometry
        self.token_width, self.feature_width = geometry.token_width, geometry.feature_width
        self.max_tokens, self.stride = geometry.max_tokens, geometry.stride
        self.grid, self.feature_grid = geometry.grid, geometry.feature_grid
        self.requires_grad_(False).eval()

    @abstractmethod
    def embed_source(self, inputs: Tensor) -> Tensor:
        """Embed normalised images [B, 3, H, W] or token ids [B, N] as tokens [B, N, D].

        No gradient reaches the embedder.
        """

    @abstractmethod
    def target_embedder(
        self,
        input_shape: tuple[int, ...],
        *,
        init: Literal["pretrained_copy", "random"],
        generator: torch.Generator,
        published_tokens: int | None = None,
    ) -> nn.Module:
        """Return a new embedder of target inputs [B, *input_shape] as tokens [B, N, D].

        Args:
            input_shape: [C, L] or [C, H, W].
            init: Copy the source embedder's weights where they fit, or draw all.
            generator: Source of random weights.
            published_tokens: Maximal number of tokens (1D), used if the backbone's spec sets none.
        """

    def embedding_on(self: B, device: torch.device) -> B:
        """Return this backbone with a copy of its source embedder on `device`."""
        # `copy.copy` shares the dict of modules, so that the copy needs one of its own.
        other = copy.copy(self)
        embedder = copy.deepcopy(self.source_embedder).to(device)
        other._modules = {**self._modules, "source_embedder": embedder}
        return other

    def new_body(self, *, drop_path: float) -> nn.Module:
        """Return a copy of the body that trains, in training mode.

        Args:
            drop_path: Share of samples that skip the attention of the last block in training.

        Raises:
            ConfigError: `drop_path` is above 0, but the network has no drop path.
        """
        if drop_path:
            raise ConfigError(no_drop_path(self.name, drop_path))
        return copy.deepcopy(self.body).requires_grad_(True).train()

    def tokenize(
        self, sentences: Sequence[Sequence[str]]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Split sentences of words into sub-words.

        Returns:
            For each sentence: the ids of its sub-words, and the index of each sub-word's word.

        Raises:
            ConfigError: The backbone reads images.
            WeightsError: The backbone's folder has no tokenizer.
        """
        raise ConfigError(
            f"the backbone `{self.name}` reads images, not words: use an image proxy with it."
        )

    def train(self: B, mode: bool = True) -> B:
        """Stay in evaluation mode: a backbone is never trained."""
        return super().train(False)


class SequenceBackbone(Backbone):
    """A backbone whose embedder looks up token ids."""

    @torch.no_grad()
    def embed_source(self, inputs: Tensor) -> Tensor:
        """Embed token ids [B, N] as tokens [B, N, D].

        Raises:
            ConfigError: N exceeds the number of positions.
        """
        if inputs.shape[1] > self.max_tokens:
            raise ConfigError(
                f"{inputs.shape[1]} source tokens exceed the {self.max_tokens} of `{self.name}`."
            )
        tokens: Tensor = self.source_embedder(input_ids=inputs)
        return tokens


class ImageBackbone(Backbone):
    """A backbone whose embedder cuts images into a grid of patches."""

    source_embedder: GridEmbedder

    @torch.no_grad()
    def embed_source(self, inputs: Tensor) -> Tensor:
        """Embed normalised images [B, 3, H, W] of any size as tokens [B, N, D]."""
        tokens: Tensor = self.source_embedder(inputs)
        return tokens

    def target_embedder(
        self,
        input_shape: tuple[int, ...],
        *,
        init: Literal["pretrained_copy", "random"],
        generator: torch.Generator,
        published_tokens: int | None = None,
    ) -> nn.Module:
        """Return a new embedder of [B, C, H, W]; see `Backbone.target_embedder`."""
        return GridEmbedder.like(
            self.source_embedder, input_shape[0], init=init, generator=generator
        )


def role_map(body: nn.Module, roles: Mapping[str, Role]) -> dict[str, Role]:
    """Return the role of every parameter of `body` by its name.

    Args:
        body: The network without embedder and head.
        roles: Role by the exact name of a module or parameter, with `*` for each number, or by the
            exact name of a parameter with its numbers.

    Raises:
        WeightsError: A parameter has no role, so the architecture has unknown parts.
    """
    found = {}
    for name, _ in body.named_parameters():
        if name in roles:
            found[name] = roles[name]
            continue
        # Layers differ in their numbers alone, so that one entry names a part of all of them.
        place = ".".join("*" if part.isdigit() else part for part in name.split("."))
        module = place.removesuffix(".weight").removesuffix(".bias")
        if module not in roles:
            raise WeightsError(f"the parameter {name} has no role here: unknown architecture.")
        found[name] = roles[module]
    return found
