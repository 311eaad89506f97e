"""Random batches from the store against HDF5 with the same content, as ratios of the times.

contiguous   one data set, sorted fancy indexing: HDF5 at its best
compressed   one chunk a sample, lzf
re-opened    the file opened for every sample, as loaders that pickle a path do
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import h5py
import numpy as np
import pytest

from tests.support.figures import compare
from trainables.tasks.store.split import SplitData
from trainables.tasks.store.store import Store, write_store

pytestmark = pytest.mark.benchmark
NUM_BATCHES = 30
CASES = {"1d": (2000, 64, (1, 1024)), "2d": (400, 16, (1, 128, 128))}


def best_time(read: Callable[[np.ndarray], object], batches: list[np.ndarray]) -> float:
    """Return the best of three passes, in seconds a batch."""

    def passed() -> float:
        start = perf_counter()
        for indices in batches:
            read(indices)
        return (perf_counter() - start) / len(batches)

    return min(passed() for _ in range(3))


@pytest.mark.parametrize("case", CASES)
def test_random_batches_are_faster_than_from_hdf5(case: str, tmp_path: Path):
    num_samples, batch_size, shape = CASES[case]
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(num_samples, *shape)).astype(np.float32) for _ in range(2))
    data = SplitData(sample_id=np.arange(num_samples), x=x, y=y)
    write_store(tmp_path / "store", {"train": data, "val": data, "test": data}, {})
    with h5py.File(tmp_path / "plain.h5", "w") as plain, h5py.File(tmp_path / "lzf.h5", "w") as lzf:
        for name, array in (("x", x), ("y", y)):
            plain.create_dataset(name, data=array)
            lzf.create_dataset(name, data=array, chunks=(1, *shape), compression="lzf")
    batches = [rng.choice(num_samples, size=batch_size, replace=False) for _ in range(NUM_BATCHES)]
    split = Store(tmp_path / "store").train

    def from_store(indices: np.ndarray) -> list[np.ndarray]:
        return [np.take(array, indices, axis=0) for array in (split.x, split.y)]

    def from_file(file: h5py.File) -> Callable[[np.ndarray], list[np.ndarray]]:
        return lambda indices: [file[name][np.sort(indices)] for name in ("x", "y")]

    def reopened(indices: np.ndarray) -> list[list[np.ndarray]]:
        rows = []
        for index in indices:
            with h5py.File(tmp_path / "plain.h5") as file:
                rows.append([file[name][index] for name in ("x", "y")])
        return rows

    ours = best_time(from_store, batches)
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(tmp_path / "lzf.h5") as lzf:
        theirs = {
            "contiguous": best_time(from_file(plain), batches),
            "compressed": best_time(from_file(lzf), batches[:5]),
            "re-opened": best_time(reopened, batches[:5]),
        }
    rows = {batch: from_store(batches[batch])[0] for batch in (0, 1)}
    for batch, read in rows.items():
        np.testing.assert_array_equal(read, x[batches[batch]])
    what = f"a random batch of {batch_size}, {case}"
    ratios = [
        compare(what, 1e3 * ours, 1e3 * taken, peer=f"HDF5, {name}", unit="ms", goal="< 1")
        for name, taken in theirs.items()
    ]
    assert max(ratios) < 1
