"""Reader of a backbone's config and weights, from a folder or at random."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from trainables.errors import WeightsError
from trainables.models.weights.checkpoint import load_model, quiet_transformers, weights_hash
from trainables.models.weights.description import Origin
from trainables.models.weights.location import find_weights


@dataclass(frozen=True, kw_only=True)
class NetworkReader:
    """The description of a network and its weights, in `folder` or drawn from `seed`."""

    name: str
    description: dict[str, Any]  # contents of config.json
    folder: Path | None  # None: random weights
    home: Path
    layers: int | None = None  # number of layers to keep; None: all
    origin: Origin | None = None  # source of the tokenizer of a named backbone
    seed: int = 0

    @property
    def model_type(self) -> str:
        return str(self.description.get("model_type"))

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the files, or of the description and the seed of random weights."""
        if self.folder is not None:
            return weights_hash(self.folder)
        text = json.dumps([self.description, self.layers, "random", self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def config(self, config_class: Any, **changes: float) -> Any:
        """Return the description as a `config_class`, with `changes` applied.

        Raises:
            WeightsError: The description is not valid for this class.
        """
        try:
            with quiet_transformers():
                return config_class.from_dict({**self.description, **changes})
        except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
            raise WeightsError(f"`{self.name}`: its config is invalid: {error}") from error

    def model(
        self,
        model_class: Any,
        config: Any,
        *,
        stored_layers: int = 0,
        heads: bool = False,
        **arguments: bool,
    ) -> nn.Module:
        """Return the network with its weights. The state of PyTorch's global generator is restored.

        Args:
            model_class: The class of the network in its library.
            config: The library's config.
            stored_layers: Number of layers in the file.
            heads: Whether the file may hold parts of any name beside the network.
            arguments: Further arguments of the constructor of `model_class`.

        Raises:
            WeightsError: The weights do not fit, or `config` describes no network.
        """
        if self.folder is not None:
            return load_model(
                model_class,
                self.folder,
                config,
                stored_layers=stored_layers,
                heads=heads,
                **arguments,
            )
        # Libraries draw weights from the global generator alone.
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(self.seed)
            try:
                model: nn.Module = model_class(config, **arguments)
            except (TypeError, ValueError, ZeroDivisionError) as error:
                raise WeightsError(f"`{self.name}`: its config is invalid: {error}") from error
        return model

    def tokenizer_folder(self) -> Path:
        """Return the folder of the tokenizer, which is beside the pretrained weights.

        Raises:
            WeightsError: The weights of a named backbone are not found.
        """
        if self.folder is not None:
            return self.folder
        if self.origin is None:
            return Path(self.name)
        return find_weights(self.name, self.origin, self.home)
