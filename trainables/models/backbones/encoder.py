"""Any text encoder or decoder of transformers, as a backbone of sequences.

The network is the library's own, on its own path of code. Only its embedding is taken out, so that
it reads tokens as `inputs_embeds`. The source embedder is what was taken out: word embeddings, a
table of learned positions, and the norm after them. Relative and rotary positions stay in the body,
because attention computes them. While a backbone is loaded, its body is compared with the whole
network on a few words, and a difference refuses it.

A decoder is causal: a token sees the tokens before it alone. Its features can be made bidirectional
(García-de-Herreros et al., arXiv 2510.05278). What is meant here is:

    none    as it is
    flip    parallel flipping. The tokens run forwards, and the same tokens run backwards. The
            second features are turned back, and the mean of both is taken: feature i has seen all
            tokens. One pass with twice the samples. A learned position is part of its token.
    double  sequence doubling. The tokens are written twice in a row, and the features of the second
            copy are kept: feature i has seen the whole sequence. One pass with twice the tokens.
            Learned positions are those of the sequence in both copies, since they are part of the
            tokens; rotary positions run on.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

from trainables.errors import ConfigError, WeightsError
from trainables.models.backbone import Geometry, Role
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.structure import (
    check_equal,
    cut,
    is_norm,
    probe,
    retire,
    silence_dropout,
    split_joined,
    structural_roles,
)
from trainables.models.backbones.words import Embedding, WordBackbone
from trainables.models.weights.description import unsupported
from trainables.models.weights.limits import kept_layers, sequence_limit
from trainables.spec import BackboneSpec, Bidirectional

PROBE_TOKENS = 8
DEFAULT_TOKENS = 512  # of a target, whatever the limit of relative or rotary positions


class SequenceBody(nn.Module):
    """Tokens [B, N, D] -> features [B, N, E]."""

    def __init__(self, network: nn.Module, bidirectional: Bidirectional = "none") -> None:
        super().__init__()
        self.network = network
        self.bidirectional = bidirectional

    def forward(self, tokens: Tensor) -> Tensor:
        if self.bidirectional == "flip":
            forwards, backwards = self._encode(torch.cat([tokens, tokens.flip(1)])).chunk(2)
            return (forwards + backwards.flip(1)) / 2
        if self.bidirectional == "double":
            return self._encode(torch.cat([tokens, tokens], dim=1))[:, tokens.shape[1] :]
        return self._encode(tokens)

    def _encode(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.network(inputs_embeds=tokens).last_hidden_state
        return features


class WordEmbedder(nn.Module):
    """Embedder of token ids [B, N] as tokens [B, N, D]: words, plus learned positions if any."""

    def __init__(self, words: nn.Module, positions: nn.Embedding | None) -> None:
        super().__init__()
        self.words, self.positions = words, positions

    def forward(self, input_ids: Tensor) -> Tensor:
        tokens: Tensor = self.words(input_ids)
        if self.positions is None:
            return tokens
        return tokens + self.positions.weight[: input_ids.shape[1]]


class Passthrough(nn.Module):
    """Stand-in for an embedding that was taken out: it returns the tokens that it is given."""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        values = (*inputs, *named.values())  # of these, only tokens have three axes
        return next(v for v in values if isinstance(v, Tensor) and v.dim() == 3)


class NoPositions(nn.Module):
    """Stand-in for a table of positions that was taken out: its rows are zero."""

    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(1, 1, 1), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        return self.zero


class EncoderBackbone(WordBackbone):
    """A body for sequences, and the word embedder of its pretraining."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network, or its architecture is not understood.
        """
        network = _built(reader)
        config = network.config
        words = torch.arange(PROBE_TOKENS)[None] + _first_word(config)
        with torch.no_grad():
            # Computed while the network is whole: without its embedding, the body has to give the
            # same.
            whole = network(input_ids=words).last_hidden_state
        bidirectional = spec.bidirectional
        if bidirectional != "none" and not _is_causal(network, words):
            raise ConfigError(
                f"backbone.bidirectional is {bidirectional}, but every token of `{reader.name}` "
                "sees all others: leave it out. It is for decoders."
            )
        embedding = _take_embedding(network, config, reader.name)
        split_joined(network)
        body = SequenceBody(network, bidirectional)
        with torch.no_grad():
            tokens = embedding.module(input_ids=words)
            # Compared as it is: the library's network neither flips nor doubles its tokens.
            check_equal(SequenceBody(network)(tokens), whole, reader.name)
        measured = probe(body, tokens)
        retire(body, measured.unused)
        most = _stated(config) if embedding.positions is None else len(embedding.positions)
        super().__init__(
            reader,
            spec,
            embedding,
            body=body,
            roles=structural_roles(body, measured, known={}, outside=Role.PROJECTION),
            geometry=Geometry(
                token_width=tokens.shape[2],
                feature_width=whole.shape[2],
                max_tokens=sequence_limit(
                    most,
                    learned=embedding.positions is not None,
                    bidirectional=bidirectional,
                ),
            ),
            usual_tokens=DEFAULT_TOKENS,
        )


def _built(reader: NetworkReader) -> Any:
    """Return a network with its weights, of which the layers beyond the kept ones are cut off.

    Raises:
        ConfigError, WeightsError: As for `EncoderBackbone`.
    """
    config, model_class = _classes(reader)
    silence_dropout(config)
    # No sequence is continued: a decoder would keep the keys and values of every layer for nothing.
    config.use_cache = False
    stored = config.num_hidden_layers
    kept = kept_layers(reader.name, reader.layers, stored)
    network: Any = reader.model(model_class, config, heads=True).eval()
    if kept < stored:
        cut(network, stored, kept)
        network.config.num_hidden_layers = kept
    return network


def _classes(reader: NetworkReader) -> tuple[Any, Any]:
    """Return the configuration of a network, and the class of its encoder.

    Raises:
        WeightsError: transformers has no such encoder, or the configuration is invalid.
    """
    if reader.model_type not in CONFIG_MAPPING:
        raise unsupported(reader.name, reader.model_type)
    config = reader.config(CONFIG_MAPPING[reader.model_type])
    # A whole pair of encoder and decoder reads inputs of both, so that its encoder alone is a body.
    encoders, pair = MODEL_FOR_TEXT_ENCODING_MAPPING, getattr(config, "is_encoder_decoder", False)
    mapping = encoders if type(config) in encoders or pair else MODEL_MAPPING
    if type(config) not in mapping or not isinstance(model_class := mapping[type(config)], type):
        raise unsupported(reader.name, reader.model_type)
    return config, model_class


def _first_word(config: Any) -> int:
    """Return an id after which no padding follows: a network may treat padding in its own way."""
    padding = config.pad_token_id
    after = padding is not None and padding >= 0 and padding + PROBE_TOKENS < config.vocab_size
    return padding + 1 if after else 0


def _is_causal(network: nn.Module, words: Tensor) -> bool:
    """Return whether the first features do not change with the last token."""
    other = words.clone()
    # Under a causal mask, another last token leaves the features before it as they are.
    other[:, -1] = words[:, 0]
    with torch.no_grad():
        a, b = (network(input_ids=ids).last_hidden_state[:, :-1] for ids in (words, other))
    # Kernels may round otherwise, so that equal features need not have equal bits.
    return torch.allclose(a, b, rtol=0.0, atol=1e-6 * a.abs().max().item())


def _take_embedding(network: Any, config: Any, name: str) -> Embedding:
    """Take the embedding out of a network, which then reads `inputs_embeds` as its tokens.

    Raises:
        WeightsError: The embedding has parts that a target's embedder would lack.
    """
    words = network.get_input_embeddings()
    parents = {child: (n, m) for n, m in network.named_modules() for child in m.children()}
    place, parent = parents[words]
    most = getattr(config, "max_position_embeddings", None)
    layers = [m for m in network.modules() if isinstance(m, nn.ModuleList)]
    if not any(inner in layers for inner in parent.modules()):
        # The words lie in a module of their own, together with positions and norm.
        tables = [m for m in _embeddings(parent, words) if m.num_embeddings == most]
        norms = [m for m in parent.modules() if is_norm(m)]
        linear = [m for m in parent.modules() if isinstance(m, nn.Linear | nn.Conv1d)]
        plain = all(isinstance(norm, nn.LayerNorm) for norm in norms)
        if len(tables) > 1 or len(norms) > 1 or linear or not plain:
            raise WeightsError(
                f"`{name}`: its embedding ({type(parent).__name__}) has parts other than words, "
                "one table of positions and one LayerNorm: this architecture is not supported."
            )
        # The network goes on calling its embedding, which now returns the tokens that it is given.
        outer, _, attribute = place.rpartition(".")
        setattr(network.get_submodule(outer), attribute, Passthrough())
        norm = norms[0] if norms else None
        assert norm is None or isinstance(norm, nn.LayerNorm)
        return Embedding(module=parent, positions=_rows(next(iter(tables), None)), norm=norm)
    # The words lie beside the layers, as do learned positions.
    tables = [m for m in _embeddings(parent, words) if m.num_embeddings == most]
    tables = [m for m in tables if parents[m][1] is parent]
    if len(tables) > 1:
        raise WeightsError(f"`{name}`: it has several tables of positions: it is not supported.")
    table = next(iter(tables), None)
    for attribute, module in list(parent.named_children()):
        if module is table:
            setattr(parent, attribute, NoPositions())
    # Otherwise every copy of the body would hold a table of words that it never reads.
    network.set_input_embeddings(nn.Identity())
    return Embedding(module=WordEmbedder(words, table), positions=_rows(table), norm=None)


def _embeddings(module: nn.Module, words: nn.Module) -> list[nn.Embedding]:
    return [m for m in module.modules() if isinstance(m, nn.Embedding) and m is not words]


def _rows(table: nn.Embedding | None) -> Tensor | None:
    """Return the rows of a table of positions, which start after its row of padding."""
    if table is None:
        return None
    first = 0 if table.padding_idx is None else table.padding_idx + 1
    return table.weight.detach()[first:]


def _stated(config: Any) -> int | None:
    """Return the number of positions that a configuration states, if it limits them."""
    most = getattr(config, "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None
