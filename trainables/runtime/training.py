"""A running trial: its model, its state, and its stages in order.

The caller may be a for-loop, a test or a Ray Tune actor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from trainables.errors import ConfigError
from trainables.methods.registry import METHODS
from trainables.models.backbone import Backbone
from trainables.models.compilation import check_compiles
from trainables.models.cross_modal import CrossModalModel, float32_products
from trainables.models.origin import ModelOrigin
from trainables.models.predictors import InUnitsOf
from trainables.models.products import check_products
from trainables.report import Report, Waiting
from trainables.runtime import checkpoints
from trainables.runtime.device import free_bytes
from trainables.runtime.model_building import complete, model_of
from trainables.runtime.precision import check_precision, precision_of
from trainables.runtime.stage_cache import StageCache, root_key, stage_keys
from trainables.runtime.warm import WarmParts
from trainables.sources.source import Domains, Source
from trainables.spec import TrialSpec
from trainables.stages.stage import Stage
from trainables.storage.stage_store import StageStore
from trainables.tasks.registry import register_own, task_info
from trainables.tasks.store.device_rows import DeviceRows
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluate
from trainables.training.state import TrainState

T = TypeVar("T", bound="Training")


@dataclass
class Training:
    """A running trial. `reports` yields one Report per epoch; `save` is allowed between two."""

    stages: tuple[Stage[Any], ...]
    state: TrainState
    domains: Domains
    shared: StageCache | None = None

    @classmethod
    def begin(
        cls: type[T],
        spec: TrialSpec,
        parts: WarmParts,
        *,
        device: torch.device | str = "cpu",
        gpu: float = 1.0,
        store: StageStore | None = None,
        name: str = "",
    ) -> T:
        """Build the trial that `spec` describes.

        Args:
            spec: Description of the trial.
            parts: Cache of backbones, data and sources of this process.
            device: Device of the model.
            gpu: Share of the GPU that the trial has, if the device is one.
            store: Results of stages to reuse and to add to.
            name: Name of the trial, recorded in the results that it adds.

        Raises:
            ConfigError: The settings are impossible.
            DeviceError: The device cannot compute in the precision, or by the products.
            DataError: Data are missing or damaged.
            WeightsError: Weights are missing or do not fit.
        """
        device = torch.device(device)
        check_precision(device, spec.model.precision)
        check_products(spec.model.products)
        register_own(spec.definition, spec.home)
        configs = METHODS[spec.method].configs(spec.stages)
        stages = tuple(config.build(name) for name, config in configs.items())
        info = task_info(spec.task)
        spec = complete(spec, info)
        backbone = None if spec.backbone is None else parts.backbone(spec.backbone, spec.home)
        target = parts.task(spec.task, spec.data.of(info.dimension), spec.home)
        model = model_of(spec, backbone, target, configs).to(device)
        rows, source = _placed(spec, parts, target, device, gpu)
        # From here on the precision is decided: it is a part of the stage keys and of checkpoints.
        asked, micro_batch = spec.model.precision, stages[-1].config.micro_batch or 1
        decided = precision_of(asked, model, target.input_shape, micro_batch, device)
        spec = spec.with_model(precision=decided)
        domains = Domains(target=target, source=source)
        state = _state(spec, model, backbone, rows)
        _check_stages(state, domains, stages)
        if store is None:
            return cls(stages, state, domains)
        root = root_key(spec, configs, backbone, domains, state.device)
        shared = StageCache(store, root, stage_keys(stages, root), name, state)
        return cls(stages, state, domains, shared)

    def reports(self) -> Iterator[Report]:
        """Run the remaining stages and yield their reports, as `steps` does."""
        return (step for step in self.steps() if isinstance(step, Report))

    def steps(self) -> Iterator[Report | Waiting]:
        """Run the remaining stages and yield their reports, and `Waiting` for other trials.

        Only the last report contains the test metrics. They are those of the best checkpoint.

        Raises:
            DeviceError: The device cannot compile the body, but the settings ask for it.
        """
        check_compiles(self.state.compile, self.state.device)
        steps = self._steps()
        while True:
            # Supervised steps alone may be in TF32. Meta-gradients, distances and source tokens
            # need float32: TF32 gives a finite difference an error of a quarter and more.
            with float32_products(tf32=False):
                step = next(steps, None)
            if step is None:
                return
            yield step

    def _steps(self) -> Iterator[Report | Waiting]:
        for index in range(self.state.stage, len(self.stages)):
            # A trial that goes on is within its stage already, and keeps the state of it.
            if index > self.state.stage:
                self.state.begin_stage(index)
            stage = self.stages[index]
            for step in self._run(stage):
                is_last = stage is self.stages[-1]
                if is_last and isinstance(step, Report) and step.epoch == step.num_epochs:
                    step = self._final(step)
                yield step

    def _run(self, stage: Stage[Any]) -> Iterator[Report | Waiting]:
        """Run a stage, or reuse its result from another trial.

        The last stage is not shared, because its result is the trial itself. A stage that several
        processes divide is not, because it rounds otherwise than in one.
        """
        is_divided = stage.config.divides_batches and self.state.ranks.count > 1
        is_last = stage is self.stages[-1]
        if self.shared is None or is_last or is_divided or stage.config.epochs == 0:
            return stage.run(self.state, self.domains)
        return self.shared.run(stage, self.state, self.domains)

    def _final(self, report: Report) -> Report:
        task = self.domains.target
        info = task.info
        # The test split is read once, with the weights that validation has chosen.
        with self.state.at_best() as model:
            found = evaluate(self.state, model, task.test, task, also=info.metrics[1:])
        values = {info.metric: found.value, **found.also}
        metrics = {**report.metrics, **{f"test/{name}": value for name, value in values.items()}}
        return replace(report, metrics=metrics, is_final=True)

    @property
    def place(self) -> tuple[str, int, int]:
        """The next stage, its next epoch (from 1), and its number of epochs."""
        done = self.state.epoch
        for stage in self.stages[self.state.stage :]:
            if done < stage.config.epochs:
                break
            # Only the present stage has epochs behind it.
            done = 0
        return stage.name, done + 1, stage.config.epochs

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `load` continues bit for bit.

        Raises:
            StorageError: A file cannot be written.
        """
        checkpoints.save(self.state, folder)

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            CorruptCheckpoint: A file is missing or damaged, or it belongs to another model.
        """
        checkpoints.load(self.state, folder)


def _placed(
    spec: TrialSpec, parts: WarmParts, target: Task, device: torch.device, gpu: float
) -> tuple[DeviceRows, Source | None]:
    """Return a trial's data on its device, beside a model that is there already, and its source."""
    source = None
    if spec.proxy is not None and spec.backbone is not None:
        source = parts.source(spec.proxy, spec.backbone, spec.home)
    rows = DeviceRows(device)
    if device.type != "cpu":
        splits = (target.train, target.val, target.test)
        arrays = [array for split in splits for array in (split.x, split.y)]
        arrays += source.arrays if source else ()
        rows = DeviceRows(device, arrays, free_bytes=free_bytes(device, gpu))
    return rows, None if source is None else source.on(rows)


