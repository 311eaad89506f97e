"""Small trials for contract tests: a generated task, a random backbone, seconds at most."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from trainables.methods.method import Method
from trainables.runtime.training import Training
from trainables.spec import Dimension, TrialSpec
from trainables.tasks.registry import task_info

EPOCHS = 2  # of each stage
TASK = "pdebench/darcy_2d@hard"
PROXY = "digits"  # is there on every machine
BODIES: Mapping[Dimension, Mapping[str, Any]] = MappingProxyType(
    {
        "1d": {"name": "minilm", "weights": "random", "layers": 1, "tokens": 8},
        "2d": {"name": "dinov2_small", "weights": "random", "layers": 1, "tokens": 16},
    }
)
SMALL: Mapping[str, Any] = MappingProxyType(  # of every stage that has such a field
    {
        "epochs": EPOCHS,
        "batch_size": 4,
        "classes": 3,
        "per_class": 2,
        "warmup_epochs": 1.0,
        "lr": 1e-3,
        "measure": 0,
    }
)


def small_trial(
    method: Method,
    home: Path,
    *,
    task: str = TASK,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> TrialSpec:
    """Return a small trial of a method.

    `settings`, by "stage.parameter", replace those of the method's preset and of small stages.
    """
    stages: dict[str, dict[str, Any]] = {
        stage: {k: v for k, v in SMALL.items() if k in config.model_fields}
        for stage, config in method.stages.items()
    }
    given = {**method.preset, **(settings or {})}
    for name, value in given.items():
        stage, _, parameter = name.partition(".")
        if stage in stages and ((settings and name in settings) or parameter not in SMALL):
            stages[stage][parameter] = value
    dimension = task_info(task).dimension
    resolution = 8 if dimension == "2d" else 32
    return TrialSpec.model_validate(
        {
            "method": method.name,
            "task": task,
            "backbone": BODIES[dimension],
            "proxy": PROXY if dimension == "2d" and method.needs_source else None,
            "data": {
                "samples": 8,
                "val_fraction": 0.25,
                "test_fraction": 0.25,
                "resolution": resolution,
            },
            "model": {"head": "linear"},
            "stages": stages,
            "seed": seed,
            "home": home,
        }
    )


def weights(training: Training) -> dict[str, Tensor]:
    """Return a copy of all weights as they are, and of the best ones."""
    model, best = training.state.model.state_dict(), training.state.best
    named = {f"last.{name}": value for name, value in model.items()}
    named |= {f"best.{name}": value for name, value in (best.weights if best else {}).items()}
    return {name: value.detach().clone() for name, value in named.items()}


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], what: str) -> None:
    """Assert that two models have the same bits."""
    assert ours.keys() == theirs.keys(), f"{what}: other parameters"
    changed = [name for name, value in theirs.items() if not torch.equal(ours[name], value)]
    assert not changed, f"{what}: other bits in {', '.join(changed[:5])}"
