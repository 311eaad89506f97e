"""Distances between source and embedded target that a stage records, independent of its objective.

    otdd_exact       OTDD of the official scale, with exact transport
    otdd_gaussian    the same, with each class approximated by a Gaussian
    mmd              squared MMD with ORCA's mixture of kernels
    euclidean        distance of the means
    otdd_converged   1 if the solver of otdd_exact converged, else 0

The distances compare tokens averaged over each sample, before the stage's first epoch
(`otdd_exact_start`) and after each epoch. The data's seed determines the samples: they are the same
in all epochs, trials and methods, so that the curves are comparable. The recording uses no random
generator of the trial and leaves no gradient.
"""

from math import nan

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from trainables.distances.euclidean import distance_of_means
from trainables.distances.mmd import mmd
from trainables.distances.otdd import otdd
from trainables.distances.statistics import cached_statistics
from trainables.models.cross_modal import CrossModalModel
from trainables.seeding import generator
from trainables.sources.source import Domains, Source, balanced_order
from trainables.stages.configs import MeasuredConfig
from trainables.tasks.store.split import Rows
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluating, gather, rows_at_once
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["Measurements", "classes", "mean_tokens", "source_order", "target_order"]

DISTANCES = ("otdd_exact", "otdd_gaussian", "otdd_converged", "mmd", "euclidean")


class Measurements:
    """Recorded distances of a stage; empty if `measure` is 0 or there is no source.

    The constructor measures the start, before the loop over epochs:

        measurements = Measurements(state, domains, config)
        for epoch in range(state.epoch, config.epochs):
            measured = {**self._train(...), **measurements.after_epoch(state)}
    """

    def __init__(self, state: TrainState, domains: Domains, config: MeasuredConfig) -> None:
        self._samples: Samples | None = None
        self._start: dict[str, float] = {}
        # Without an epoch left, in a resumed stage too, nothing will be recorded.
        if domains.source is None or config.measure == 0 or state.epoch >= config.epochs:
            return
        self._samples = Samples(domains, domains.source, config)
        # A stage that resumes later has reported its start already.
        if state.epoch == 0:
            values = self._samples.measure(state)
            self._start = {f"{name}_start": value for name, value in values.items()}

    def after_epoch(self, state: TrainState) -> dict[str, float]:
        """Return each distance by name; NaN if features are not finite.

        The first call also returns the distances before the first epoch.
        """
        if self._samples is None:
            return {}
        start, self._start = self._start, {}
        return {**self._samples.measure(state), **start}


class Samples:
    """The measured samples of both modalities."""

    def __init__(self, domains: Domains, source: Source, config: MeasuredConfig) -> None:
        task, size = domains.target, config.measure
        chosen = source_order(source)[:size].sort().values
        self.key = f"{source.content_hash}/measure={size}"
        self.source, self.source_labels = source.features[chosen], source.labels[chosen]
        self.inputs, self.drawn = task.train.x, target_order(task)[:size].sort().values
        self.labels = classes(task)[self.drawn]
        sides = (self.source_labels, self.labels)
        self.have_classes = all(int(torch.bincount(side).max()) >= 2 for side in sides)

    @torch.no_grad()
    def measure(self, state: TrainState) -> dict[str, float]:
        """Return the distances by name, without OTDD if no class of a side has two samples."""
        source = self.source.to(state.device)
        target = mean_tokens(state.model, self.inputs, self.drawn)
        # OTDD would raise here. With NaN, `check_finite` ends the trial and names the settings to
        # lower.
        if not target.isfinite().all():
            return dict.fromkeys(DISTANCES, nan)
        values = {
            "mmd": mmd(source, target).item(),
            "euclidean": distance_of_means(source, target).item(),
        }
        if self.have_classes:
            labels = self.labels.to(state.device)
            for method in ("exact", "gaussian"):
                statistics = cached_statistics(
                    self.key, source, self.source_labels.to(state.device), method=method
                )
                distance = otdd(statistics, target, labels)
                values[f"otdd_{method}"] = distance.value.item()
                if method == "exact":
                    values["otdd_converged"] = float(distance.converged)
        return values


SEED = 0  # seed of the data, not of the trial
CLUSTERS = 10  # pseudo-labels of a task without classes, independent of a stage's settings


def source_order(source: Source) -> Int64[Tensor, " n"]:
    """Return a random order of the source samples, whose heads are as balanced as classes allow."""
    return balanced_order(source.labels, generator=generator(SEED, "measured-source"))


def target_order(task: Task) -> Int64[Tensor, " n"]:
    """Return a random order of the training samples."""
    return torch.randperm(len(task.train), generator=generator(SEED, "measured-target"))


def classes(task: Task) -> Int64[Tensor, " n"]:
    """Return the class, or pseudo-label, of each training sample."""
    return torch.from_numpy(target_labels(task, CLUSTERS))


def batches(inputs: Rows, drawn: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " b"], ...]:
    """Split the drawn samples into batches of the size that is read at once."""
    return torch.split(drawn, rows_at_once(inputs))


@torch.no_grad()
def mean_tokens(
    model: CrossModalModel, inputs: Rows, drawn: Int64[Tensor, " n"]
) -> Float32[Tensor, "n d"]:
    """Return the mean token of each drawn target sample, in float32."""
    device = next(model.parameters()).device
    with evaluating(model.embedder):
        return torch.cat([
            model.embed(gather(inputs, batch.numpy(), device)).mean(1)
            for batch in batches(inputs, drawn)
        ])  # fmt: skip
