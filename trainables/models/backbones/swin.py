"""Swin, the hierarchical backbone of grids (Liu et al., ICCV 2021).

The body has s stages. It maps a grid of tokens of width D to a grid that is coarser by 2^(s-1). The
features have the width E = D 2^(s-1). Positions are relative, inside a window. Any grid therefore
fits if every stage divides into whole windows.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from trainables.errors import ConfigError
from trainables.models.backbone import Geometry, ImageBackbone, Role
from trainables.models.backbones.reading import NetworkReader
from trainables.models.embedders import GridEmbedder
from trainables.models.sample_draws import sample_draws
from trainables.models.weights.limits import check_limit, windowed_side
from trainables.spec import BackboneSpec

_BLOCK = "encoder.layers.*.blocks.*."
ROLES = {
    _BLOCK + "layernorm_before": Role.NORM,
    _BLOCK + "layernorm_after": Role.NORM,
    _BLOCK + "attention.q_proj": Role.ATTENTION_QUERY,
    _BLOCK + "attention.k_proj": Role.ATTENTION_KEY,
    _BLOCK + "attention.v_proj": Role.ATTENTION_VALUE,
    _BLOCK + "attention.o_proj": Role.ATTENTION_OUTPUT,
    _BLOCK + "attention.relative_position_bias.relative_position_bias_table": (
        Role.ATTENTION_POSITION
    ),
    _BLOCK + "mlp.fc1": Role.MLP,
    _BLOCK + "mlp.fc2": Role.MLP,
    # The same parts under the names of older versions of transformers.
    _BLOCK + "attention.self.query": Role.ATTENTION_QUERY,
    _BLOCK + "attention.self.key": Role.ATTENTION_KEY,
    _BLOCK + "attention.self.value": Role.ATTENTION_VALUE,
    _BLOCK + "attention.self.relative_position_bias_table": Role.ATTENTION_POSITION,
    _BLOCK + "attention.output.dense": Role.ATTENTION_OUTPUT,
    _BLOCK + "intermediate.dense": Role.MLP,
    _BLOCK + "output.dense": Role.MLP,
    "encoder.layers.*.downsample.norm": Role.NORM,
    "encoder.layers.*.downsample.reduction": Role.MERGING,
    "layernorm": Role.NORM,
}


class DropPath(nn.Module):
    """Stochastic depth on the attention branch of a block (Huang et al., ECCV 2016).

    In training, the branch of a sample is 0 with probability `rate`, and divided by 1 - rate
    otherwise. The draws come from torch's global generator, like those of dropout. Stages seed this
    generator before each epoch, so a resumed trial draws the same numbers.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training:
            return branch
        kept = 1 - self.rate
        # The floor of U(0, 1) + kept is 1 with probability kept, as transformers draws it.
        draws = (sample_draws(len(branch), branch.device) + kept).floor()
        shape = (len(branch), *(1,) * (branch.dim() - 1))
        return branch / kept * draws.to(branch.dtype).view(shape)


class ShiftMasks:
    """Masks of shifted windows, made once, whereas transformers makes one in each call."""

    def __init__(self, block: Any) -> None:
        self.block = block
        self.masks: dict[tuple[Any, ...], Tensor | None] = {}

    def __call__(
        self, height: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor | None:
        block, make = self.block, type(self.block).get_attn_mask
        if torch.compiler.is_compiling():  # a compiler makes each mask a part of its graph
            mask: Tensor | None = make(block, height, width, dtype=dtype, device=device)
            return mask
        # A tensor that is made in inference mode cannot be used in training.
        mode = torch.is_inference_mode_enabled()
        key = (block.shift_size, block.window_size, height, width, dtype, device, mode)
        if key not in self.masks:
            self.masks[key] = make(block, height, width, dtype=dtype, device=device)
        return self.masks[key]


class SwinBody(nn.Module):
    """Tokens [B, N, D] of a grid -> features [B, M, E] of a coarser grid."""

    def __init__(self, encoder: nn.Module, layernorm: nn.Module, grid: tuple[int, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.layernorm = layernorm
        self.grid = grid
        for block in self.blocks():
            block.get_attn_mask = ShiftMasks(block)

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.layernorm(self.encoder(tokens, self.grid).last_hidden_state)
        return features

    def blocks(self) -> Iterator[Any]:
        """Yield the transformer blocks of all stages in the order of computation."""
        encoder: Any = self.encoder
        for stage in encoder.layers:
            yield from stage.blocks


class SwinBackbone(ImageBackbone):
    """A body for grids, and the patch embedder of its pretraining images."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network.
        """
        check_limit("whole", reader.name, spec.layers)
        config = reader.config(
            SwinConfig,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            drop_path_rate=0.0,
        )
        if config.use_absolute_embeddings:
            raise ConfigError(f"`{reader.name}`: a Swin with absolute positions is not supported.")
        # Each stage but the last halves the grid, and every stage must divide into whole windows.
        coarser = 2 ** (len(config.depths) - 1)
        side = windowed_side(
            reader.name,
            spec.tokens,
            pretrained=config.image_size // config.patch_size,
            step=coarser * config.window_size,
        )
        grid, feature_grid = (side, side), (side // coarser, side // coarser)
        model: Any = reader.model(SwinModel, config, add_pooling_layer=False)
        embedder = GridEmbedder(
            config.num_channels,
            config.embed_dim,
            patch=config.patch_size,
            grid=grid,
            norm=model.embeddings.norm,
        )
        embedder.projection = model.embeddings.patch_embeddings.projection
        super().__init__(
            name=reader.name,
            dimension="2d",
            weights_hash=reader.weights_hash,
            source_embedder=embedder,
            body=SwinBody(model.encoder, model.layernorm, grid),
            roles=ROLES,
            geometry=Geometry(
                token_width=config.embed_dim,
                feature_width=config.embed_dim * coarser,
                max_tokens=side * side,
                grid=grid,
                feature_grid=feature_grid,
                stride=config.patch_size * coarser,
            ),
        )

    def new_body(self, *, drop_path: float) -> nn.Module:
        """Return a copy of the body that trains; see `Backbone.new_body`."""
        body = super().new_body(drop_path=0.0)
        assert isinstance(body, SwinBody)
        blocks = list(body.blocks())
        # The rates grow from 0 (first block) to `drop_path` (last), as in transformers.
        for index, block in enumerate(blocks):
            share = drop_path * index / max(len(blocks) - 1, 1)
            block.drop_path = DropPath(share) if share > 0 else nn.Identity()
        return body
