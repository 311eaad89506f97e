"""Loading of a backbone by its name or folder."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from trainables.errors import TrainableError, WeightsError
from trainables.models.backbone import Backbone
from trainables.models.backbones.altered import shuffle_weights, take_random_layers
from trainables.models.backbones.dinov2 import Dinov2Backbone
from trainables.models.backbones.encoder import EncoderBackbone
from trainables.models.backbones.families import family_of
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.roberta import RobertaBackbone
from trainables.models.backbones.swin import SwinBackbone
from trainables.models.backbones.vision import VisionBackbone, is_vision
from trainables.models.weights.description import BACKBONES
from trainables.models.weights.limits import check_limit
from trainables.models.weights.location import locate
from trainables.spec import BackboneSpec

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
Architecture = Callable[[NetworkReader, BackboneSpec], Backbone]

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {  # by model_type; any other encoder has the adapter of its library
        "bert": RobertaBackbone,
        "roberta": RobertaBackbone,
        "swin": SwinBackbone,
        "dinov2": Dinov2Backbone,
    }
)


def load_backbone(spec: BackboneSpec, home: Path) -> Backbone:
    """Load the backbone of `spec`, with weights found by `location`, or altered as a control.

    Raises:
        ConfigError: The name is unknown, or the network does not support the spec.
        WeightsError: The weights are missing or do not fit the network.
    """
    if spec.pretrained_layers is not None:
        whole = spec.model_copy(update={"pretrained_layers": None})
        random = whole.model_copy(update={"weights": "random"})
        return take_random_layers(
            load_backbone(whole, home), load_backbone(random, home), first=spec.pretrained_layers
        )
    located = locate(spec, home)
    reader = NetworkReader(
        name=spec.name,
        description=located.description,
        folder=located.folder,
        home=home,
        layers=spec.layers,
        origin=located.origin,
    )
    backbone = build_backbone(reader, spec)
    return shuffle_weights(backbone) if spec.weights == "shuffled" else backbone


def build_backbone(reader: NetworkReader, spec: BackboneSpec) -> Backbone:
    """Build the backbone that `reader` describes, with its weights or with random ones.

    Raises:
        ConfigError: The network does not support the spec.
        WeightsError: The architecture is not supported, or the weights do not fit it.
    """
    if (family := family_of(reader.description)) is not None:
        check_limit(
            "direction",
            spec.name,
            spec.bidirectional,
            title=family.title,
            is_causal=family.causal,
        )
    # A plugin's backbone may bring a class of its own, which comes before that of its model_type.
    named = BACKBONES.get(reader.name)
    own = ARCHITECTURES.get(reader.model_type)
    if named is not None and named.architecture is not None:
        own = _resolve(named.architecture)
    backbone = _generic(reader, spec) if own is None else own(reader, spec)
    backbone.description = reader.description
    return backbone


def _resolve(path: str) -> Architecture:
    module, _, name = path.partition(":")
    found: Architecture = getattr(import_module(module), name)
    return found


def _generic(reader: NetworkReader, spec: BackboneSpec) -> Backbone:
    """Build a network without a backbone of its own by the adapter of its library.

    Raises:
        ConfigError: The network does not support the spec.
        WeightsError: The architecture is not supported, or the weights do not fit it.
    """
    adapter: Architecture
    if "model_type" not in reader.description and "architecture" in reader.description:
        from trainables.models.backbones.timm_encoder import TimmBackbone  # timm is slow to import

        adapter = TimmBackbone
    else:
        adapter = VisionBackbone if is_vision(reader.model_type) else EncoderBackbone
    try:
        return adapter(reader, spec)
    except TrainableError:
        raise
    except FAULTS as error:  # of any network of the hub, whose config nobody has tried
        raise WeightsError(
            f"`{reader.name}`: its network cannot be run as a backbone "
            f"({type(error).__name__}: {error}): check its config, or name another."
        ) from error
