"""Tiny data in the layouts of NAS-Bench-360's published files, written as their authors did."""

import csv
import gzip
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.io import wavfile

from trainables.tasks.importing import import_task
from trainables.tasks.store.manifest import folder_of

RATE = 22_050  # of FSD50K's sounds
EVENTS = [f"Event_{number}" for number in range(200)]
GALAXIES = ("10760/2", "9490/a3")  # visits of Cosmic
PARTS = {"tr": ("dev", 16), "val": ("dev", 4), "eval": ("eval", 4)}  # folder, clips


def import_all(home: Path, folder: Path, tasks: list[str]) -> None:
    """Write the files of these tasks under `folder`, and import those that `home` lacks."""
    for task in tasks:
        name = task.rpartition("/")[2]
        if not folder_of(task, home).exists():
            import_task(task, [WRITERS[name](folder / name)], home)


def write_cifar100(folder: Path, *, train: int = 400, test: int = 40, seed: int = 0) -> Path:
    """The Python version: `folder/cifar-100-python/{train,test}`."""
    root = folder / "cifar-100-python"
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name, n in (("train", train), ("test", test)):
        fine = rng.permutation(np.arange(n) % 100).tolist()
        batch = {
            "filenames": [f"image_{i}.png" for i in range(n)],
            "batch_label": "training batch 1 of 1",
            "fine_labels": fine,
            "coarse_labels": [label // 5 for label in fine],
            "data": rng.integers(0, 256, size=(n, 3072), dtype=np.uint8),
        }
        (root / name).write_bytes(pickle.dumps(batch, protocol=2))
    return root


def write_spherical(folder: Path, *, train: int = 210, test: int = 20) -> Path:
    rng = np.random.default_rng(0)
    stored = {
        name: {
            "images": rng.integers(0, 256, size=(n, 3, 60, 60), dtype=np.uint8),
            "labels": rng.permutation(np.arange(n) % 100),
        }
        for name, n in (("train", train), ("test", test))
    }
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "s2_cifar100.gz", "wb", compresslevel=1) as file:
        pickle.dump(stored, file)
    return folder


def darcy_fields(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, size=(n, 22, 22))
    fine = np.kron(coarse, np.ones((20, 20)))[:, :421, :421]
    coefficient = np.pad(fine, ((0, 0), (0, 421 - fine.shape[1]), (0, 421 - fine.shape[2])))
    across = np.linspace(0, 1, 421)
    bump = across * (1 - across)
    solution = 0.1 * bump * bump[:, None] * rng.uniform(0.5, 2, size=(n, 1, 1))
    return {"coeff": 3 + 9 * coefficient, "sol": solution, "Kcoeff": np.zeros(1)}


