"""Loading of a backbone by its name or folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from trainables.models.backbone import Backbone
from trainables.models.backbones.dinov2 import Dinov2Backbone
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.roberta import RobertaBackbone
from trainables.models.backbones.swin import SwinBackbone
from trainables.models.weights.description import (
    BACKBONES,
    check_identity,
    folder_of,
    read_config,
    unsupported,
)
from trainables.models.weights.location import as_transformers_folder, find_weights
from trainables.spec import BackboneSpec

__all__ = ["ARCHITECTURES", "BACKBONES", "load_backbone"]

ARCHITECTURES: Mapping[str, Callable[[NetworkReader, BackboneSpec], Backbone]] = MappingProxyType(
    {
        "bert": RobertaBackbone,
        "roberta": RobertaBackbone,
        "swin": SwinBackbone,
        "dinov2": Dinov2Backbone,
    }
)


def load_backbone(spec: BackboneSpec, home: Path) -> Backbone:
    """Load the backbone that `spec` describes. `weights.location` finds its weights.

    Raises:
        ConfigError: The name is unknown, or the network does not support the spec.
        WeightsError: The weights are missing or do not fit the network.
    """
    # A named backbone has a built-in config. A local folder must bring its own config.
    named = BACKBONES.get(spec.name)
    pretrained = spec.weights == "pretrained"
    folder: Path | None
    if named is None:
        folder = as_transformers_folder(folder_of(spec.name, home), home)
        description = read_config(folder)
    else:
        folder = find_weights(spec.name, named.origin, home) if pretrained else None
        description = dict(named.config) if folder is None else read_config(folder)
        if folder is not None:
            check_identity(spec.name, description, folder)
    reader = NetworkReader(
        name=spec.name,
        description=description,
        folder=folder if pretrained else None,
        home=home,
        layers=spec.layers,
        origin=None if named is None else named.origin,
    )
    if reader.model_type not in ARCHITECTURES:
        raise unsupported(spec.name, reader.model_type)
    return ARCHITECTURES[reader.model_type](reader, spec)
