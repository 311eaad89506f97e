"""Perceiver IO of the package transformers, for labels, vectors and fields.

    points [N, C + P] -> cross-attention -> latents [L, D] -> self-attention -> queries -> outputs

A point is the values of its channels beside the Fourier features of its place. Attention between
points and L latents costs N L, so that fields of any size are read whole. A field is decoded by one
query a point, which is the point itself; labels and vectors by one learned query. Jaegle et al.,
"Perceiver IO: A General Architecture for Structured Inputs & Outputs", ICLR 2022 (arXiv
2107.14795).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PerceiverConfig, PerceiverModel
from transformers.models.perceiver.modeling_perceiver import (
    PerceiverBasicDecoder,
    PerceiverClassificationDecoder,
    PerceiverFourierPositionEncoding,
)

from trainables.tasks.task import Task, TaskShape

Decoder = PerceiverBasicDecoder | PerceiverClassificationDecoder

HEADS = 8  # of self-attention at most: the largest number that divides the width


class Perceiver(nn.Module):
    """Inputs [B, C, *grid] to fields [B, C', *grid], or to logits or vectors [B, k].

    Args:
        encoder: From points [B, N, C + P] to latents.
        decoder: From queries and latents to outputs.
        places: Fourier features [N, P] of the points of the grid.
        output_shape: Of one sample.
    """

    places: Tensor

    def __init__(
        self,
        encoder: PerceiverModel,
        decoder: Decoder,
        places: Tensor,
        output_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.output_shape = output_shape
        # The places follow from the grid, so that no checkpoint has to hold them.
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b k ..."]:
        values = x.flatten(2).transpose(1, 2)
        points = torch.cat([values, self.places.to(values.dtype).expand(len(x), -1, -1)], dim=-1)
        latents = self.encoder(inputs=points).last_hidden_state
        outputs: Tensor
        if isinstance(self.decoder, PerceiverBasicDecoder):
            # One query a point, so that the outputs are [B, N, C'] in the order of the points.
            outputs = self.decoder(points, z=latents).logits
            return outputs.transpose(1, 2).reshape(len(x), *self.output_shape)
        query = self.decoder.decoder_query(points)  # type: ignore[no-untyped-call]
        outputs = self.decoder(query, z=latents).logits
        return outputs


def build_perceiver_io(
    task: Task | TaskShape,
    *,
    latents: int,
    latent_width: int,
    blocks: int,
    block_layers: int,
    bands: int,
) -> Perceiver:
    """Return a new Perceiver IO.

    Args:
        task: Target task.
        latents: Number of latents L.
        latent_width: Width D of the latents.
        blocks: Number of times that the layers of self-attention are applied.
        block_layers: Layers of self-attention of a block. All blocks have the same weights.
        bands: Frequencies of the Fourier features in each direction.
    """
    channels, *grid = task.input_shape
    places = _places(tuple(grid), bands)
    width = channels + places.shape[1]
    config = PerceiverConfig(
        num_latents=latents,
        d_latents=latent_width,
        d_model=width,
        num_blocks=blocks,
        num_self_attends_per_block=block_layers,
        num_self_attention_heads=math.gcd(latent_width, HEADS),
        num_cross_attention_heads=1,
        qk_channels=latent_width,
        v_channels=latent_width,
        attention_probs_dropout_prob=0.0,
    )
    config.num_labels = task.output_shape[0]
    decoder = _decoder(config, task.output_shape, latent_width)
    return Perceiver(PerceiverModel(config), decoder, places, task.output_shape)


def _decoder(config: PerceiverConfig, shape: tuple[int, ...], latent_width: int) -> Decoder:
    """Return the decoder of fields, or of one vector."""
    decoder: Decoder
    if len(shape) > 1:
        decoder = PerceiverBasicDecoder(
            config,
            output_num_channels=shape[0],
            # The queries are the points, which have their places in them already.
            position_encoding_type="none",
            num_channels=config.d_model,
            qk_channels=latent_width,
            v_channels=latent_width,
        )
    else:
        decoder = PerceiverClassificationDecoder(  # type: ignore[no-untyped-call]
            config,
            num_channels=latent_width,
            trainable_position_encoding_kwargs={"num_channels": latent_width, "index_dims": 1},
            use_query_residual=True,
        )
    return decoder


def _places(grid: tuple[int, ...], bands: int) -> Float[Tensor, "n p"]:
    """Return coordinates in [-1, 1], and sines and cosines of their multiples, of each point."""
    encoding = PerceiverFourierPositionEncoding(  # type: ignore[no-untyped-call]
        num_bands=bands, max_resolution=grid
    )
    features: Tensor = encoding(grid, 1, device=torch.device("cpu"), dtype=torch.float32)
    return features[0]
