"""Statistics of one side of an optimal transport dataset distance: its classes and its self-costs.

Each cost of a side is computed at the first use, and kept. A source is constant, so that its costs
are cached in the process and, on disk, for the machine (`cached_statistics`). Without entropy there
is almost nothing to compute. With entropy there are the distances within the side, whose halves are
subtracted (`sinkhorn`).

Shapes: n = given samples; m = kept samples, sorted by class; d = features; k = classes; "" =
scalar.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trainables.distances.euclidean import squared_distances
from trainables.distances.gaussian import Gaussians, fit_gaussians, gaussian_distances_within
from trainables.distances.optimal_transport import TransportCosts
from trainables.distances.sinkhorn import entropic_costs, entropic_self_costs
from trainables.errors import DataError
from trainables.storage.tensors import DiskCache

__all__ = [
    "Classes",
    "Method",
    "Solver",
    "Statistics",
    "by_class",
    "cached_statistics",
    "ground_cost",
    "prepare",
    "remembered_statistics",
]

Method = Literal["exact", "gaussian"]
Solver = Literal["emd", "sinkhorn"]

MIN_SAMPLES = 2  # smallest number of samples of a class

KEPT = 8  # statistics that a process caches
FORMAT = 2  # version of the cache on disk; increase it if the computed values change


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """Samples, sorted by class, and the number of samples of each class."""

    features: Float64[Tensor, "m d"]
    counts: tuple[int, ...]


def by_class(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Classes:
    """Return the samples of classes with at least two, sorted by class, with their graph.

    Raises:
        DataError: There is no such class.
    """
    # The number of samples of each class is needed here, so that a GPU is asked once.
    _, labels, counts = torch.unique(labels.cpu(), return_inverse=True, return_counts=True)
    order = labels.argsort(stable=True)
    order = order[(counts >= MIN_SAMPLES)[labels[order]]]
    if not len(order):
        raise DataError(
            f"None of {len(labels)} samples shares its class with another, but a distance needs "
            "two of a class: draw more samples, or of fewer classes."
        )
    return Classes(
        features=features.double()[order.to(features.device)],
        counts=tuple(counts[counts >= MIN_SAMPLES].tolist()),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Classes of a side, and the settings of both; tensors have a graph if the samples have one."""

    classes: Classes
    method: Method
    solver: Solver
    entreg: float
    shrinkage: float
    cache: DiskCache | None = None
    _self_costs: dict[tuple[float, bool], TransportCosts] = field(default_factory=dict, init=False)

    @cached_property
    def gaussians(self) -> Gaussians:
        """The Gaussian of each class."""
        return fit_gaussians(self.classes.features, self.classes.counts, self.shrinkage)

    @cached_property
    def class_self_costs(self) -> TransportCosts:
        """OT_e of each class to itself [k], for the cost |x - x'|^2."""
        return self._remembered("class_self_costs", self._class_self_costs)

    def _class_self_costs(self) -> TransportCosts:
        features = self.classes.features
        return entropic_self_costs(
            squared_distances(features, features), self.classes.counts, self.entreg
        )

    @cached_property
    def distances_within(self) -> TransportCosts:
        """Distances between the classes of this side [k, k], without the entropic bias."""
        return self._remembered("distances_within", self._distances_within)

    def _distances_within(self) -> TransportCosts:
        if self.method == "gaussian":
            return TransportCosts(gaussian_distances_within(self.gaussians), True)
        features, counts = self.classes.features, self.classes.counts
        squared = squared_distances(features, features)
        costs = entropic_costs(squared, counts, counts, self.entreg, within=True)
        halves = self.class_self_costs.values / 2
        # `within` solves each pair in one order, hence the sum with the transpose. A class has the
        # distance 0 to itself by definition.
        off_diagonal = 1 - torch.eye(len(counts), dtype=squared.dtype, device=squared.device)
        values = (costs.values + costs.values.T - halves[:, None] - halves) * off_diagonal
        return TransportCosts(values, costs.converged and self.class_self_costs.converged)

    def self_cost(self, label_weight: float, *, detach_label_term: bool = False) -> TransportCosts:
        """Return OT_e of the whole side to itself, for the ground cost.

        Args:
            label_weight: Weight of the label term.
            detach_label_term: Omit the gradient through the label term.
        """
        key = (label_weight, detach_label_term)
        if key not in self._self_costs:
            name = f"self_cost-{label_weight!r}-{detach_label_term}"
            self._self_costs[key] = self._remembered(name, lambda: self._self_cost(*key))
        return self._self_costs[key]

    def _self_cost(self, label_weight: float, detach_label_term: bool) -> TransportCosts:
        features, counts = self.classes.features, self.classes.counts
        within = self.distances_within
        between = within.values.detach() if detach_label_term else within.values
        squared = squared_distances(features, features)
        cost = ground_cost(squared, between, counts, counts, label_weight)
        solved = entropic_self_costs(cost, (len(cost),), self.entreg)
        return TransportCosts(solved.values[0], solved.converged and within.converged)

    def _remembered(self, name: str, compute: Callable[[], TransportCosts]) -> TransportCosts:
        if self.cache is None:
            return compute()

        def tensors() -> dict[str, Tensor]:
            costs = compute()
            # The cache on disk holds tensors alone.
            return {"values": costs.values, "converged": torch.tensor(costs.converged)}

        found = self.cache(name, tensors)
        device = self.classes.features.device
        return TransportCosts(found["values"].to(device), bool(found["converged"]))


