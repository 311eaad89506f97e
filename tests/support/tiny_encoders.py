"""Tiny random networks of every family of encoders, saved as any user's local folder would be."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, T5EncoderModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from tests.support.tiny_backbones import VOCABULARY, save_tokenizer, seeded

LAYERS = 3
SPREAD = 0.1  # added to every weight, so that no zero hides a fault
_BERT = {
    "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 66,
}  # fmt: skip
_LLAMA = {**_BERT, "num_key_value_heads": 2}
_VIT = {
    "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "intermediate_size": 64, "image_size": 32, "patch_size": 8,
}  # fmt: skip
_SWIN = {
    "image_size": 56, "patch_size": 4, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4],
    "window_size": 7,
}  # fmt: skip
SEQUENCES: Mapping[str, Mapping[str, Any]] = {  # settings by model_type
    "bert": _BERT,
    "roberta": {**_BERT, "pad_token_id": 1},
    "electra": {**_BERT, "embedding_size": 16},
    "distilbert": {
        "dim": 32, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 64,
        "max_position_embeddings": 66},
    "deberta-v2": {
        **_BERT, "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm",
        "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    "modernbert": {
        **_BERT, "local_attention": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "cls_token_id": 1, "sep_token_id": 2},
    "xlnet": {"d_model": 32, "n_layer": LAYERS, "n_head": 4, "d_inner": 64},
    "gpt2": {
        "n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 66, "bos_token_id": 0,
        "eos_token_id": 0},
    "qwen2": _LLAMA,
    "llama": _LLAMA,
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": LAYERS, "num_heads": 4},
}  # fmt: skip
CAUSAL = ("gpt2", "qwen2", "llama")
GRIDS: Mapping[str, Mapping[str, Any]] = {  # settings by model_type
    "vit": _VIT,
    "deit": _VIT,
    "beit": {
        **_VIT, "use_relative_position_bias": True, "use_absolute_position_embeddings": False},
    "dinov2": _VIT,
    "swin": _SWIN,
    "swinv2": _SWIN,
    "convnext": {
        "image_size": 32, "patch_size": 4, "hidden_sizes": [16, 32], "depths": [1, 2],
        "num_stages": 2},
}  # fmt: skip
_TIMM_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
TIMM: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # architecture and arguments
    "timm_vit": ("vit_small_patch16_224", _TIMM_VIT),
    "timm_eva02": ("eva02_base_patch14_224", _TIMM_VIT),
    "timm_swin": ("swin_tiny_patch4_window7_224",
        {"img_size": 56, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4]}),
}  # fmt: skip


def save_sequence(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a text encoder or decoder of width 32, with a byte-level tokenizer."""
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **SEQUENCES[kind])
    # An encoder-decoder's own class reads and writes the encoder alone.
    _save(T5EncoderModel if kind == "t5" else MODEL_MAPPING[type(config)], config, folder, seed)
    save_tokenizer(folder)
    return folder


def save_grid(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a vision encoder of transformers for images of 32 or 56 pixels a side."""
    config = AutoConfig.for_model(kind, **GRIDS[kind])
    _save(MODEL_MAPPING[type(config)], config, folder, seed)
    return folder


def save_timm(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a network of timm in the layout of its repositories on the hub, with a head."""
    architecture, arguments = TIMM[kind]
    with seeded(seed):
        model = timm.create_model(architecture, pretrained=False, num_classes=3, **arguments)
        _spread(model)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": architecture, "num_classes": 3, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


SAVERS: Mapping[str, Callable[..., Path]] = {
    **dict.fromkeys(SEQUENCES, save_sequence),
    **dict.fromkeys(GRIDS, save_grid),
    **dict.fromkeys(TIMM, save_timm),
}


def save_encoder(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """Save the tiny network of a family."""
    return SAVERS[kind](kind, folder, seed=seed)


def _save(model_class: Any, config: Any, folder: Path, seed: int) -> None:
    with seeded(seed):
        model = model_class(config)
        _spread(model)
        model.save_pretrained(folder)


def _spread(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=SPREAD)
