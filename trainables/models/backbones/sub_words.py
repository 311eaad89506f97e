"""Sub-words of a backbone's tokenizer, which lies beside its weights."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from trainables.errors import WeightsError
from trainables.models.backbones.reading import NetworkReader


class SubWords:
    """The tokenizer of a backbone. It is read at its first use."""

    def __init__(self, reader: NetworkReader) -> None:
        self._reader = reader

    def split(self, sentences: Sequence[Sequence[str]]) -> tuple[list[list[int]], list[list[int]]]:
        """Return sub-word ids and word indices without special tokens; see `Backbone.tokenize`.

        Raises:
            WeightsError: The backbone's folder has no tokenizer.
        """
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
            return AutoTokenizer.from_pretrained(
                folder, add_prefix_space=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{folder}: its tokenizer cannot be read: {error}") from error


def _has_vocabulary(folder: Path) -> bool:
    return (folder / "vocab.txt").is_file() or (
        (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    )
