"""Facts about architectures that backbones were tried with; importing them loads no torch.

A check of a sweep file needs these facts, and config.json does not state them. An encoder that is
not in `FAMILIES` is supported too, if its structure is understood. Only the built network tells.

What holds for every backbone is not in the table. `finetune: wv` trains values and freezes queries
and keys exactly, since fused projections are split when a network is loaded. The scorers of PaRe
and contrastive PaRe read tokens alone and compute their own attention, so that they need nothing of
a body.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trainables.spec import Dimension


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture of a library, and what its body can do."""

    title: str  # printed name
    dimension: Dimension
    causal: bool = False  # a token sees only the tokens before it; `bidirectional` is for these
    # Keys of config.json; a network states its depth and its positions under one of these names.
    layers_key: str | None = "num_hidden_layers"  # None: `layers` cannot cut this body
    positions_key: str | None = "max_position_embeddings"  # None: no limit by positions
    learned_positions: bool = False  # a table of them; others are relative or rotary
    positions_after_padding: bool = False  # positions start at pad_token_id + 1
    class_tokens: int = 0  # tokens that the body adds to the patches and removes from the features
    fixed_grid: bool = False  # positions exist for the grid of pretraining alone
    drop_path: bool = False  # `model.drop_path` above 0 is supported
    adapters: bool = True  # False: no network of the family has layers for `finetune: lora`


def _image(title: str, **facts: Any) -> Family:
    """Return a family for grids. Its table of positions, if any, is interpolated to any grid."""
    return Family(title=title, dimension="2d", positions_key=None, **facts)


FAMILIES: Mapping[str, Family] = MappingProxyType(  # by model_type, or timm/ARCHITECTURE
    {
        "bert": Family(title="BERT", dimension="1d", learned_positions=True),
        "roberta": Family(
            title="RoBERTa", dimension="1d", learned_positions=True, positions_after_padding=True
        ),
        "electra": Family(title="ELECTRA", dimension="1d", learned_positions=True),
        "distilbert": Family(
            title="DistilBERT", dimension="1d", learned_positions=True, layers_key="n_layers"
        ),
        "deberta-v2": Family(title="DeBERTa-v2", dimension="1d"),
        "modernbert": Family(title="ModernBERT", dimension="1d"),
        "xlnet": Family(
            title="XLNet", dimension="1d", layers_key="n_layer", positions_key=None, adapters=False
        ),
        "gpt2": Family(
            title="GPT-2",
            dimension="1d",
            learned_positions=True,
            causal=True,
            layers_key="n_layer",
            positions_key="n_positions",
        ),
        "qwen2": Family(title="Qwen2", dimension="1d", causal=True),
        "llama": Family(title="Llama", dimension="1d", causal=True),
        "t5": Family(
            title="T5 (encoder)",
            dimension="1d",
            layers_key="num_layers",
            positions_key=None,
        ),
        "vit": _image("ViT", class_tokens=1),
        "deit": _image("DeiT", class_tokens=2),
        "beit": _image("BEiT", class_tokens=1, fixed_grid=True),
        "dinov2": _image("DINOv2", class_tokens=1),
        "swin": _image("Swin", layers_key=None, drop_path=True),
        "swinv2": _image("Swin V2", layers_key=None),
        "convnext": _image("ConvNeXt", layers_key=None, adapters=False),
        "timm/vit": _image("ViT", layers_key=None, class_tokens=1),
        "timm/deit": _image("DeiT", layers_key=None, class_tokens=1),
        "timm/eva02": _image("EVA-02", layers_key=None, class_tokens=1),
        "timm/swin": _image(
            "Swin",
            layers_key=None,
            drop_path=True,
        ),
    }
)


def family_of(description: Mapping[str, Any]) -> Family | None:
    """Return the family of a network by its config.json, or None if it is not in `FAMILIES`.

    Args:
        description: Contents of config.json: `model_type` in transformers' format, `architecture`
            (`vit_small_patch16_224`) in timm's.
    """
    if "model_type" in description or "architecture" not in description:
        return FAMILIES.get(str(description.get("model_type")))
    return FAMILIES.get("timm/" + str(description["architecture"]).partition("_")[0])
