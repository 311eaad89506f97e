"""The samples of a generation, made chunk by chunk on disk, by one process or several.

    <folder>/x.raw, y.raw            float32 rows of all samples, in the order of their indices
    <folder>/<start>-<stop>.npz      the parameters of these samples

The parameters of a chunk are written after its rows are synced: a chunk is complete if its
parameters exist. A run that was killed continues after its complete chunks; since a sample depends
on its index alone, the bytes are the same, whatever the chunks and the processes were.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.storage.atomic import new_file
from trainables.tasks.generation import Generation, Progress
from trainables.tasks.problem import GeneratedSamples

__all__ = ["WORKING_BYTES", "keep_freed_memory", "make_samples", "mapped"]

WORKING_BYTES = 3 * 2**28  # that all chunks which are being made may take together
LARGEST_LEARNT_FROM = 2**25  # bytes of an array, with glibc's own of the block


def make_samples(
    generation: Generation,
    folder: Path,
    *,
    progress: Progress | None = None,
    workers: int = 1,
    working_bytes: int = WORKING_BYTES,
) -> GeneratedSamples:
    """Make the samples that `folder` lacks, and return all of them, mapped.

    Args:
        progress: Called with task, samples done and samples in all.
        workers: Processes that share the work. No bit depends on their number.
        working_bytes: Memory that they may take together. No bit depends on it.

    Raises:
        DataError: A sample is not finite, or a process was killed.
    """
    total = generation.num_samples
    folder.mkdir(parents=True, exist_ok=True)
    for column, shape in generation.shapes.items():
        with (folder / f"{column}.raw").open("ab") as file:
            file.truncate(total * 4 * int(np.prod(shape)))
    gaps = _gaps(_made(folder), total)
    done = total - sum(map(len, gaps))
    step = _samples_at_once(generation, working_bytes // workers)
    chunks = [gap[start : start + step] for gap in gaps for start in range(0, len(gap), step)]
    with _mapper(workers) as run:
        for chunk, _ in zip(chunks, run(partial(_make, generation, folder), chunks), strict=True):
            done += len(chunk)
            if progress:
                progress(generation.info.name, done, total)
    x, y = (
        mapped(folder / f"{column}.raw", (total, *generation.shapes[column]))
        for column in ("x", "y")
    )
    return GeneratedSamples(x=x, y=y, params=_params(folder, total))


def mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a file of float32 numbers as a read-only array."""
    return np.memmap(path, dtype=np.float32, mode="r", shape=shape)


def _make(generation: Generation, folder: Path, chunk: range) -> None:
    keep_freed_memory()
    samples = generation.generate(chunk)
    for column, shape in generation.shapes.items():
        rows = np.ascontiguousarray(getattr(samples, column), dtype=np.float32)
        assert rows.shape == (len(chunk), *shape), f"{column} is {rows.shape}"
        _check_finite(generation, chunk, rows)
        with (folder / f"{column}.raw").open("r+b") as file:
            file.seek(chunk.start * rows[0].nbytes)
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())
    params: dict[str, Any] = dict(samples.params)
    with new_file(folder / f"{_name(chunk)}.npz") as aside, aside.open("wb") as file:
        np.savez(file, **params)


def _check_finite(generation: Generation, chunk: range, rows: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1))
    if len(broken):
        raise DataError(
            f"{generation.info.name}: sample {chunk[broken[0]]} of seed {generation.seed} is not "
            f"finite at resolution {generation.resolution}. Choose another `data.seed` or "
            "`data.resolution`."
        )


def _name(chunk: range) -> str:
    return f"{chunk.start:09d}-{chunk.stop:09d}"


def _made(folder: Path) -> dict[range, Path]:
    """Return the complete chunks, in order, with the files of their parameters."""
    paths = sorted(folder.glob("*.npz"))
    return {range(*map(int, path.stem.split("-"))): path for path in paths}


def _gaps(made: dict[range, Path], total: int) -> list[range]:
    """Return the ranges between the complete chunks."""
    gaps, reached = [], 0
    for chunk in (*made, range(total, total)):
        if chunk.start > reached:
            gaps.append(range(reached, chunk.start))
        reached = max(reached, chunk.stop)
    return gaps


def _params(folder: Path, total: int) -> dict[str, np.ndarray]:
    params: dict[str, np.ndarray] = {}
    for chunk, path in _made(folder).items():
        with np.load(path) as file:
            for name, values in file.items():
                whole = params.setdefault(name, np.empty((total, *values.shape[1:]), values.dtype))
                whole[chunk.start : chunk.stop] = values
    return params


def _samples_at_once(generation: Generation, working_bytes: int) -> int:
    """Return how many samples fit the memory and the cache of the processor."""
    problem = generation.problem
    numbers = sum(int(np.prod(shape)) for shape in generation.shapes.values())
    return max(1, min(problem.chunk, working_bytes // (problem.footprint * 8 * numbers)))


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield a `map`: the built-in one, or that of a pool of processes."""
    if workers == 1:
        yield map
        return
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise DataError(
            "A process that generated data was killed, perhaps for want of memory. Start again, "
            "with fewer workers: what was made is kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process once its parent is gone; a process of a pool would wait forever."""
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def keep_freed_memory() -> None:
    """Make this process keep the memory of arrays that it frees, up to 64 MiB.

    A time step of a solver makes and frees arrays of a megabyte by the dozen. The C library gives
    such memory back at once, and the kernel clears every page of it when it is next requested: up
    to half of the processor time of a generator. glibc derives how much to keep from the sizes that
    are freed (M_MMAP_THRESHOLD in mallopt(3)); one array of the largest size that it considers,
    never touched, raises the limit. Other C libraries ignore it.
    """
    np.empty(LARGEST_LEARNT_FROM - 2**16, dtype=np.uint8)
