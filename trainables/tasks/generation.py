"""Which generated data set a task and a `DataSpec` ask for, and making its arrays."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import numpy as np

from trainables.errors import ConfigError
from trainables.spec import DataSpec
from trainables.tasks.pde_bench.problem import Problem, Samples
from trainables.tasks.registry import task_info
from trainables.tasks.store import SplitData
from trainables.tasks.task import SPLITS, TaskInfo

__all__ = ["Generation", "Progress"]

Progress = Callable[[str, int, int], None]  # task, samples done, samples in all
SMALLEST_RESOLUTION = 8
STD_OFFSET = 1e-5  # keeps a point that never varies finite when it is standardised


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A data set that is fully determined, and need not have been made yet."""

    info: TaskInfo
    problem: Problem
    seed: int
    resolution: int
    sizes: Mapping[str, int]  # samples by split

    @classmethod
    def of(cls, name: str, data: DataSpec) -> "Generation":
        """Resolves what `data` leaves open.

        Raises:
            ConfigError: There is no such task, a split would be empty, the grid is too coarse,
                or the seed has more than 64 bits.
        """
        info = task_info(name)
        samples = data.samples or info.samples
        sizes = {
            "val": round(samples * data.val_fraction),
            "test": round(samples * data.test_fraction),
        }
        sizes["train"] = samples - sum(sizes.values())
        if min(sizes.values()) < 1:
            raise ConfigError(
                f"{name}: {samples} samples with val_fraction={data.val_fraction}, "
                f"test_fraction={data.test_fraction} leave a split empty: {sizes}. "
                "Raise `data.samples`, or change the fractions."
            )
        if data.seed >= 2**64:
            raise ConfigError(f"{name}: `data.seed` must be below 2^64, but got {data.seed}.")
        resolution = _resolution(data, info)
        if resolution < SMALLEST_RESOLUTION:
            raise ConfigError(
                f"{name}: `data.resolution` must be at least {SMALLEST_RESOLUTION}, "
                f"but got {resolution}."
            )
        return cls(
            info=info,
            problem=_problem(info),
            seed=data.seed,
            resolution=resolution,
            sizes={split: sizes[split] for split in SPLITS},
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """All that determines the data, as plain data."""
        return {
            "task": self.info.name,
            "generator": type(self.problem).__name__,
            "generator_version": self.problem.version,
            "parameters": self.problem.parameters(),
            "seed": self.seed,
            "resolution": self.resolution,
            "sizes": dict(self.sizes),
        }

    @property
    def key(self) -> str:
        """A hash of `recipe`: the folder's name."""
        return hashlib.sha256(json.dumps(self.recipe, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def num_samples(self) -> int:
        """Samples of all splits."""
        return sum(self.sizes.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one x and of one y."""
        grid = self.problem.grid(self.resolution)
        c_in, c_out = self.info.channels
        return {"x": (c_in, *grid), "y": (c_out, *grid)}

    def indices(self) -> dict[str, range]:
        """Returns each split's samples; the test set is at the end where the benchmark has it."""
        order = ("test", "val", "train") if self.problem.test_first else ("train", "val", "test")
        ranges, start = {}, 0
        for split in order:
            ranges[split] = range(start, start + self.sizes[split])
            start += self.sizes[split]
        return ranges

    def make(
        self, *, progress: Progress | None = None, workers: int = 1
    ) -> tuple[dict[str, SplitData], dict[str, Any]]:
        """Generates every split, and returns them with what standardised them (or nothing).

        `workers` processes share the work; the bits do not depend on how many.
        """
        total, done = self.num_samples, 0
        x, y = (np.empty((total, *self.shapes[column]), dtype=np.float32) for column in ("x", "y"))
        params: dict[str, list[np.ndarray]] = {}
        chunks = [
            np.arange(start, min(start + self.problem.chunk, total))
            for start in range(0, total, self.problem.chunk)
        ]
        with _mapper(workers) as run:
            for indices, made in zip(chunks, run(self._chunk, chunks), strict=True):
                x[indices], y[indices] = made.x, made.y
                for parameter, values in made.params.items():
                    params.setdefault(parameter, []).append(values)
                done += len(indices)
                if progress:
                    progress(self.info.name, done, total)
        ranges = self.indices()
        normalization = {}
        if self.problem.normalized:
            normalization = _standardise(x, y, train=x[_slice(ranges["train"])])
        joined = {parameter: np.concatenate(parts) for parameter, parts in params.items()}
        splits = {
            split: SplitData(
                sample_id=np.arange(total)[_slice(ranges[split])],
                x=x[_slice(ranges[split])],
                y=y[_slice(ranges[split])],
                params={key: values[_slice(ranges[split])] for key, values in joined.items()},
            )
            for split in SPLITS
        }
        return splits, normalization

    def _chunk(self, indices: np.ndarray) -> Samples:
        return self.problem.generate(indices, seed=self.seed, resolution=self.resolution)


def _problem(info: TaskInfo) -> Problem:
    benchmark, _, rest = info.name.partition("/")
    module, _, variant = rest.partition("@")
    assert benchmark == "pdebench", f"{info.name} has no generator"
    problems = import_module(f"trainables.tasks.pde_bench.{module}")
    problem: Problem = getattr(problems, variant.upper() or "COMPAT")
    return problem


def _resolution(data: DataSpec, info: TaskInfo) -> int:
    if isinstance(data.resolution, Mapping):
        return data.resolution.get(info.dimension, info.resolution)
    return data.resolution or info.resolution


def _slice(indices: range) -> slice:
    return slice(indices.start, indices.stop)


def _standardise(x: np.ndarray, y: np.ndarray, *, train: np.ndarray) -> dict[str, Any]:
    """Standardises inputs and outputs in place, point by point, by the training inputs."""
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = (train.std(axis=0, dtype=np.float64) + STD_OFFSET).astype(np.float32)
    for array in (x, y):
        array -= mean
        array /= scale
    return {
        "kind": "(value - mean) / scale at each point, by the training inputs, of x and of y",
        "mean": mean.tolist(),
        "scale": scale.tolist(),
    }


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Samples]]]:
    """Lends a `map`: the built-in one, or that of a pool of processes."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map
