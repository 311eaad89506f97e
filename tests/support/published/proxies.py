"""Source data sets in their official layouts, filled by us, as a user installs them."""

from pathlib import Path

import numpy as np
from PIL import Image

ENTITIES = ("LOC", "MISC", "ORG", "PER")
IMAGES_A_BATCH = 20  # ten classes of ten images in all
SYNSETS = ("n01443537", "n01629819", "n01641577", "n01644900")


def write(home: Path) -> None:
    """Write all under `home/proxies`."""
    _write_cifar10(home / "proxies" / "cifar10" / "cifar-10-batches-bin")
    _write_conll2003(home / "proxies" / "conll2003")
    _write_voc(home / "proxies" / "voc" / "VOCdevkit" / "VOC2012")
    _write_tiny_imagenet(home / "proxies" / "tiny_imagenet" / "tiny-imagenet-200")


def _write_cifar10(folder: Path) -> None:
    """Five binary batches: records of a label and three planes of 32 x 32 bytes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        labels = np.arange(IMAGES_A_BATCH, dtype=np.uint8)[:, None] % 10
        brightness = 10 + 20 * labels.astype(np.int64)  # what tells the classes apart
        pixels = (brightness + rng.integers(0, 40, (len(labels), 3072))).astype(np.uint8)
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


def _write_voc(folder: Path) -> None:
    """An image a class: a bright object, a border that belongs to neither, a dark background."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(1)
    palette = rng.integers(0, 256, 768).tolist()
    names = []
    for number in range(1, 21):
        names.append(f"2007_{number:06d}")
        mask = np.zeros((50, 38), dtype=np.uint8)
        mask[10:40, 8:30] = 255
        mask[12:38, 10:28] = number
        pixels = rng.integers(0, 60, (50, 38, 3)) + 150 * (mask == number)[..., None]
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / "JPEGImages" / f"{names[-1]}.jpg")
        indexed = Image.fromarray(mask)
        indexed.putpalette(palette)
        indexed.save(folder / "SegmentationClass" / f"{names[-1]}.png")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names) + "\n")


def _write_tiny_imagenet(folder: Path) -> None:
    """Four images a class, told apart by their brightness; the first of each is grey."""
    rng = np.random.default_rng(2)
    for brightness, synset in enumerate(SYNSETS):
        images = folder / "train" / synset / "images"
        images.mkdir(parents=True)
        for number in range(4):
            shape = (64, 64) if number == 0 else (64, 64, 3)
            pixels = 50 * brightness + rng.integers(0, 50, shape)
            Image.fromarray(pixels.astype(np.uint8)).save(images / f"{synset}_{number}.JPEG")
        (folder / "train" / synset / f"{synset}_boxes.txt").write_text("")
