"""CIFAR-100: photographs of 100 things. Krizhevsky, "Learning Multiple Layers of Features from Tiny
Images", 2009.

    x  pixels, standardised a channel    [3, 32, 32]
    y  the fine label                    0..99

Files, either of the official versions, as the archive or the folder of it:

    cifar-100-python/{train,test}        pickled: data uint8 [n, 3072], fine_labels
    cifar-100-binary/{train,test}.bin    records of 3074 bytes: coarse label, fine label, pixels

Pixels are red, green, blue, each row by row. Means and deviations are those of ORCA's code.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.tasks.checksums import md5_note
from trainables.tasks.importing import ImportedSplits
from trainables.tasks.layout import as_numbers, look_up
from trainables.tasks.nas_bench_360.splitting import Labelled, split_published
from trainables.tasks.restricted_pickle import load_pickle

__all__ = ["read"]

SHAPE, PIXELS, CLASSES = (3, 32, 32), 3072, 100
RECORD = 2 + PIXELS  # bytes
LARGEST = 2**28  # bytes of a part; as published they are 156 million
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of pixels in [0, 1]
SCALING = {"mean": [255 * m for m in MEAN], "std": [255 * s for s in STD]}
MD5 = {
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
}
WAY_OUT = "Fetch cifar-100-python.tar.gz again."


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Reads both parts; a tenth of each training class becomes the validation split.

    Raises:
        DataError: A part is missing, cut short, or has a label above 99.
    """
    del scratch
    train, test = (_read_part(part, files) for part in ("train", "test"))
    splits = split_published(train, test, by_class=True, seed=seed, scope="cifar100")
    notes = [n for path in files if path.name in MD5 for n in md5_note(path, MD5[path.name])[1]]
    return ImportedSplits(splits, {"input_scaling": SCALING, "notes": notes})


def _read_part(part: str, files: Sequence[Path]) -> Labelled:
    where = ", ".join(map(str, files))
    if (records := _content(files, f"{part}.bin")) is not None:
        if not records or len(records) % RECORD:
            raise DataError(
                f"{where}: {part}.bin is cut short: its size must be a multiple of {RECORD} bytes, "
                f"but is {len(records)}. {WAY_OUT}"
            )
        rows = np.frombuffer(records, dtype=np.uint8).reshape(-1, RECORD)
        images, labels = rows[:, 2:], rows[:, 1].astype(np.int64)
    elif (pickled := _content(files, part)) is not None:
        stored = load_pickle(io.BytesIO(pickled))
        if not isinstance(stored, dict) or not {"data", "fine_labels"} <= stored.keys():
            raise DataError(f"{where}: {part} must hold `data` and `fine_labels`. {WAY_OUT}")
        images, labels = (as_numbers(files[0], n, stored[n]) for n in ("data", "fine_labels"))
    else:
        raise DataError(
            f"{where}: neither {part} nor {part}.bin there. Name cifar-100-python.tar.gz, or a "
            "folder that it was unpacked in."
        )
    if labels.ndim != 1 or images.dtype != np.uint8 or images.shape != (labels.size, PIXELS):
        raise DataError(
            f"{where}: {part} must have {PIXELS} bytes of pixels for each of {labels.size} labels, "
            f"but they are {images.dtype}{list(images.shape)}. {WAY_OUT}"
        )
    if not (labels.size and np.isin(labels, np.arange(CLASSES)).all()):
        raise DataError(f"{where}: labels of {part} must lie in 0..{CLASSES - 1}. {WAY_OUT}")
    return Labelled(images.reshape(-1, *SHAPE), labels.astype(np.int64))


def _content(files: Sequence[Path], name: str) -> bytes | None:
    """Returns what a file holds, in an archive or on disk, or None where there is none."""
    for path in files:
        if path.is_file() and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).name == name:
                        if member.size > LARGEST:
                            raise DataError(
                                f"{path}: {member.name} has {member.size} bytes, but images and "
                                f"labels take fewer than {LARGEST}. {WAY_OUT}"
                            )
                        opened = archive.extractfile(member)
                        assert opened is not None, "a member that is a file can be opened"
                        return opened.read()
    found = look_up(files, name)
    return None if found is None else found.read_bytes()