def prepare(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    method: Method = "exact",
    solver: Solver = "emd",
    entreg: float = 0.1,
    shrinkage: float = 0.1,
    cache: DiskCache | None = None,
) -> Statistics:
    """Return the statistics of a constant side, for many distances.

    Args:
        features: Features of the samples.
        labels: Class of each sample.
        method: `exact` transport between classes, or `gaussian` approximations of them.
        solver: `emd` for exact transport, or `sinkhorn` for entropic transport.
        entreg: e, in units of the costs; only for `sinkhorn`.
        shrinkage: r of the covariances; only for `gaussian`.
        cache: Cache for exactly these samples and settings.

    Raises:
        ValueError: A setting is out of range.
        DataError: Features are not finite, or no two samples are of one class.
    """
    if not (entreg > 0 and 0 <= shrinkage <= 1):
        raise ValueError(
            f"`entreg > 0` and `0 <= shrinkage <= 1` must hold, but got {entreg=}, {shrinkage=}."
        )
    if not features.isfinite().all():
        raise DataError("Source features are NaN or infinite: check the data and the weights.")
    return Statistics(
        classes=by_class(features.detach(), labels),
        method=method,
        solver=solver,
        entreg=entreg,
        shrinkage=shrinkage,
        cache=cache,
    )


def cached_statistics(
    content_hash: str,
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    *,
    folder: Path | None = None,
    **settings: Any,
) -> Statistics:
    """Return `prepare(features, labels, **settings)`, or its earlier result for equal arguments.

    Args:
        content_hash: Hash of the samples; different samples must have different hashes.
        features: Features of the samples.
        labels: Class of each sample.
        folder: Folder of a cache that other processes share; None: no cache on disk.
        settings: Further arguments of `prepare`.

    Raises:
        ValueError, DataError: As in `prepare`.
    """
    samples = _Samples(content_hash, tuple(features.shape), str(features.device), features, labels)
    # `lru_cache` tells keyword arguments in another order apart, hence the sort.
    return remembered_statistics(samples, folder, **dict(sorted(settings.items())))


def ground_cost(
    squared: Float64[Tensor, "n m"],
    between: Float64[Tensor, "k1 k2"],
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    label_weight: float,
) -> Float64[Tensor, "n m"]:
    """Return (|x - x'|^2 + label_weight W(y, y')) / 2 of all pairs of samples.

    Args:
        squared: |x - x'|^2 of samples that are sorted by class.
        between: W of all pairs of classes.
        rows: Number of samples of each class, on one side.
        columns: The same on the other side.
        label_weight: Weight of W.
    """
    for dim, counts in enumerate((rows, columns)):
        classes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        between = between.index_select(dim, classes.to(between.device))
    return (squared + label_weight * between) / 2


@dataclass(frozen=True)
class _Samples:
    """Samples that are equal if their hash, shape and device are equal."""

    content_hash: str
    shape: tuple[int, ...]
    device: str
    features: Tensor = field(compare=False)
    labels: Tensor = field(compare=False)


@lru_cache(maxsize=KEPT)
def remembered_statistics(samples: _Samples, folder: Path | None, **settings: Any) -> Statistics:
    """Prepare statistics once a process, and once a machine with a folder."""
    cache = None
    if folder is not None:
        # The device is part of the key, since a GPU rounds differently.
        made_from = [FORMAT, samples.content_hash, samples.shape, samples.device, settings]
        cache = DiskCache(folder / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32])
    return prepare(samples.features, samples.labels, cache=cache, **settings)
