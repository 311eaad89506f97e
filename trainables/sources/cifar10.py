"""CIFAR-10 as a source of images, in its official binary layout without pickle.

A record has 3073 bytes: one byte of label (0..9), then 1024 bytes each of red, green and blue, row
by row. Only the five training batches are read. The channel statistics are those of ORCA (Shen et
al., ICML 2023). ORCA also crops and flips the images at random before it embeds them. This loader
does not, so that source features are computed once.
"""

from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.proxy import ImageProxy, hashed_images
from trainables.sources.registry import PROXIES, proxy_folder, way_to_import

RECORD_BYTES = 1 + 3 * 32 * 32
MAX_RECORDS = 10_000  # maximal number of records in a batch
BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)


def load_cifar10(home: Path) -> ImageProxy:
    """Read the training images from `home/proxies/cifar10`.

    Raises:
        DataError: A batch is missing or truncated, or it holds a label above 9.
    """
    if fault := find_cifar10_fault(home):
        raise DataError(fault)
    folder = _folder(home)
    batches = [_read_batch(folder / name) for name in BATCHES]
    images = np.concatenate([pixels for pixels, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return hashed_images("cifar10", images, labels, mean=MEAN, std=STD)


def find_cifar10_fault(home: Path) -> str | None:
    """Return the fault that prevents loading CIFAR-10, or None. Only names and sizes are read."""
    folder, hint = _folder(home), way_to_import("cifar10")
    # The sizes reveal most damage without reading 150 MB, so that a sweep file is checked quickly.
    missing = [name for name in BATCHES if not (folder / name).is_file()]
    if len(missing) == len(BATCHES):
        python_version = (proxy_folder("cifar10", home) / "cifar-10-batches-py").is_dir()
        found = " (the Python version is there, but is pickled and not opened)"
        return f"cifar10: no data in {folder}{found if python_version else ''}. {hint}"
    if missing:
        return f"cifar10: {folder} lacks {', '.join(missing)}. {hint}"
    for name in BATCHES:
        size = (folder / name).stat().st_size
        if size > MAX_RECORDS * RECORD_BYTES:
            return f"cifar10: {folder / name} has more than {MAX_RECORDS} images. {hint}"
        if size == 0 or size % RECORD_BYTES:
            return (
                f"cifar10: {folder / name} is cut short: its size must be a multiple of "
                f"{RECORD_BYTES} bytes, but is {size}. {hint}"
            )
    return None


def _folder(home: Path) -> Path:
    nested = proxy_folder("cifar10", home) / "cifar-10-batches-bin"
    return nested if nested.is_dir() else proxy_folder("cifar10", home)


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if (worst := labels.max()) > 9:
        record = int(labels.argmax())
        raise DataError(
            f"cifar10: labels must lie in 0..9, but record {record} of {path} has {worst}: it is "
            f"not CIFAR-10's binary layout. {PROXIES['cifar10'].obtain} anew."
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels
