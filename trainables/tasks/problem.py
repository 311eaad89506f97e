"""Problems: partial differential equations whose solutions can be generated.

A `Problem` is a frozen dataclass of the equation's parameters. Sample i of seed s is a pure
function of (parameters, resolution, s, i). Its bits do not depend on the other samples, on their
order, or on the number of processes.

Shapes: n = samples, c = channels, m = grid points per side.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True, kw_only=True)
class GeneratedSamples:
    """Inputs [n, c_in, *grid], outputs [n, c_out, *grid] and the random numbers of each sample.

    `params` holds all random numbers, [n] or [n, k] by name. They allow evaluating the initial
    state again on any grid.
    """

    x: np.ndarray
    y: np.ndarray
    params: Mapping[str, np.ndarray]


class Problem(ABC):
    """An equation with its parameters. Subclasses are frozen dataclasses."""

    version: ClassVar[int] = 1  # increased by every change of the output's bits
    chunk: ClassVar[int] = 128  # samples to compute at once, so that they fit the processor's cache
    footprint: ClassVar[int] = 32  # maximal working memory, in sizes of x and y in float64
    test_first: ClassVar[bool] = True  # True: the published test set is the start of the file
    axes: ClassVar[int] = 1  # of a field
    normalized: ClassVar[bool] = False  # True: the protocol standardises each point

    @abstractmethod
    def generate(self, indices: np.ndarray, *, seed: int, resolution: int) -> GeneratedSamples:
        """Return samples of the stream `seed`.

        Args:
            indices: int64 [n], the numbers of the samples.
            seed: Number of the stream.
            resolution: Grid points per side.
        """

    def solve(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs [n, c_out, *grid] of inputs, solved on their own grid.

        It is not called where the input hides a part of the initial state (`hidden`).

        Raises:
            NotImplementedError: The problem has no solver of its own.
        """
        raise NotImplementedError

    @property
    def hidden(self) -> str:
        """The part of the initial state that the input lacks, or an empty text."""
        return ""

    def grid(self, resolution: int) -> tuple[int, ...]:
        """Return the shape of a channel at `resolution` grid points per side."""
        return (resolution,) * self.axes

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as plain data, for hashes and manifests."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The problems of a task's splits, which may differ in their end time."""

    train: Problem
    scored: Problem  # of the validation and the test split


def cell_centres(count: int, low: float, high: float) -> np.ndarray:
    """Return the centres of `count` equal cells of [low, high]: float64 [count]."""
    return low + (high - low) * (np.arange(count) + 0.5) / count
