"""A Swin checkpoint in timm's format, renamed into transformers'.

timm fuses the query, key and value projections into one matrix. Split here, once, they can be
frozen apart from each other in every backbone, whatever the optimiser does to what it is given.
"""

import re
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainables.errors import WeightsError
from trainables.models.weights.conversion import Converted
from trainables.models.weights.description import CONFIG, TENSORS

BLOCK_NAMES = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
STEM_NAMES = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "patch_embed.norm": "embeddings.norm",
    "norm": "layernorm",
}
FUSED = ("query", "key", "value")
BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+?)(\.weight|\.bias)?")
DOWNSAMPLE = re.compile(r"layers\.(\d+)\.(downsample\..+)")


def swin_from_timm(folder: Path, description: dict[str, Any]) -> Converted:
    """Returns the config and the state dict (hub names) of the timm Swin in `folder`.

    Args:
        description: timm's config.json: `architecture`, and `model_args` where they differ from it.

    Raises:
        WeightsError: It is not a Swin, or the weights do not fit the architecture.
    """
    import timm
    from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn

    path = folder / TENSORS
    if not path.is_file():
        raise WeightsError(f"{folder}: no {TENSORS}; timm's hub repositories hold one.")
    architecture, arguments = description["architecture"], description.get("model_args") or {}
    try:
        with torch.device("meta"):
            network = timm.create_model(architecture, num_classes=0, **arguments)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"{folder / CONFIG}: timm cannot build it: {error}") from error
    if not isinstance(network, SwinTransformer):
        raise WeightsError(f"{folder / CONFIG}: of timm's models only Swin is read here.")
    try:
        stored = checkpoint_filter_fn(load_file(path), network)
    except (SafetensorError, OSError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged or not a {architecture}: {error}") from error
    state = {key: tensor for key, tensor in stored.items() if not key.startswith("head.")}
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    faults = sorted(
        key
        for key in expected.keys() | state.keys()
        if key not in state or expected.get(key) != state[key].shape
    )
    if faults:
        raise WeightsError(f"{path} does not fit {architecture}; at fault: {', '.join(faults[:5])}")
    return _config(network, state), _renamed(state)


def _config(network: Any, state: dict[str, Tensor]) -> dict[str, Any]:
    blocks = [stage.blocks[0] for stage in network.layers]
    tables = {isqrt(len(block.attn.relative_position_bias_table)) for block in blocks}
    if len(tables) > 1:
        raise WeightsError("the stages of this Swin have windows of several sizes; need one size.")
    hidden, _, patch, _ = state["patch_embed.proj.weight"].shape
    return {
        "model_type": "swin",
        "architectures": ["SwinModel"],
        "image_size": network.patch_embed.img_size[0],
        "patch_size": patch,
        "embed_dim": hidden,
        "depths": [len(stage.blocks) for stage in network.layers],
        "num_heads": [block.attn.num_heads for block in blocks],
        "window_size": (tables.pop() + 1) // 2,
        "mlp_ratio": len(state["layers.0.blocks.0.mlp.fc1.weight"]) / hidden,
        "qkv_bias": "layers.0.blocks.0.attn.qkv.bias" in state,
    }


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors under transformers' names. There a stage ends with its downsampling; in
    timm the next one begins with it."""
    renamed = {}
    for key, tensor in state.items():
        if match := DOWNSAMPLE.fullmatch(key):
            renamed[f"encoder.layers.{int(match[1]) - 1}.{match[2]}"] = tensor
        elif match := BLOCK.fullmatch(key):
            stage, block, part, kind = match.groups(default="")
            prefix = f"encoder.layers.{stage}.blocks.{block}."
            if part == "attn.qkv":
                for name, third in zip(FUSED, tensor.chunk(3), strict=True):
                    renamed[f"{prefix}attention.self.{name}{kind}"] = third.clone()
            else:
                renamed[f"{prefix}{BLOCK_NAMES[part]}{kind}"] = tensor
        else:
            part, _, kind = key.rpartition(".")
            renamed[f"{STEM_NAMES[part]}.{kind}"] = tensor
    return renamed
