"""Any vision transformer of timm that cuts an image into patches, as a backbone of grids.

A folder has timm's layout on the hub: config.json, with the name of the `architecture`, and
model.safetensors. The network is built without pretrained weights, and these are read strictly.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from trainables.errors import WeightsError
from trainables.models.backbone import ImageBackbone
from trainables.models.backbones.grids import grid_parts
from trainables.models.backbones.reading import NetworkReader
from trainables.models.weights.checkpoint import check_fit, read_tensors
from trainables.models.weights.files import CONFIG
from trainables.models.weights.limits import check_limit
from trainables.spec import BackboneSpec


class TimmBackbone(ImageBackbone):
    """A body for grids, and the patch embedder of its pretraining images."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network, or its architecture is not understood.
        """
        check_limit("whole", reader.name, spec.layers)
        # timm draws weights from the global generator alone.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(reader.seed)
            network = _build(reader)
        native = _side(network, reader.name)
        if reader.folder is not None:
            load_state(network, reader.folder)

        def build(side: int) -> nn.Module:
            built: nn.Module = _build(reader, img_size=side * _patch(network))
            return built

        parts = grid_parts(
            network, reader.name, _features, build, native=native, tokens=spec.tokens
        )
        super().__init__(weights_hash=reader.weights_hash, **parts)


def _features(network: Any, images: Tensor) -> Tensor:
    features: Tensor = network.forward_features(images)
    return features


def _build(reader: NetworkReader, **changes: int) -> Any:
    """Return the network of a description, with random weights and no head.

    Raises:
        WeightsError: timm has no such architecture, or the arguments are not its own.
    """
    architecture = str(reader.description.get("architecture"))
    arguments = reader.description.get("model_args") or {}
    if architecture not in timm.list_models():
        raise WeightsError(f"`{reader.name}`: timm has no architecture {architecture}.")
    try:
        network = timm.create_model(
            architecture, pretrained=False, num_classes=0, **{**arguments, **changes}
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise WeightsError(f"`{reader.name}`: its config is invalid: {error}") from error
    _silence_dropout(network)
    return network.eval()


def _silence_dropout(network: nn.Module) -> None:
    """Set the shares of all that timm's architectures drop at random to 0.

    A body draws no random numbers, and many architectures have a drop path by default.
    """
    for module in network.modules():
        of_rate = {"p", "prob"} if "Dropout" in type(module).__name__ else set()
        for key, value in list(vars(module).items()):
            if isinstance(value, float) and (key in of_rate or "drop" in key):
                setattr(module, key, 0.0)


def load_state(network: nn.Module, folder: Path) -> None:
    """Read all weights of `network` from `folder`, in float32. Heads in the file are ignored.

    Raises:
        WeightsError: The file is missing, damaged or not finite, or it does not fit the network.
    """
    stored = read_tensors(folder)
    expected = network.state_dict()
    # A key in a module that the network has must have its place. Others belong to a head.
    inside = {key.partition(".")[0] for key in expected}
    extra = [k for k in stored if k not in expected and k.partition(".")[0] in inside]
    shapes = [k for k in expected if k in stored and stored[k].shape != expected[k].shape]
    lead = f"{folder}: its weights do not fit the network that {CONFIG} describes; "
    check_fit(lead, expected.keys() - stored.keys(), extra, shapes)
    network.load_state_dict({key: stored[key].to(expected[key].dtype) for key in expected})


def _side(network: Any, name: str) -> int:
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None or grid[0] != grid[1]:
        raise WeightsError(f"`{name}`: it has no square grid of patches: it is not supported.")
    return int(grid[0])


def _patch(network: Any) -> int:
    size = network.patch_embed.patch_size
    return int(size if isinstance(size, int) else size[0])
