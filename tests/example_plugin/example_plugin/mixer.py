"""A random body of one layer that mixes each token with the mean of all."""

import torch
from torch import nn

from trainables.models.backbone import Backbone, Geometry, Role
from trainables.models.embedders import SequenceEmbedder


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(2 * width, width)

    def forward(self, tokens):
        normed = self.norm(tokens)
        mean = normed.mean(1, keepdim=True).expand_as(normed)
        return tokens + torch.relu(self.mix(torch.cat([normed, mean], dim=-1)))


class MixerBackbone(Backbone):
    def __init__(self, reader, spec):
        width, self.tokens = reader.description["width"], spec.tokens or 64
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(reader.seed)
            parts = {"source_embedder": nn.Embedding(64, width), "body": Mixer(width)}
        super().__init__(
            name=reader.name, dimension="1d", weights_hash=reader.weights_hash,
            roles={"norm": Role.NORM, "mix": Role.MLP},
            geometry=Geometry(token_width=width, feature_width=width, max_tokens=64), **parts,
        )  # fmt: skip

    @torch.no_grad()
    def embed_source(self, inputs):
        return self.source_embedder(inputs % 64)

    def target_embedder(self, input_shape, *, init, generator, published_tokens=None):
        return SequenceEmbedder(
            input_shape, max_tokens=self.tokens, width=self.token_width, positions=None,
            norm=self.body.norm, init=init, generator=generator,
        )  # fmt: skip