def write_darcy_flow(folder: Path, *, train: int = 12, test: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, n in ((1, train), (2, test)):
        path = folder / f"piececonst_r421_N1024_smooth{number}.mat"
        scipy.io.savemat(path, darcy_fields(n, number), do_compression=True)
    return folder


def write_ninapro(folder: Path, *, train: int = 90, val: int = 20, test: int = 25) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, n in (("train", train), ("val", val), ("test", test)):
        labels = rng.permutation(np.arange(n) % 18)
        signal = rng.normal(size=(n, 52, 16)) + labels[:, None, None]
        np.save(folder / f"ninapro_{name}.npy", signal)
        np.save(folder / f"label_{name}.npy", labels)
    return folder


def write_ecg(
    folder: Path, series: list[np.ndarray] | None = None, letters: list[str] | None = None
) -> Path:
    """Records and their classes; by default forty of the four, one to two windows long."""
    if series is None:
        rng = np.random.default_rng(0)
        series = [rng.normal(size=rng.integers(1000, 1600)) for _ in range(40)]
        letters = ["NAO~"[i % 4] for i in range(40)]
    folder.mkdir(parents=True, exist_ok=True)
    stored = {"data": np.array(series, dtype=object), "label": np.array(letters)}
    (folder / "challenge2017.pkl").write_bytes(pickle.dumps(stored, protocol=4))
    return folder


def write_satellite(
    folder: Path, x: np.ndarray | None = None, y: np.ndarray | None = None, *, test: int = 24
) -> Path:
    """`x` [n, 46] and `y` of 1..24, the last `test` of them as the test set."""
    if x is None or y is None:
        x, y = np.random.default_rng(0).normal(size=(96, 46)), 1 + np.arange(96) % 24
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", slice(None, -test)), ("test", slice(-test, None))):
        np.save(folder / f"satellite_{name}.npy", {"data": x[rows], "label": y[rows]})
    return folder


def write_deepsea(
    folder: Path, *, train: int = 40, val: int = 10, test: int = 30, dtype: str = "float32"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for name, n in (("train", train), ("val", val), ("test", test)):
        arrays[f"x_{name}"] = np.eye(4, dtype=dtype)[rng.integers(0, 4, size=(n, 1000))]
        arrays[f"y_{name}"] = (rng.random((n, 36)) < 0.3).astype(np.int64)
    np.savez_compressed(folder / "deepsea_filtered.npz", **arrays)
    return folder


def write_cosmic(folder: Path, *, train: int = 20, test: int = 6) -> Path:
    """The training and the test set of Cosmic."""
    for part, count in (("train", train), ("test", test)):
        write_images(folder, part, count)
    return folder


def write_images(
    root: Path, part: str, count: int, *, visits: Sequence[str] = GALAXIES, planes: int = 3
) -> None:
    """Images over two visits, with masks of cosmic rays and of what is to be ignored.

    The levels of the sky in each are 100, 200 and so on.
    """
    rng = np.random.default_rng(len(part))
    for number in range(count):
        folder = root / f"npy_{part}" / "f435w" / visits[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        masks = rng.random((planes - 1, 256, 256)) < 0.1
        image = np.concatenate([rng.gamma(2, 50, (1, 256, 256)), masks])
        np.save(folder / f"{number // 2 + 1}_jb{number}.npy", image.astype(np.float32))
        np.save(folder / "sky.npy", 100.0 * np.arange(1, count // 2 + 2))


def write_psicov(
    folder: Path, *, train: int = 12, test: int = 3, shortest: int = 40, longer: int = 3
) -> Path:
    """Proteins, each longer than the last one by `longer`."""
    rng = np.random.default_rng(0)
    for part, count in (("deepcov", train), ("psicov", test)):
        lines = []
        for number in range(count):
            length = shortest + longer * number
            write_protein(folder / part, f"{part}{number}", *protein(rng, length))
            lines.append(f"{part}{number} {length}\n")
        (folder / f"{part}.lst").write_text("".join(lines))
    return folder


def protein(rng: np.random.Generator, n: int) -> tuple[dict[str, Any], np.ndarray]:
    """Return random features, and distances along a chain of n that winds at random."""
    pairs = {k: rng.normal(size=(n, n)) for k in ("ccmpred", "freecon", "potential")}
    features = {
        "seq": "A" * n,
        "ss": rng.random((3, n)),
        "pssm": rng.normal(size=(n, 22)),
        "sa": rng.random(n),
        "entropy": rng.random(n),
        **pairs,
    }
    chain = np.cumsum(2 * rng.normal(size=(n, 3)), axis=0)
    return features, np.linalg.norm(chain[:, None] - chain, axis=-1)


def write_protein(folder: Path, name: str, features: dict[str, Any], distances: np.ndarray) -> None:
    """Write one protein into the folder of its set."""
    for kind in ("features", "distance"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "features" / f"{name}.pkl").write_bytes(pickle.dumps(features, protocol=2))
    stored = np.empty(3, dtype=object)
    stored[:] = [len(features["seq"]), features["seq"], distances]
    np.save(folder / "distance" / f"{name}-cb.npy", stored, allow_pickle=True)


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
    "cifar100": write_cifar100,
    "spherical": write_spherical,
    "darcy_flow": write_darcy_flow,
    "psicov": write_psicov,
    "cosmic": write_cosmic,
    "ninapro": write_ninapro,
    "fsd50k": write_fsd50k,
    "ecg": write_ecg,
    "satellite": write_satellite,
    "deepsea": write_deepsea,
}
