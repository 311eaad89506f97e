"""Any vision encoder of transformers that cuts an image into patches, as a backbone of grids."""

from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING

from trainables.errors import WeightsError
from trainables.models.backbone import ImageBackbone
from trainables.models.backbones.grids import grid_parts
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.structure import cut, silence_dropout
from trainables.models.weights.description import unsupported
from trainables.models.weights.limits import check_limit, kept_layers
from trainables.spec import BackboneSpec


def is_vision(model_type: str) -> bool:
    """Return whether transformers classifies images with this architecture."""
    known = model_type in CONFIG_MAPPING
    return known and CONFIG_MAPPING[model_type] in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING


class VisionBackbone(ImageBackbone):
    """A body for grids, and the patch embedder of its pretraining images."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network, or its architecture is not understood.
        """
        config, model_class = _classes(reader)
        silence_dropout(config)
        stored = getattr(config, "num_hidden_layers", None)
        # A network of stages states their number as that of its layers, and needs all of them.
        if not isinstance(stored, int) or hasattr(config, "depths"):
            check_limit("whole", reader.name, spec.layers)
            stored = 0
        network: Any = reader.model(model_class, config, heads=True).eval()
        kept = kept_layers(reader.name, reader.layers, stored) if stored else 0
        if kept < stored:
            cut(network, stored, kept)
            network.config.num_hidden_layers = config.num_hidden_layers = kept

        def build(side: int) -> nn.Module:
            changed = deepcopy(config)
            changed.image_size = side * _patch(config)
            built: nn.Module = model_class(changed)
            return built

        native = _side(config, reader.name)
        parts = grid_parts(
            network, reader.name, _features, build, native=native, tokens=spec.tokens
        )
        super().__init__(weights_hash=reader.weights_hash, **parts)


def _features(network: nn.Module, images: Tensor) -> Tensor:
    features: Tensor = network(pixel_values=images).last_hidden_state
    return features


def _classes(reader: NetworkReader) -> tuple[Any, Any]:
    if reader.model_type not in CONFIG_MAPPING:
        raise unsupported(reader.name, reader.model_type)
    config = reader.config(CONFIG_MAPPING[reader.model_type])
    if type(config) not in MODEL_MAPPING:
        raise unsupported(reader.name, reader.model_type)
    return config, MODEL_MAPPING[type(config)]


def _patch(config: Any) -> int:
    patch = config.patch_size
    return int(patch if isinstance(patch, int) else patch[0])


def _side(config: Any, name: str) -> int:
    """Return the tokens in a row of the images of pretraining."""
    image = getattr(config, "image_size", None)
    if not isinstance(image, int) or not isinstance(getattr(config, "patch_size", None), int):
        raise WeightsError(f"`{name}`: images or patches that are not square are not supported.")
    return image // _patch(config)
