"""Config and weights of an architecture, wherever these come from."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from trainables.errors import WeightsError
from trainables.models.weights.checkpoint import load_model, weights_hash
from trainables.models.weights.description import Origin, kept_layers
from trainables.models.weights.location import find_weights


@dataclass(frozen=True, kw_only=True)
class NetworkReader:
    """The description of a network, and its weights: in `folder`, or drawn from `seed`."""

    name: str
    description: dict[str, Any]  # as a config.json has it
    folder: Path | None  # None: random weights
    home: Path
    layers: int | None = None  # to keep; None: all
    origin: Origin | None = None  # where a name's tokenizer may be found, with random weights
    seed: int = 0

    @property
    def model_type(self) -> str:
        return str(self.description.get("model_type"))

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the files, or of what the random weights are drawn from."""
        if self.folder is not None:
            return weights_hash(self.folder)
        text = json.dumps([self.description, self.layers, "random", self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def config(self, config_class: Any, **changes: float) -> Any:
        """Return the description as a `config_class`, with `changes`.

        Raises:
            WeightsError: It cannot describe such a network.
        """
        try:
            return config_class.from_dict({**self.description, **changes})
        except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
            raise WeightsError(f"`{self.name}`: its config is invalid: {error}") from error

    def kept_layers(self, stored: int) -> int:
        """Return how many layers to keep. Raises ConfigError: more are asked for than stored."""
        return kept_layers(self.name, self.layers, stored)

    def model(
        self, model_class: Any, config: Any, *, stored_layers: int = 0, **arguments: bool
    ) -> nn.Module:
        """Return the network with its weights; PyTorch's global generator is left as it was.

        Raises:
            WeightsError: The weights do not fit, or `config` describes no network.
        """
        if self.folder is not None:
            return load_model(
                model_class, self.folder, config, stored_layers=stored_layers, **arguments
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            try:
                model: nn.Module = model_class(config, **arguments)
            except (TypeError, ValueError, ZeroDivisionError) as error:
                raise WeightsError(f"`{self.name}`: its config is invalid: {error}") from error
        return model

    def tokenizer_folder(self) -> Path:
        """Return where the tokenizer is: beside the weights, random or not.

        Raises:
            WeightsError: A name's folder, wanted for its tokenizer, is nowhere.
        """
        if self.folder is not None:
            return self.folder
        if self.origin is None:
            return Path(self.name)
        return find_weights(self.name, self.origin, self.home)
