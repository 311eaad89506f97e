"""The model of a method with a network of its own: no pretrained body, no tokens, no source.

    x -> network -> predictor -> y

The network maps inputs [B, C, *grid] to fields [B, C', *grid] in standard units, or to logits or
standardised outputs [B, k]. Its function, which a `Network` of a method names, is

    build(task: Task | TaskShape, **settings) -> nn.Module

and draws weights from PyTorch's global generator, as libraries do. A method with a backbone may
have a network in front of the target's embedder (`Method.features`). It maps inputs to features
[B, F, *grid], and its function has the same form.

The predictor has no parameters: it maps standard units to those of the task, as the heads of other
methods do. The model of other methods has the same form, so all that trains, evaluates and stores a
model works here too.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.backbone import Geometry
from trainables.models.cross_modal import CrossModalModel, decoded
from trainables.models.predictors import InUnitsOf
from trainables.seeding import derive_seed
from trainables.tasks.task import Task, TaskShape

SCOPE = "network"  # seed scope of the weights

Build = Callable[..., nn.Module]


class OwnModel(CrossModalModel):
    """A network of its own as the body of a model: its tokens are the inputs, unchanged."""

    def __init__(self, network: nn.Module, task: Task | TaskShape) -> None:
        super().__init__(
            embedder=nn.Identity(),
            body=network,
            predictor=standard_predictor(task),
            roles={},
            num_tokens=0,
            geometry=Geometry(token_width=0, feature_width=0, max_tokens=0),
        )

    def trainable_parameters(
        self, finetune: str = "all", freeze: str = "none"
    ) -> list[nn.Parameter]:
        """Return all parameters. The configs of such networks allow no other settings."""
        assert (finetune, freeze) == ("all", "none")
        parameters = [*self.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        return parameters


def build_network(
    build: str, task: Task | TaskShape, settings: Mapping[str, Any], *, seed: int
) -> nn.Module:
    """Build the network of a method, for one trial.

    Args:
        build: "module:function" of the network.
        task: Target task. It determines the shapes.
        settings: Settings of the network by name.
        seed: Seed of the trial. PyTorch's global generator is left as it was.
    """
    module, _, function = build.partition(":")
    make: Build = getattr(import_module(module), function)
    # Libraries draw from the global generator alone, so that it is seeded for them and restored.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, SCOPE))
        return make(task, **settings).train()


def standard_predictor(task: Task | TaskShape) -> nn.Module:
    """Return the map from standard units to those of the task's outputs."""
    kind = task.info.kind
    if kind == "dense" and task.info.decoded:
        return decoded(nn.Identity(), task.output_standard)
    if kind == "dense":
        mean, std = task.output_unit
        return InUnitsOf(nn.Identity(), mean=mean, std=std)
    if kind == "regression":
        return decoded(nn.Identity(), task.output_units)
    return Logits()


class Logits(nn.Module):
    """Predictor of logits, which have no unit."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits
