"""Tiny-ImageNet's layout: a folder a class, named by its synset."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.sources import tiny_imagenet
from trainables.sources.tiny_imagenet import load_tiny_imagenet


def write_class(root: Path, synset: str, *, images: int, grey: int = 100, mode: str = "RGB"):
    """Write flat images, `grey` plus their number, into the folder of a class."""
    folder = root / "train" / synset / "images"
    folder.mkdir(parents=True)
    for number in range(images):
        flat = Image.new("L", (64, 64), grey + number).convert(mode)
        flat.save(folder / f"{synset}_{number}.JPEG")


def root(home: Path) -> Path:
    return home / "proxies" / "tiny_imagenet"


@pytest.mark.parametrize("nested", ["", "tiny-imagenet-200"])
def test_labels_follow_the_order_of_the_synsets(tmp_path, nested):
    for synset, grey in (("n02000000", 200), ("n01000000", 50), ("n01000001", 120)):
        write_class(root(tmp_path) / nested, synset, images=2, grey=grey)
    proxy = load_tiny_imagenet(tmp_path)
    assert proxy.images.shape == (6, 3, 64, 64)
    assert proxy.images.dtype == np.uint8
    assert proxy.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(proxy.images[:, :, 9, 9].mean(1), [50, 51, 120, 121, 200, 201])


def test_channels_stay_in_the_order_of_red_green_blue(tmp_path):
    write_class(root(tmp_path), "n01000000", images=1)
    (path,) = root(tmp_path).glob("train/*/images/*")
    Image.new("RGB", (64, 64), (250, 120, 10)).save(path, quality=100)
    pixel = load_tiny_imagenet(tmp_path).images[0, :, 30, 30].astype(int)
    assert np.abs(pixel - [250, 120, 10]).max() <= 2


def test_a_grey_image_has_three_channels_alike(tmp_path):
    write_class(root(tmp_path), "n01000000", images=1, grey=77, mode="L")
    (image,) = load_tiny_imagenet(tmp_path).images
    assert image.shape == (3, 64, 64)
    assert (image == 77).all()


def test_of_many_images_the_first_of_each_class_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "IMAGES", 7)
    for synset in ("n01000000", "n01000001", "n01000002"):
        write_class(root(tmp_path), synset, images=5)
    (root(tmp_path) / "train/n01000001/images/n01000001_4.JPEG").write_text("never opened")
    proxy = load_tiny_imagenet(tmp_path)
    assert proxy.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(proxy.images[:, 0, 0, 0], [100, 101] * 3)


def test_a_class_without_images_is_named(tmp_path):
    write_class(root(tmp_path), "n01000000", images=1)
    write_class(root(tmp_path), "n01000001", images=0)
    with pytest.raises(DataError, match=r"no \.JPEG in .*n01000001"):
        load_tiny_imagenet(tmp_path)


def test_an_image_of_another_size_is_not_tiny_imagenet(tmp_path):
    write_class(root(tmp_path), "n01000000", images=2)
    path = root(tmp_path) / "train/n01000000/images/n01000000_1.JPEG"
    Image.new("RGB", (80, 60)).save(path)
    with pytest.raises(DataError, match=r"n01000000_1\.JPEG: .* 64 x 64, but is 80 x 60"):
        load_tiny_imagenet(tmp_path)
