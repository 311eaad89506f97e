"""Problems: partial differential equations whose solutions can be generated.

A `Problem` is a frozen dataclass of the equation's parameters. Sample i of seed s is a pure
function of (parameters, resolution, s, i): any subset, in any order and in any number of processes,
has the same bits.

Shapes: n = samples, c = channels, m = grid points a side.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

__all__ = ["GeneratedSamples", "Problem", "Problems", "cell_centres"]


@dataclass(frozen=True, kw_only=True)
class GeneratedSamples:
    """Inputs [n, c_in, *grid], outputs [n, c_out, *grid] and the random numbers of each sample.

    `params` holds every random number of a sample, [n] or [n, k] by name, so that its initial
    state can be evaluated again on any grid.
    """

    x: np.ndarray
    y: np.ndarray
    params: Mapping[str, np.ndarray]


class Problem(ABC):
    """An equation with its parameters. Subclasses are frozen dataclasses."""

    version: ClassVar[int] = 1  # raised whenever a change moves a bit of the output
    chunk: ClassVar[int] = 128  # samples to compute at once: what fits the processor's cache
    footprint: ClassVar[int] = 32  # working memory, in bytes of x and y in float64, at most
    test_first: ClassVar[bool] = True  # whether the published test set is the start of the file
    normalized: ClassVar[bool] = False  # whether the protocol standardises each point

    @abstractmethod
    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return the samples `indices` of stream `seed` on `resolution` points a side."""

    @abstractmethod
    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a channel."""

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as plain data, for hashes and manifests."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The problems of a task's splits, which may differ in their end time."""

    train: Problem
    scored: Problem  # of the validation and the test split


def cell_centres(count: int, low: float, high: float) -> np.ndarray:
    """Return the centres of `count` equal cells of [low, high]."""
    return low + (high - low) * (np.arange(count) + 0.5) / count
