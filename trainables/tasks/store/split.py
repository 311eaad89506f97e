"""Splits of a data set: the input of a store (`SplitData`) and its output (`Split`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["SPLITS", "Rows", "Split", "SplitData", "cut"]

SPLITS = ("train", "val", "test")


@runtime_checkable
class Rows(Protocol):
    """Samples that are read by index: an array, or an object that computes them on request."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, indices: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """Arrays of a split before it is written. x and y may be memory-mapped."""

    sample_id: np.ndarray  # [n]
    x: np.ndarray  # [n, c_in, *grid], float32, float16 or uint8
    y: np.ndarray  # [n, c_out, *grid] or [n, k] float32, or labels [n] int64
    params: Mapping[str, np.ndarray] = field(default_factory=dict)  # [n] or [n, k] each
    # [n] int64: samples whose predictions are averaged for the metric
    groups: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs [n, c_in, *grid] and outputs, read-only and mapped.

    Outputs are fields [n, c_out, *grid], labels int64 [n], label sets [n, k] of 0 and 1, or vectors
    of numbers [n, k]. If `TaskInfo.mask` is set, a field has an additional last channel of 0 and 1.
    """

    x: Rows
    y: np.ndarray
    groups: np.ndarray | None = None  # int64 [n]: samples of a group are scored together
    sample_id: np.ndarray | None = None  # int64 [n]: numbers in the order of the published files

    def __len__(self) -> int:
        return len(self.x)


def cut(
    rows: Mapping[str, np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    params: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, SplitData]:
    """Return splits as views of arrays that hold them one after another, in the order of `SPLITS`.

    Args:
        rows: Numbers of the samples of each split.
        x: Inputs of all samples.
        y: Outputs of all samples.
        params: Parameters of all samples, by their numbers.
    """
    stops = np.cumsum([len(rows[split]) for split in SPLITS])
    return {
        split: SplitData(
            sample_id=rows[split],
            x=x[stop - len(rows[split]) : stop],
            y=y[stop - len(rows[split]) : stop],
            params={name: values[rows[split]] for name, values in params.items()},
        )
        for split, stop in zip(SPLITS, stops, strict=True)
    }
