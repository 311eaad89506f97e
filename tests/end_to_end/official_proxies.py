"""CIFAR-10 and CoNLL-2003 in their official layouts, filled by us, as a user installs them."""

from pathlib import Path

import numpy as np

ENTITIES = ("LOC", "MISC", "ORG", "PER")
IMAGES_A_BATCH = 20  # ten classes of ten images in all


def write(home: Path) -> None:
    """Writes both under `home/proxies`."""
    _write_cifar10(home / "proxies" / "cifar10" / "cifar-10-batches-bin")
    _write_conll2003(home / "proxies" / "conll2003")


def _write_cifar10(folder: Path) -> None:
    """Five binary batches: records of a label and three planes of 32 x 32 bytes."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    for number in range(1, 6):
        labels = np.arange(IMAGES_A_BATCH, dtype=np.uint8)[:, None] % 10
        brightness = 10 + 20 * labels.astype(np.int64)  # what tells the classes apart
        pixels = (brightness + chance.integers(0, 40, (len(labels), 3072))).astype(np.uint8)
        records = np.concatenate([labels, pixels], axis=1)
        (folder / f"data_batch_{number}.bin").write_bytes(records.tobytes())


def _write_conll2003(folder: Path) -> None:
    """A training file in IOB1. Each entity starts in some sentences and goes on in others, long
    enough that windows of sub-words are dominated by it."""
    folder.mkdir(parents=True)
    lines = ["-DOCSTART- -X- -X- O", ""]
    for entity in ENTITIES:
        for prefix, word in (("B", "the"), ("I", "time")):
            for _ in range(10):
                lines += [f"{word} NNP B-NP {prefix}-{entity}"] * 40 + [". . O O", ""]
    (folder / "train.txt").write_text("\n".join(lines))
