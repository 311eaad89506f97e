"""A trial from its spec to its last report: model and state, and the stages one after another.

The caller may be a for-loop, a test, or a Ray Tune actor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables.methods.registry import METHODS
from trainables.models.cross_modal import build_model
from trainables.report import Report
from trainables.runtime import checkpoints
from trainables.runtime.stage_cache import StageCache, root_key, stage_keys
from trainables.runtime.warm import WarmParts
from trainables.sources.source import Domains
from trainables.spec import TrialSpec
from trainables.stages.stage import Stage
from trainables.storage.stage_store import StageStore
from trainables.tasks.registry import task_info
from trainables.training.evaluation import evaluate
from trainables.training.state import TrainState


@dataclass
class Training:
    """A running trial. `reports` yields one Report an epoch; between two, it can be saved."""

    stages: tuple[Stage[Any], ...]
    state: TrainState
    domains: Domains
    shared: StageCache | None = None

    @classmethod
    def begin(
        cls,
        spec: TrialSpec,
        parts: WarmParts,
        *,
        device: str = "cpu",
        store: StageStore | None = None,
        name: str = "",
    ) -> "Training":
        """Build the trial that `spec` describes, from parts that are loaded only once.

        Args:
            store: Results of stages, to take over and to add to.
            name: Name of the trial, which its results in the store carry.

        Raises:
            ConfigError, DataError, WeightsError: The spec cannot be honoured.
        """
        method = METHODS[spec.method]
        stages = tuple(
            config_type(**spec.stages.get(name, {})).build(name)
            for name, config_type in method.stages.items()
        )
        backbone = parts.backbone(spec.backbone, spec.home)
        data = spec.data.of(task_info(spec.task).dimension)
        target = parts.task(spec.task, data, spec.home)
        source = None
        if spec.proxy is not None:
            source = parts.source(spec.proxy, spec.backbone, spec.home)
        model = build_model(backbone, target, spec.model, seed=spec.seed).to(device)
        domains = Domains(target=target, source=source)
        state = TrainState(
            model=model,
            seed=spec.seed,
            precision=spec.model.precision,
            halvings=spec.halvings,
        )
        for stage in stages:
            stage.check(model, domains)
            state.extras.update(stage.extras(model, domains, spec.seed))
        state.extras.to(device)
        shared = None
        if store is not None:
            root = root_key(spec, backbone, domains, state.device)
            shared = StageCache(store, root, stage_keys(stages, root), name, state)
        return cls(stages, state, domains, shared)

    def reports(self) -> Iterator[Report]:
        """Run the rest of the stages.

        The last report carries the test metric of the best checkpoint, computed once.
        """
        for index in range(self.state.stage, len(self.stages)):
            if index > self.state.stage:
                self.state.begin_stage(index)
            stage = self.stages[index]
            for report in self._run(stage):
                if index == len(self.stages) - 1 and report.epoch == report.num_epochs:
                    report = self._final(report)
                yield report

    def _run(self, stage: Stage[Any]) -> Iterator[Report]:
        """Run a stage, or take over its result from another trial.

        The last stage is not shared: its result is the trial itself.
        """
        if self.shared is None or stage is self.stages[-1] or stage.config.epochs == 0:
            return stage.run(self.state, self.domains)
        return self.shared.run(stage, self.state, self.domains)

    def _final(self, report: Report) -> Report:
        info = self.domains.target.info
        with self.state.at_best() as model:
            found = evaluate(
                self.state, model, self.domains.target.test, info, also=info.metrics[1:]
            )
        values = {info.metric: found.value, **found.also}
        metrics = {**report.metrics, **{f"test/{name}": value for name, value in values.items()}}
        return replace(report, metrics=metrics, is_final=True)

    @property
    def place(self) -> tuple[str, int, int]:
        """The stage and the epoch that come next, from 1, and how many that stage has."""
        done = self.state.epoch
        for stage in self.stages[self.state.stage :]:
            if done < stage.config.epochs:
                break
            done = 0
        return stage.name, done + 1, stage.config.epochs

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `load` goes on bit for bit. Raise StorageError."""
        checkpoints.save(self.state, folder)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint. Raise CorruptCheckpoint."""
        checkpoints.load(self.state, folder)
