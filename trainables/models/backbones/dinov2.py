"""DINOv2, a plain vision transformer as the backbone of grids (Oquab et al., TMLR 2024).

The body prepends the class token to the patches and removes it from the features. The embedder adds
the positions of the patches, after a bicubic interpolation to the grid as in the original model.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from trainables.models.backbone import Geometry, ImageBackbone, Role
from trainables.models.backbones.reading import NetworkReader
from trainables.models.embedders import GridEmbedder, resize_positions
from trainables.models.weights.limits import grid_side, kept_layers
from trainables.spec import BackboneSpec

_LAYER = "encoder.layer.*."
ROLES = {
    "class_token": Role.CLASS_TOKEN,
    _LAYER + "norm1": Role.NORM,
    _LAYER + "norm2": Role.NORM,
    _LAYER + "attention.q_proj": Role.ATTENTION_QUERY,
    _LAYER + "attention.k_proj": Role.ATTENTION_KEY,
    _LAYER + "attention.v_proj": Role.ATTENTION_VALUE,
    _LAYER + "attention.o_proj": Role.ATTENTION_OUTPUT,
    # The same parts under the names of older versions of transformers.
    _LAYER + "attention.attention.query": Role.ATTENTION_QUERY,
    _LAYER + "attention.attention.key": Role.ATTENTION_KEY,
    _LAYER + "attention.attention.value": Role.ATTENTION_VALUE,
    _LAYER + "attention.output.dense": Role.ATTENTION_OUTPUT,
    _LAYER + "layer_scale1.lambda1": Role.SCALE,
    _LAYER + "layer_scale2.lambda1": Role.SCALE,
    _LAYER + "mlp.fc1": Role.MLP,
    _LAYER + "mlp.fc2": Role.MLP,
    "layernorm": Role.NORM,
}


class Dinov2Body(nn.Module):
    """Patch tokens [B, N, D] -> patch features [B, N, D]."""

    def __init__(self, encoder: nn.Module, layernorm: nn.Module, class_token: Tensor) -> None:
        super().__init__()
        self.class_token = nn.Parameter(class_token.detach().clone())  # [1, 1, D], plus position
        self.encoder = encoder
        self.layernorm = layernorm

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.class_token.expand(len(tokens), -1, -1).to(tokens.dtype)
        encoded = self.encoder(torch.cat([first, tokens], dim=1)).last_hidden_state
        features: Tensor = self.layernorm(encoded)[:, 1:]
        return features


class Dinov2Backbone(ImageBackbone):
    """A body for grids, and the patch embedder of its pretraining images."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network.
        """
        config = reader.config(
            Dinov2Config,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            drop_path_rate=0.0,
        )
        # Only the kept layers are built; the reader checks the file against the stored number.
        side = grid_side(reader.name, spec.tokens)
        stored = config.num_hidden_layers
        config.num_hidden_layers = kept_layers(reader.name, reader.layers, stored)
        model: Any = reader.model(Dinov2Model, config, stored_layers=stored)
        embeddings, grid = model.embeddings, (side, side)
        positions = embeddings.position_embeddings
        embedder = GridEmbedder(
            config.num_channels,
            config.hidden_size,
            patch=config.patch_size,
            grid=grid,
            positions=resize_positions(positions[0, 1:], grid),
        )
        embedder.projection = embeddings.patch_embeddings.projection
        super().__init__(
            name=reader.name,
            dimension="2d",
            weights_hash=reader.weights_hash,
            source_embedder=embedder,
            # The class token stays in the body, and its position with it.
            body=Dinov2Body(
                model.encoder, model.layernorm, embeddings.cls_token + positions[:, :1]
            ),
            roles=ROLES,
            geometry=Geometry(
                token_width=config.hidden_size,
                feature_width=config.hidden_size,
                max_tokens=side * side,
                grid=grid,
                feature_grid=grid,
                stride=config.patch_size,
            ),
        )
