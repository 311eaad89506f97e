"""One side of an optimal transport dataset distance: its classes, and the costs within it.

Each cost of a side is computed when it is first needed, and kept. A source is constant, so that its
costs are kept by the process and, on disk, by the machine (`cached_statistics`). Without entropy
there is next to nothing to compute; with it, there are the distances within the side, whose halves
are subtracted (`sinkhorn`).

Shapes: n = samples given; m = samples kept, in the order of their classes; d = features;
k = classes; "" = scalar.
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
from trainables.distances.optimal_transport import TransportCosts, stacked
from trainables.distances.sinkhorn import entropic_costs, entropic_self_cost
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
]

Method = Literal["exact", "gaussian"]
Solver = Literal["emd", "sinkhorn"]

SMALLEST = 2  # samples of a class

KEPT = 8
FORMAT = 1  # of what is kept on disk; raise it when what is computed changes


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """Samples in the order of their classes, which have `counts` samples each."""

    features: Float64[Tensor, "m d"]
    counts: tuple[int, ...]


def by_class(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Classes:
    """Return the samples of classes of two samples or more, with their graph.

    Raises:
        DataError: There is no such class.
    """
    _, labels, counts = torch.unique(
        labels.to(features.device), return_inverse=True, return_counts=True
    )
    order = labels.argsort(stable=True)
    order = order[(counts >= SMALLEST)[labels[order]]]
    if not len(order):
        raise DataError(
            f"None of {len(labels)} samples shares its class with another, but a distance needs "
            "two of a class: draw more samples, or of fewer classes."
        )
    return Classes(
        features=features.double()[order],
        counts=tuple(counts[counts >= SMALLEST].tolist()),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """A side, and the settings that both sides share. Tensors have a graph if the samples do."""

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
        classes = torch.split(self.classes.features, list(self.classes.counts))
        return stacked([entropic_self_cost(squared_distances(x, x), self.entreg) for x in classes])

    @cached_property
    def distances_within(self) -> TransportCosts:
        """Distances between the classes of this side [k, k], without entropy's share."""
        return self._remembered("distances_within", self._distances_within)

    def _distances_within(self) -> TransportCosts:
        if self.method == "gaussian":
            return TransportCosts(gaussian_distances_within(self.gaussians), True)
        features, counts = self.classes.features, self.classes.counts
        squared = squared_distances(features, features)
        rows, converged, start = [], self.class_self_costs.converged, 0
        for i, count in enumerate(counts):  # the triangle above the diagonal
            row = squared.new_zeros(len(counts))
            if later := counts[i + 1 :]:
                block = squared[start : start + count, start + count :]
                costs = entropic_costs(block, later, self.entreg)
                row = torch.cat([row[: i + 1], costs.values])
                converged = converged and costs.converged
            rows.append(row)
            start += count
        upper = torch.stack(rows)
        halves = self.class_self_costs.values / 2
        off_diagonal = 1 - torch.eye(len(counts), dtype=upper.dtype, device=upper.device)
        values = (upper + upper.T - halves[:, None] - halves) * off_diagonal
        return TransportCosts(values, converged)

    def self_cost(self, label_weight: float, *, detach_label_term: bool = False) -> TransportCosts:
        """Return OT_e of the whole side to itself, for the ground cost."""
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
        solved = entropic_self_cost(cost, self.entreg)
        return TransportCosts(solved.values, solved.converged and within.converged)

    def _remembered(self, name: str, compute: Callable[[], TransportCosts]) -> TransportCosts:
        if self.cache is None:
            return compute()

        def tensors() -> dict[str, Tensor]:
            costs = compute()
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
    """Return the constant side of many distances.

    Args:
        entreg: e, in units of the costs; with `sinkhorn` alone.
        shrinkage: r, with `gaussian` alone.
        cache: Of these very samples and settings.

    Raises:
        ValueError: A setting is out of range.
        DataError: Features are not finite, or no two samples are of one class.
    """
    if not (entreg > 0 and 0 <= shrinkage <= 1):
        raise ValueError(
            f"`entreg > 0` and `0 <= shrinkage <= 1` must hold, but got {entreg=}, {shrinkage=}."
        )
    if not features.isfinite().all():
        raise DataError("Source features are NaN or infinite: see the data, or the weights.")
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
    """Return `prepare(features, labels, **settings)`, or what it returned for the same before.

    Args:
        content_hash: Of the samples: a different one for every other choice of them.
        folder: Where other processes find what this one computes; None: nowhere.

    Raises:
        ValueError, DataError: As `prepare` does.
    """
    samples = _Samples(content_hash, tuple(features.shape), str(features.device), features, labels)
    return _statistics(samples, folder, **dict(sorted(settings.items())))


def ground_cost(
    squared: Float64[Tensor, "n m"],
    between: Float64[Tensor, "k1 k2"],
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    label_weight: float,
) -> Float64[Tensor, "n m"]:
    """Return (|x - x'|^2 + label_weight W(y, y')) / 2 of samples in the order of their classes."""
    sizes = (torch.tensor(counts, device=squared.device) for counts in (rows, columns))
    for dim, size in enumerate(sizes):
        between = between.repeat_interleave(size, dim)
    return (squared + label_weight * between) / 2


@dataclass(frozen=True)
class _Samples:
    """Samples that are equal if their names are."""

    content_hash: str
    shape: tuple[int, ...]
    device: str
    features: Tensor = field(compare=False)
    labels: Tensor = field(compare=False)


@lru_cache(maxsize=KEPT)
def _statistics(samples: _Samples, folder: Path | None, **settings: Any) -> Statistics:
    cache = None
    if folder is not None:
        made_from = [FORMAT, samples.content_hash, samples.shape, samples.device, settings]
        cache = DiskCache(folder / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32])
    return prepare(samples.features, samples.labels, cache=cache, **settings)
