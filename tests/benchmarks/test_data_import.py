"""Imports and generators against a plain copy of the same bytes, and the memory of a large import.

A plain copy reads and writes, and syncs what it wrote. An import besides hashes the file twice
(SHA-256 for the manifest, MD5 as published), checks every number, writes the pairs aside, then the
store, and hashes that; of a published file it keeps two frames of a hundred or two. Contestants
take turns; the seconds are the shortest by the processor, so that others' work on the machine and
the disk's speed do not count.
"""

import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.copies import measured_apart, plain_copy, shortest
from tests.support.figures import compare
from tests.support.published.pdebench import wave, write
from trainables.spec import DataSpec
from trainables.tasks.importing import import_task
from trainables.tasks.loading import prepare_task

pytestmark = pytest.mark.benchmark
ROUNDS = 3
SAMPLES, FRAMES, POINTS = 10_000, 201, 1024  # of the published advection
MEMORY_BOUND = 2**30


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files)


def rates(what: str, size: int, ours: float, copy: float) -> float:
    """Return how many copies ours costs."""
    what = f"{what}, {size / 1e6:.0f} MB"
    return compare(what, ours, copy, peer="plain copy", unit="core-s", goal="< 100, < 200")


@pytest.mark.parametrize(
    ("name", "samples", "layout"),
    [("advection_1d", 400, {"frames": 101}), ("darcy_2d", 1500, {})],
)
def test_an_import_reads_a_file_as_fast_as_a_few_copies(name, samples, layout, tmp_path):
    file = write(tmp_path / "published", name, samples, **layout)
    ours, copy = shortest(
        lambda home: import_task(f"pdebench/{name}", [file], home),
        lambda folder: plain_copy(file, folder),
        folder=tmp_path,
        rounds=ROUNDS,
        clock=time.process_time,
    )
    assert rates(f"import of {name}", size_of(file), ours, copy) < 100


@pytest.mark.parametrize("name", ["advection_1d", "burgers_1d"])
def test_a_generator_writes_its_store(name, tmp_path):
    data = DataSpec(source="generated", samples=4096, resolution=1024)
    store = prepare_task(f"pdebench/{name}", data, tmp_path / "first")
    ours, copy = shortest(
        lambda home: prepare_task(f"pdebench/{name}", data, home),
        lambda folder: plain_copy(store, folder),
        folder=tmp_path,
        rounds=ROUNDS,
        clock=time.process_time,
    )
    assert rates(f"generation of {name}", size_of(store), ours, copy) < 200


def write_paper_size(folder: Path) -> Path:
    """Write the published advection at its full size, as a sparse file.

    Every byte is where it was published, but only the first and the last frame of a sample are
    written: between them the file has holes, which are read as zeros.
    """
    folder.mkdir()
    path = folder / "1D_Advection_Sols_beta0.4.hdf5"
    with h5py.File(path, "w") as file:
        tensor = file.create_dataset("tensor", (SAMPLES, FRAMES, POINTS), dtype="<f4")
        for start in range(0, SAMPLES, 500):
            rows = slice(start, start + 500)
            tensor[rows, 0] = wave(500, POINTS, seed=start)
            tensor[rows, FRAMES - 1] = wave(500, POINTS, 0.8, seed=start)
        file["t-coordinate"] = np.linspace(0, 2.01, FRAMES + 1, dtype="<f4")
        file["x-coordinate"] = np.linspace(0, 1, POINTS, dtype="<f4")
        file.attrs["beta"] = 0.4
    return path


def test_an_import_of_paper_size_takes_less_than_a_gibibyte(tmp_path):
    path = write_paper_size(tmp_path / "published")
    home = tmp_path / "home"
    measured = measured_apart(import_task, "pdebench/advection_1d", [path], home)
    shutil.rmtree(tmp_path / "published")
    size = SAMPLES * FRAMES * POINTS * 4 / 1e9
    print(f"\nimport of {SAMPLES} x {FRAMES} x {POINTS}, {size:.1f} GB: {measured.text}")
    assert measured.peak < MEMORY_BOUND
