"""Tiny transformers with seeded random weights, saved as any user's local folder would be.

`BackboneSpec(name=str(save_tiny_roberta(tmp_path / "roberta")))` loads one, with its
tokenizer. Widths are 16 and 32, so that a test of a whole stage takes a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    SwinConfig,
    SwinModel,
)

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "heat flows from hot to cold and waves travel along a string",
    "def advect(field, speed): return roll(field, speed)",
]
VOCABULARY = 300
SPREAD = 0.2  # of the random weights: wide enough that every layer matters


def save_tiny_roberta(
    folder: Path, *, width: int = 32, layers: int = 2, max_tokens: int = 512, seed: int = 0
) -> Path:
    """Save a RoBERTa with 4 heads, and a byte-level tokenizer."""
    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=max_tokens + 2,
        type_vocab_size=1,
        pad_token_id=1,
        initializer_range=SPREAD,
    )
    with seeded(seed):
        RobertaModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Save a byte-level tokenizer of `VOCABULARY` sub-words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    _save_tokenizer(tokenizer, folder, unk_token="<unk>", pad_token="<pad>")


def save_tiny_bert(folder: Path, *, layers: int = 2, max_tokens: int = 512, seed: int = 0) -> Path:
    """Save a BERT of width 32 with 4 heads, and a word-piece tokenizer."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=max_tokens,
        initializer_range=SPREAD,
    )
    with seeded(seed):
        BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(
            vocab_size=VOCABULARY, special_tokens=specials, show_progress=False
        ),
    )
    _save_tokenizer(tokenizer, folder, unk_token="[UNK]", pad_token="[PAD]")
    return folder


def save_tiny_swin(folder: Path, *, seed: int = 0) -> Path:
    """Save a Swin for 56 x 56 images: 14 x 14 tokens of width 16 in, 7 x 7 of width 32 out."""
    config = SwinConfig(
        image_size=56,
        patch_size=4,
        embed_dim=16,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=7,
        initializer_range=SPREAD,
    )
    with seeded(seed):
        model = SwinModel(config)
        _spread_zeros(model)
        model.save_pretrained(folder)
    return folder


def save_tiny_dinov2(folder: Path, *, layers: int = 2, seed: int = 0) -> Path:
    """Save a DINOv2 of width 32 with 4 heads for 56 x 56 images: 4 x 4 patches of 14 x 14."""
    config = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
        initializer_range=SPREAD,
    )
    with seeded(seed):
        Dinov2Model(config).save_pretrained(folder)
    return folder


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _spread_zeros(model: torch.nn.Module) -> None:
    """Give biases and relative position tables a value. Fresh ones are zero, which no fault would
    show, and with which the gradient at an empty patch grows three hundredfold a layer norm."""
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "relative_position_bias_table")):
            torch.nn.init.normal_(parameter, std=SPREAD)


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, **special_tokens: str) -> None:
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens).save_pretrained(folder)
