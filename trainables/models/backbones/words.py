"""Shared parts of backbones of words: the embedder of a target, and the tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from trainables.errors import WeightsError
from trainables.models.backbone import Geometry, Role, SequenceBackbone
from trainables.models.backbones.reading import NetworkReader
from trainables.models.embedders import SequenceEmbedder
from trainables.models.weights.limits import check_limit
from trainables.spec import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The embedding of a network, apart from its body."""

    module: nn.Module  # token ids [B, N] -> tokens [B, N, D]
    positions: Tensor | None  # table of learned positions [most, D], if it has one
    norm: nn.LayerNorm | None


class WordBackbone(SequenceBackbone):
    """A body for sequences, and the word embedder of its pretraining."""

    def __init__(
        self,
        reader: NetworkReader,
        spec: BackboneSpec,
        embedding: Embedding,
        *,
        body: nn.Module,
        roles: dict[str, Role],
        geometry: Geometry,
        usual_tokens: int,
    ) -> None:
        """Assemble a backbone.

        Args:
            reader: Where its network is from.
            spec: The number of tokens of a target, if it sets one.
            embedding: What a target's embedder starts from.
            body: As for `Backbone`.
            roles: As for `Backbone`.
            geometry: As for `Backbone`.
            usual_tokens: Tokens of a target if neither the spec nor a paper sets their number.

        Raises:
            ConfigError: The spec asks for more tokens than there are positions.
        """
        super().__init__(
            name=reader.name,
            dimension="1d",
            weights_hash=reader.weights_hash,
            source_embedder=embedding.module,
            body=body,
            roles=roles,
            geometry=geometry,
        )
        check_limit("positions", self.name, spec.tokens, most=self.max_tokens)
        self.tokens, self._usual_tokens = spec.tokens, usual_tokens
        self._embedding, self._reader = embedding, reader

    def target_embedder(
        self,
        input_shape: tuple[int, ...],
        *,
        init: Literal["pretrained_copy", "random"],
        generator: torch.Generator,
        published_tokens: int | None = None,
    ) -> nn.Module:
        """Return a new embedder of [B, C, L]; see `Backbone.target_embedder`."""
        # The paper's backbone may have more positions than this one.
        usual = min(published_tokens or self._usual_tokens, self.max_tokens)
        return SequenceEmbedder(
            input_shape,
            max_tokens=self.tokens or usual,
            width=self.token_width,
            positions=self._embedding.positions,
            norm=self._embedding.norm,
            init=init,
            generator=generator,
        )

    def tokenize(
        self, sentences: Sequence[Sequence[str]]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Return sub-word ids and word indices without special tokens; see `Backbone.tokenize`."""
        encoded = self._tokenizer(
            [list(sentence) for sentence in sentences],
            is_split_into_words=True,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids, [encoded.word_ids(index) for index in range(len(ids))]

    @cached_property
    def _tokenizer(self) -> Any:
        folder = self._reader.tokenizer_folder()
        if not (folder / "tokenizer.json").is_file() and not _has_vocabulary(folder):
            raise WeightsError(
                f"{folder}: no tokenizer. Put the backbone's tokenizer.json there "
                "(`tokenizer.save_pretrained(folder)`), as a word proxy needs it."
            )
        try:
            # Byte-level tokenizers take words that are split already only with `add_prefix_space`.
            return AutoTokenizer.from_pretrained(
                folder, add_prefix_space=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{folder}: its tokenizer cannot be read: {error}") from error


def _has_vocabulary(folder: Path) -> bool:
    return (folder / "vocab.txt").is_file() or (
        (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    )
