"""Tiny data in the layouts of NAS-Bench-360's published files, written as their authors did."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import scipy.io


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
    folder: Path, series: list[np.ndarray], letters: list[str], *, protocol: int = 4
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stored = {"data": np.array(series, dtype=object), "label": np.array(letters)}
    (folder / "challenge2017.pkl").write_bytes(pickle.dumps(stored, protocol=protocol))
    return folder


def write_satellite(folder: Path, x: np.ndarray, y: np.ndarray, *, test: int) -> Path:
    """`x` [n, 46] and `y` of 1..24, the last `test` of them as the test set."""
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
