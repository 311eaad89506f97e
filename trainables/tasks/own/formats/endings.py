"""The endings of files whose format is known."""

from collections.abc import Mapping
from pathlib import Path

CSV = (".csv", ".tsv")
TEXT_TABLES = (*CSV, ".arff", ".ts")
ARRAYS: Mapping[str, str] = {  # ending -> format
    ".npy": "npy",
    ".npz": "npz",
    **dict.fromkeys((".h5", ".hdf5", ".he5", ".hdf"), "hdf5"),
    ".mat": "matlab",
    **dict.fromkeys((".pt", ".pth"), "torch"),
    **dict.fromkeys((".parquet", ".pq", ".arrow", ".feather", ".ipc", *TEXT_TABLES), "table"),
}
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
SOUNDS = (".wav", ".wave")
PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
DATASET = ("dataset_dict.json", "state.json")  # files that a folder of `datasets` has
KNOWN = (*ARRAYS, *IMAGES, *SOUNDS)


def is_dataset(folder: Path) -> bool:
    """Return whether a folder is one that `datasets` wrote."""
    return any((folder / name).is_file() for name in DATASET)


def is_sample(path: Path) -> bool:
    """Return whether a file is one sample: an image or a sound."""
    return path.suffix.lower() in IMAGES + SOUNDS


def is_readable(path: Path) -> bool:
    """Return whether the ending of a file is that of a format."""
    return path.suffix.lower() in ARRAYS or is_sample(path)
