"""The trials that contracts are checked on: real equations, tiny backbones, seconds at most."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.tiny_backbones import save_tiny_roberta, save_tiny_swin
from trainables.methods.registry import METHODS
from trainables.report import Report
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.sources import source
from trainables.sources.source import Source
from trainables.spec import BackboneSpec, TrialSpec
from trainables.tasks.kinds import Kind
from trainables.tasks.registry import task_info
from trainables.testing.small import weights

DIMENSIONS = ("1d", "2d")
TASKS = {"1d": "pdebench/advection_1d@hard", "2d": "pdebench/darcy_2d@hard"}
PROXIES = {"1d": "python_source", "2d": "digits"}
RESOLUTIONS = {"1d": 32, "2d": 8}
SOURCE_SAMPLES = 300
SMALL: Mapping[str, Any] = {  # of every stage that has such a field
    "epochs": 2,
    "batch_size": 2,
    "classes": 3,
    "per_class": 2,
    "warmup_epochs": 1.0,
    "lr": 1e-3,
    "measure": 0,
    "depth": 10,
    "sizes": (3, 5),
    "dilations": (1, 3),
    "passes": 1,
    "lrs": (1e-2, 1e-3),
    "head_epochs": 2,
}


def by_turns(*items: tuple[Any, ...]) -> list[Any]:
    """Parameters for tests: each item in one dimension by turns, in the other in a soak run."""
    return [
        pytest.param(*item, dimension, marks=[pytest.mark.soak] if (i + j) % 2 else [])
        for i, item in enumerate(items)
        for j, dimension in enumerate(DIMENSIONS)
    ]


ON_BACKBONES = [name for name, method in METHODS.items() if method.network is None]
LEARNING = [  # methods that learn the tasks here; others have contracts of their own
    name
    for name, method in METHODS.items()
    if method.network is None
    or not any(method.network.fault_on(task_info(task)) for task in TASKS.values())
]
METHODS_BY_TURNS = by_turns(*((method,) for method in LEARNING))


def methods_on(kind: Kind) -> list[str]:
    """Return the methods that can learn tasks of a kind."""
    return [
        name
        for name, method in METHODS.items()
        if method.network is None or kind in method.network.kinds
    ]


class SmallParts(WarmParts):
    """Parts whose sources have few samples: some methods read a whole source in each trial."""

    def _source(self, proxy: str, backbone: BackboneSpec, home: Path) -> Source:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "LIMIT", SOURCE_SAMPLES)
            return super()._source(proxy, backbone, home)


Run = tuple[list[Report], dict[str, Tensor]]  # what a trial reported, and its weights at the end


@dataclass(frozen=True)
class Trials:
    """Makes trials whose backbones, data and caches are in `home`."""

    home: Path
    device: str = "cpu"
    parts: WarmParts = field(default_factory=SmallParts)

    def spec(
        self,
        method: str,
        dimension: str,
        settings: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> TrialSpec:
        """Return a small trial of `method`, with `settings` by `stage.parameter` laid over."""
        stages: dict[str, dict[str, Any]] = {
            stage: {k: v for k, v in SMALL.items() if k in config.model_fields}
            for stage, config in METHODS[method].stages.items()
        }
        if method == "dash":
            stages["train"]["width"] = 1
        for name, value in (settings or {}).items():
            stage, _, parameter = name.partition(".")
            stages[stage][parameter] = value
        backbone = {"1d": {"name": str(self.home / "roberta"), "tokens": 8},
                    "2d": {"name": str(self.home / "swin")}}  # fmt: skip
        return TrialSpec.model_validate(
            {
                "method": method,
                "task": TASKS[dimension],
                "backbone": backbone[dimension],
                "proxy": PROXIES[dimension],
                "data": {
                    "samples": 8,
                    "val_fraction": 0.25,
                    "test_fraction": 0.25,
                    "resolution": RESOLUTIONS[dimension],
                },
                "model": {"head": "linear"},
                "stages": stages,
                "seed": seed,
                "home": self.home,
            }
        )

    def begin(self, spec: TrialSpec) -> Training:
        return Training.begin(spec, self.parts, device=self.device)

    def run(self, spec: TrialSpec) -> Run:
        """Run a trial from its beginning to its end."""
        training = self.begin(spec)
        reports = list(training.reports())
        return reports, weights(training)

    def run_stopped(self, spec: TrialSpec, folder: Path) -> Run:
        """Run a trial that is stopped after every epoch, and goes on from its checkpoint."""
        reports: list[Report] = []
        trial = self.begin(spec)
        while not (reports and reports[-1].is_final):
            reports.append(next(trial.reports()))
            trial.save(folder / "checkpoint")
            trial = self.begin(spec)
            with torch.no_grad():
                for parameter in trial.state.model.parameters():
                    parameter.fill_(0.5)  # nothing may survive but what was saved
            torch.manual_seed(len(reports))
            trial.load(folder / "checkpoint")
        return reports, weights(trial)


def make_trials(home: Path, device: str = "cpu") -> Trials:
    """Save the backbones into `home`."""
    save_tiny_roberta(home / "roberta", layers=1)
    save_tiny_swin(home / "swin")
    return Trials(home, device)


def same_weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Return whether two models have the same weights by name, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(w, b[name]) for name, w in a.items())
