"""Generation of samples on disk, chunk by chunk, by one process or several.

    <folder>/x.raw, y.raw            float32 rows of all samples, in the order of their indices
    <folder>/<start>-<stop>.npz      the parameters of these samples
    <folder>/<start>-<stop>.seconds  the processor time of their solution

The parameters of a chunk are written after its rows are synced. A chunk is therefore complete if
its parameters exist. After an interruption, complete chunks are kept. A sample depends on its index
alone, so the bytes do not depend on the chunks or on the number of processes.
"""

import os
import threading
import time
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

WORKING_BYTES = 3 * 2**28  # memory limit of all chunks in progress
SECONDS = ".seconds"  # suffix of the processor time of a chunk
MAX_LEARNT_BYTES = 2**25  # largest block from which glibc adapts its threshold, in bytes


def make_samples(
    generation: Generation,
    folder: Path,
    *,
    progress: Progress | None = None,
    workers: int = 1,
    working_bytes: int = WORKING_BYTES,
) -> GeneratedSamples:
    """Generate the samples that `folder` lacks, and return all samples, mapped.

    The result depends neither on `workers` nor on `working_bytes`.

    Args:
        generation: The generator, and the sizes of the data.
        folder: Folder of the chunks.
        progress: Called with the task, the number of finished samples and the total.
        workers: Number of processes that share the work.
        working_bytes: Memory limit of all processes together.

    Raises:
        DataError: A sample is not finite, or a process was killed.
    """
    total = generation.num_samples
    folder.mkdir(parents=True, exist_ok=True)
    for column, shape in generation.shapes.items():
        # Appending keeps the rows of an earlier run. The file has its whole size at once, so that
        # chunks are written in any order.
        with (folder / f"{column}.raw").open("ab") as file:
            file.truncate(total * 4 * int(np.prod(shape)))
    # Chunks of an earlier run may have other sizes, so the missing ranges are divided again.
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


def seconds_a_sample(folder: Path) -> float | None:
    """Return the processor time of one sample in seconds, the mean over all chunks.

    The result is None if the time of a chunk was not measured.
    """
    chunks = _made(folder)
    times = [folder / f"{_name(chunk)}{SECONDS}" for chunk in chunks]
    if not chunks or not all(path.is_file() for path in times):
        return None
    return sum(float(path.read_text()) for path in times) / sum(map(len, chunks))


def mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a file of float32 numbers as a read-only array."""
    return np.memmap(path, dtype=np.float32, mode="r", shape=shape)


def _make(generation: Generation, folder: Path, chunk: range) -> None:
    keep_freed_memory()
    began = time.process_time()
    samples = generation.generate(chunk)
    spent = time.process_time() - began
    for column, shape in generation.shapes.items():
        rows = np.ascontiguousarray(getattr(samples, column), dtype=np.float32)
        assert rows.shape == (len(chunk), *shape), f"{column} is {rows.shape}"
        _check_finite(generation, chunk, rows)
        with (folder / f"{column}.raw").open("r+b") as file:
            file.seek(chunk.start * rows[0].nbytes)
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())
    # A chunk with parameters is complete, so that its time is written before them.
    with new_file(folder / f"{_name(chunk)}{SECONDS}") as aside:
        aside.write_text(repr(spent))
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
    """Return the parameter file of each complete chunk, in order."""
    paths = sorted(folder.glob("*.npz"))
    return {range(*map(int, path.stem.split("-"))): path for path in paths}


def _gaps(made: dict[range, Path], total: int) -> list[range]:
    """Return the ranges between the complete chunks."""
    gaps, reached = [], 0
    # An empty range at the end closes the last gap.
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
    """Return the number of samples of a chunk that fits the memory and the processor's cache."""
    problem = generation.problem
    numbers = sum(int(np.prod(shape)) for shape in generation.shapes.values())
    return max(1, min(problem.chunk, working_bytes // (problem.footprint * 8 * numbers)))


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield the built-in `map` for one worker, or the `map` of a pool of processes."""
    if workers == 1:
        yield map
        return
    # A forked process would inherit the locks of other threads, which nothing releases there.
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
    """End this process once its parent has ended. A process of a pool would wait forever."""
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        # `sys.exit` would end this thread alone.
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def keep_freed_memory() -> None:
    """Make this process keep the memory of freed arrays, up to 64 MiB.

    A time step of a solver allocates and frees dozens of arrays of about a megabyte. The C library
    returns such memory at once, and the kernel clears every page at the next request. This takes up
    to half of the processor time of a generator. glibc adapts its threshold to the sizes of freed
    blocks (M_MMAP_THRESHOLD in mallopt(3)). Freeing one unused array of the largest size that glibc
    considers raises the threshold. Other C libraries ignore it.
    """
    np.empty(MAX_LEARNT_BYTES - 2**16, dtype=np.uint8)