def _state(
    spec: TrialSpec, model: CrossModalModel, backbone: Backbone | None, rows: DeviceRows
) -> TrainState:
    return TrainState(
        model=model,
        seed=spec.seed,
        precision=spec.model.precision,
        compile=spec.model.compile,
        halvings=spec.halvings,
        origin=origin_of(spec, backbone, model),
        rows=rows,
    )


def _check_stages(state: TrainState, domains: Domains, stages: Sequence[Stage[Any]]) -> None:
    """Check every stage before the first one runs, so that impossible settings fail early."""
    for stage in stages:
        if stage.config.fits_each_sample and state.compile != "off":
            raise ConfigError(
                f"{stage.name}: a solver is no fixed graph that could be compiled. Set "
                "model.compile to off."
            )
        stage.check(state.model, domains)
        # All extras are there from the start, so that a checkpoint of any stage finds its own.
        state.extras.update(stage.extras(state.model, domains, state.seed))
    state.extras.to(state.device)


def origin_of(spec: TrialSpec, backbone: Backbone | None, model: CrossModalModel) -> ModelOrigin:
    """Return the description from which the model of a trial can be rebuilt."""
    predictor = model.predictor
    unit = (predictor.mean, predictor.std) if isinstance(predictor, InUnitsOf) else None
    return ModelOrigin(
        spec=spec,
        network={} if backbone is None else backbone.description,
        weights_hash="" if backbone is None else backbone.weights_hash,
        output_unit=unit,
    )
