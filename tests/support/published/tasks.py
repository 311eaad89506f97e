"""The ten published data sets of NAS-Bench-360, tiny and filled by us, imported as a user would."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from tests.support.published import nasbench360 as published_files
from trainables.tasks.importing import import_task
from trainables.tasks.official import folder_of

RATE = 22_050  # of FSD50K's sounds
EVENTS = [f"Event_{number}" for number in range(200)]
PARTS = {"tr": ("dev", 16), "val": ("dev", 4), "eval": ("eval", 4)}  # folder, clips


def import_all(home: Path, folder: Path, tasks: list[str]) -> None:
    """Write the files of these tasks under `folder`, and import those that `home` lacks."""
    for task in tasks:
        name = task.rpartition("/")[2]
        if not folder_of(task, home).exists():
            import_task(task, [WRITERS[name](folder / name)], home)


def write_ecg(folder: Path) -> Path:
    """Forty records of the four classes, one to two windows long."""
    rng = np.random.default_rng(0)
    series = [rng.normal(size=rng.integers(1000, 1600)) for _ in range(40)]
    return published_files.write_ecg(folder, series, ["NAO~"[i % 4] for i in range(40)])


def write_satellite(folder: Path) -> Path:
    """Series of the 24 classes."""
    x = np.random.default_rng(0).normal(size=(96, 46))
    return published_files.write_satellite(folder, x, 1 + np.arange(96) % 24, test=24)


def write_cosmic(folder: Path) -> Path:
    """Images with a mask of cosmic rays and one of what is to be ignored, and their sky levels."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        visit = folder / f"npy_{part}" / "f435w" / "10760" / "2"
        visit.mkdir(parents=True)
        np.save(visit / "sky.npy", np.full(count, 100.0))
        for number in range(count):
            rays = rng.random((2, 256, 256)) < 0.1
            planes = np.concatenate([rng.gamma(2, 50, (1, 256, 256)), rays])
            np.save(visit / f"{number + 1}_jb{number}.npy", planes.astype(np.float32))
    return folder


def write_psicov(folder: Path) -> Path:
    """Proteins: random features, and distances along a chain that winds at random."""
    rng = np.random.default_rng(0)
    for part, count in (("deepcov", 12), ("psicov", 3)):
        names = [f"{part}{number}" for number in range(count)]
        (folder / part / "features").mkdir(parents=True)
        (folder / part / "distance").mkdir()
        lengths = [40 + 3 * number for number in range(count)]
        for name, n in zip(names, lengths, strict=True):
            pairs = {k: rng.normal(size=(n, n)) for k in ("ccmpred", "freecon", "potential")}
            features = {
                "seq": "A" * n,
                "ss": rng.random((3, n)),
                "pssm": rng.normal(size=(n, 22)),
                "sa": rng.random(n),
                "entropy": rng.random(n),
                **pairs,
            }
            path = folder / part / "features" / f"{name}.pkl"
            path.write_bytes(pickle.dumps(features, protocol=2))
            chain = np.cumsum(2 * rng.normal(size=(n, 3)), axis=0)
            stored = np.empty(3, dtype=object)
            stored[:] = [n, "A" * n, np.linalg.norm(chain[:, None] - chain, axis=-1)]
            np.save(folder / part / "distance" / f"{name}-cb.npy", stored, allow_pickle=True)
        lines = [f"{name} {n}\n" for name, n in zip(names, lengths, strict=True)]
        (folder / f"{part}.lst").write_text("".join(lines))
    return folder


def write_fsd50k(folder: Path) -> Path:
    """Clips of one second or two, each with a tenth of the events, and noise to mix in."""
    rng = np.random.default_rng(0)

    def write_sound(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, RATE, (3000 * rng.normal(size=RATE)).astype(np.int16))

    write_sound(folder / "noise_22050" / "noise.wav")
    (folder / "chunks").mkdir()
    numbers = {event: number for number, event in enumerate(EVENTS)}
    (folder / "chunks" / "lbl_map.json").write_text(json.dumps(numbers))
    first = 1
    for part, (place, count) in PARTS.items():
        rows: list[tuple[str, str, int]] = []
        for clip in range(first, first + count):
            heard = ",".join(event for event in EVENTS if rng.random() < 0.1)
            for second in range(1 + clip % 2):
                file = f"{place}_22050_chunks/{clip}_{second:04d}.wav"
                write_sound(folder / file)
                rows.append((f"/elsewhere/{file}", heard, clip))
        first += count
        with (folder / "chunks" / f"{part}.csv").open("w", newline="") as lines:
            csv.writer(lines).writerows([("files", "labels", "ext"), *rows])
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "cifar100": published_files.write_cifar100,
    "spherical": published_files.write_spherical,
    "darcy_flow": published_files.write_darcy_flow,
    "psicov": write_psicov,
    "cosmic": write_cosmic,
    "ninapro": published_files.write_ninapro,
    "fsd50k": write_fsd50k,
    "ecg": write_ecg,
    "satellite": write_satellite,
    "deepsea": published_files.write_deepsea,
}
