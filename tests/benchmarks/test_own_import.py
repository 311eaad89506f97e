"""Imports of users' npz and HDF5 files against a plain copy, and the memory of large ones.

A plain copy is `shutil.copyfile` and one `fsync` of the same bytes. Contestants take turns, and the
shortest turn of each counts, by the clock. The page cache is warm for both. Nothing else may use
disk or processors: an import takes two cores, which hash for half of the time.

The large files are 4 GB, written in chunks. The peak is that of a process that only imports.
"""

import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.copies import measured_apart, plain_copy, shortest
from tests.support.figures import compare
from tests.support.own_data import define
from tests.support.own_tasks import registry_restored
from trainables.tasks.importing import import_own
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.own.reading import OwnReader
from trainables.tasks.registry import register

MEMORY_BOUND = 2**30
ROUNDS = 5
SHAPE = (3, 64, 64)  # of a sample
CHUNK = 1024  # samples that are written at once


def save_npz(path: Path, count: int) -> None:
    x = np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)
    np.savez(path, x=x, y=np.arange(count) % 10)


def save_hdf5(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (count, *SHAPE), "f4", chunks=(64, *SHAPE))
        for start in range(0, count, CHUNK):
            rows = min(CHUNK, count - start)
            x[start : start + rows] = rng.normal(size=(rows, *SHAPE))
        file["y"] = np.arange(count) % 10


def save_npy(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, "w+", np.float32, (count, *SHAPE))
    for start in range(0, count, CHUNK):
        rows = min(CHUNK, count - start)
        x[start : start + rows] = rng.normal(size=(rows, *SHAPE))
    x.flush()
    np.save(path.with_name("labels.npy"), np.arange(count) % 10)


def definition_of(path: Path):
    apart = path.suffix == ".npy"
    return define(
        input={"path": path.name, "layout": "NCHW"} | ({} if apart else {"key": "x"}),
        target={"path": "labels.npy"} if apart else {"key": "y"},
    )


@pytest.mark.benchmark
@pytest.mark.parametrize(("suffix", "save"), [("npz", save_npz), ("h5", save_hdf5)])
def test_reading_is_at_least_a_third_as_fast_as_a_plain_copy(suffix, save, tmp_path):
    path = tmp_path / f"data.{suffix}"
    save(path, 8192)
    definition, size = definition_of(path), path.stat().st_size

    def read(folder: Path) -> None:
        folder.mkdir()
        OwnReader(definition).read([tmp_path], folder)

    def whole(home: Path) -> None:
        with registry_restored():
            files = {definition.name: tmp_path / "own.task.yaml"}
            register(own_benchmark([definition], home, files))
            import_own(definition.name, home)

    copy, ours, everything = shortest(
        lambda folder: plain_copy(path, folder),
        read,
        whole,
        folder=tmp_path,
        rounds=ROUNDS,
        clock=time.perf_counter,
    )
    parts = {"reading": (ours, "< 3"), "whole import with hashes of": (everything, "-")}
    for part, (taken, goal) in parts.items():
        what = f"{part} {suffix}, {size / 1e6:.0f} MB"
        compare(what, taken, copy, peer="plain copy", unit="s by the wall", goal=goal)
    assert copy / ours > 1 / 3


def import_alone(path: Path, home: Path) -> None:
    definition = definition_of(path)
    register(own_benchmark([definition], home, {definition.name: path.with_name("t.task.yaml")}))
    import_own(definition.name, home)


@pytest.mark.soak
@pytest.mark.parametrize(("suffix", "save"), [("npy", save_npy), ("h5", save_hdf5)])
def test_an_import_of_four_gigabytes_takes_at_most_a_gibibyte(suffix, save, tmp_path):
    path = tmp_path / f"data.{suffix}"
    save(path, 4 * 10**9 // (4 * int(np.prod(SHAPE))))
    measured = measured_apart(import_alone, path, tmp_path / "home")
    print(f"\nimport of {path.stat().st_size / 1e9:.1f} GB of {suffix}: {measured.text}")
    shutil.rmtree(tmp_path)
    assert measured.peak <= MEMORY_BOUND
