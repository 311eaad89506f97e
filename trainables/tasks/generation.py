"""The generated data set that a task and a `DataSpec` determine."""

import hashlib
import json
import math
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

Progress = Callable[[str, int, int], None]  # task, finished samples, all samples
MIN_RESOLUTION = 8
MAX_RESOLUTION: Mapping[Dimension, int] = MappingProxyType({"1d": 16_384, "2d": 1024})
MAX_SAMPLES = 10_000_000
TEST_FRACTION = 0.1  # of generated data, unless `data.test_fraction` says another


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
        if data.seed >= 2**64:
            raise ConfigError(f"{name}: `data.seed` must be below 2^64, but got {data.seed}.")
        resolution = _resolution(data, info)
        if resolution < MIN_RESOLUTION:
            raise ConfigError(
                f"{name}: `data.resolution` must be at least {MIN_RESOLUTION}, "
                f"but got {resolution}."
            )
        largest = MAX_RESOLUTION[info.dimension]
        if resolution > largest:
            raise ConfigError(
                f"{name}: `data.resolution` must be at most {largest} in {info.dimension}, but got "
                f"{resolution}: no solver here ends in time, or in memory, on a finer grid."
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
            sizes=_sizes(info, data),
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


def scored_sizes(train: int, val_share: float, test_share: float) -> dict[str, int]:
    """Return the samples for validation and test beside `train` samples, by shares of them all."""
    # Without rounding, an error of 1e-13 would count as one more sample.
    total = math.ceil(round(train / (1 - val_share - test_share), 6))
    return {"val": round(total * val_share), "test": round(total * test_share)}


def _sizes(info: TaskInfo, data: DataSpec) -> dict[str, int]:
    """Return the number of samples of each split of generated data.

    Raises:
        ConfigError: A split would be empty, or there would be too many samples.
    """
    shares = data.val_fraction, TEST_FRACTION if data.test_fraction is None else data.test_fraction
    # The published number counts all splits, whereas `data.samples` counts those that train.
    if data.samples is None:
        val, test = (round(info.samples * share) for share in shares)
        sizes = {"train": info.samples - val - test, "val": val, "test": test}
    else:
        sizes = {"train": data.samples, **scored_sizes(data.samples, *shares)}
    if min(sizes.values()) < 1:
        raise ConfigError(
            f"{info.name}: `data.samples` leaves a split empty: {sizes} at `val_fraction: "
            f"{shares[0]:g}` and `test_fraction: {shares[1]:g}`. Raise it, or change the fractions."
        )
    if sum(sizes.values()) > MAX_SAMPLES:
        raise ConfigError(
            f"{info.name}: `data.samples` must be lower: with those to validate and to test there "
            f"are {sum(sizes.values())}, but at most {MAX_SAMPLES} are made."
        )
    return sizes
