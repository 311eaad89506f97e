"""The generated data set that a task and a `DataSpec` determine."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from trainables.errors import ConfigError
from trainables.spec import DataSpec, Dimension
from trainables.tasks.problem import GeneratedSamples, Problem
from trainables.tasks.registry import benchmark_of, task_info
from trainables.tasks.task import TaskInfo

__all__ = ["Generation", "Progress", "split_sizes"]

Progress = Callable[[str, int, int], None]  # task, finished samples, all samples
SMALLEST_RESOLUTION = 8
LARGEST_RESOLUTION: Mapping[Dimension, int] = MappingProxyType({"1d": 16_384, "2d": 1024})
MOST_SAMPLES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A complete description of a generated data set, which need not exist yet."""

    info: TaskInfo
    problem: Problem  # of the training split
    scored: Problem  # of the other two splits, which may have another end time
    seed: int
    resolution: int
    sizes: Mapping[str, int]  # samples by split

    @classmethod
    def of(cls, name: str, data: DataSpec) -> "Generation":
        """Return the data set, with defaults of the task for the values that `data` leaves open.

        Raises:
            ConfigError: The task is unknown, a split would be empty, the grid is too coarse or too
                fine, the number of samples is too large, or the seed has more than 64 bits.
        """
        info = task_info(name)
        samples = data.samples or info.samples
        if data.seed >= 2**64:
            raise ConfigError(f"{name}: `data.seed` must be below 2^64, but got {data.seed}.")
        resolution = _resolution(data, info)
        if resolution < SMALLEST_RESOLUTION:
            raise ConfigError(
                f"{name}: `data.resolution` must be at least {SMALLEST_RESOLUTION}, "
                f"but got {resolution}."
            )
        largest = LARGEST_RESOLUTION[info.dimension]
        if resolution > largest:
            raise ConfigError(
                f"{name}: `data.resolution` must be at most {largest} in {info.dimension}, but got "
                f"{resolution}: no solver here ends in time, or in memory, on a finer grid."
            )
        if samples > MOST_SAMPLES:
            raise ConfigError(
                f"{name}: `data.samples` must be at most {MOST_SAMPLES}, but got {samples}."
            )
        benchmark = benchmark_of(name)
        assert benchmark.problems is not None, f"{name} has no generator"
        problems = benchmark.problems(info)
        return cls(
            info=info,
            problem=problems.train,
            scored=problems.scored,
            seed=data.seed,
            resolution=resolution,
            sizes=split_sizes(name, samples, data),
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings that determine the data, as plain data."""
        recipe = {
            "task": self.info.name,
            "generator": type(self.problem).__name__,
            "generator_version": self.problem.version,
            "parameters": self.problem.parameters(),
            "seed": self.seed,
            "resolution": self.resolution,
            "sizes": dict(self.sizes),
        }
        if self.scored != self.problem:
            recipe["scored_parameters"] = self.scored.parameters()
        return recipe

    @property
    def key(self) -> str:
        """A hash of `recipe`, which is the name of the folder."""
        return hashlib.sha256(json.dumps(self.recipe, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def num_samples(self) -> int:
        """The number of samples of all splits."""
        return sum(self.sizes.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one x [c_in, *grid] and of one y [c_out, *grid]."""
        grid = self.problem.grid(self.resolution)
        c_in, c_out = self.info.channels
        return {"x": (c_in, *grid), "y": (c_out, *grid)}

    def indices(self) -> dict[str, range]:
        """Return the indices of each split. The test set is at the end that the benchmark uses."""
        order = ("test", "val", "train") if self.problem.test_first else ("train", "val", "test")
        ranges, start = {}, 0
        for split in order:
            ranges[split] = range(start, start + self.sizes[split])
            start += self.sizes[split]
        return ranges

    def generate(self, chunk: range) -> GeneratedSamples:
        """Return the samples of these indices, each with the target of its split."""
        if self.scored == self.problem:
            return self._solved(self.problem, chunk)
        # A chunk may cross the border of two splits, whose problems have different end times.
        parts = []
        for split, whole in sorted(self.indices().items(), key=lambda item: item[1].start):
            part = range(max(chunk.start, whole.start), min(chunk.stop, whole.stop))
            if part:
                problem = self.problem if split == "train" else self.scored
                parts.append(self._solved(problem, part))
        return GeneratedSamples(
            x=np.concatenate([part.x for part in parts]),
            y=np.concatenate([part.y for part in parts]),
            params={
                name: np.concatenate([part.params[name] for part in parts])
                for name in parts[0].params
            },
        )

    def _solved(self, problem: Problem, chunk: range) -> GeneratedSamples:
        indices = np.arange(chunk.start, chunk.stop)
        return problem.generate(indices, seed=self.seed, resolution=self.resolution)


def _resolution(data: DataSpec, info: TaskInfo) -> int:
    if isinstance(data.resolution, Mapping):
        return data.resolution.get(info.dimension, info.resolution)
    return data.resolution or info.resolution


def split_sizes(name: str, samples: int, data: DataSpec) -> dict[str, int]:
    """Return the number of samples of each split by `val_fraction` and `test_fraction`.

    Args:
        name: Name of the task, for messages.
        samples: Number of samples of all splits.
        data: The fractions.

    Raises:
        ConfigError: A split would be empty.
    """
    val, test = (round(samples * share) for share in (data.val_fraction, data.test_fraction))
    sizes = {"train": samples - val - test, "val": val, "test": test}
    if min(sizes.values()) < 1:
        raise ConfigError(
            f"{name}: {samples} samples with val_fraction={data.val_fraction}, "
            f"test_fraction={data.test_fraction} leave a split empty: {sizes}. "
            "Raise `data.samples`, or change the fractions."
        )
    return sizes
