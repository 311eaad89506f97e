"""VOC's layout: JPEGs, masks of indices, and a list of names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.sources.voc import find_voc_fault, load_voc

LEVELS = ["VOCdevkit/VOC2012", "VOC2012"]


def object_mask(label: int, *, height: int = 30, width: int = 40) -> np.ndarray:
    """The left half of the picture is an object of this class, the right half background."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, : width // 2] = label
    return mask


def write_pairs(home: Path, masks: list[np.ndarray], level: str = LEVELS[0]) -> Path:
    """Write a mask each, and an image that is white where the mask is not 0."""
    folder = home / "proxies" / "voc" / level
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        white = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)).convert("RGB")
        white.save(folder / "JPEGImages" / f"{number}.jpg", quality=95)
        indexed = Image.fromarray(mask)
        indexed.putpalette(list(range(256)) * 3)
        indexed.save(folder / "SegmentationClass" / f"{number}.png")
    names = "".join(f"{number}\n" for number in range(len(masks)))
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text(names)
    return folder


@pytest.mark.parametrize("level", LEVELS)
def test_images_and_masks_are_stretched_alike(tmp_path, level):
    write_pairs(tmp_path, [object_mask(15), object_mask(3, height=25, width=64)], level)
    proxy = load_voc(tmp_path)
    assert proxy.images.shape == (2, 3, 224, 224)
    assert proxy.masks.shape == (2, 128, 128)
    assert proxy.images.dtype == proxy.masks.dtype == np.uint8
    assert proxy.labels.tolist() == [14, 2]  # background has no label, so 1..20 become 0..19
    for masks in proxy.masks:
        np.testing.assert_array_equal(masks, np.repeat([[1] * 64 + [0] * 64], 128, axis=0))
    assert proxy.images[..., :100].min() > 240
    assert proxy.images[..., 124:].max() < 15


def test_borders_are_ignored_and_belong_to_no_class(tmp_path):
    mask = object_mask(7, height=128, width=128)
    mask[:, 60:68] = 255
    mask[0:9, 100:] = 12  # a smaller object
    write_pairs(tmp_path, [mask])
    proxy = load_voc(tmp_path)
    expected = np.where((mask == 7) | (mask == 12), 1, mask)
    np.testing.assert_array_equal(proxy.masks[0], expected)
    assert proxy.labels.tolist() == [6]


def test_an_image_without_an_object_is_left_out(tmp_path):
    only_border = np.full((30, 40), 255, dtype=np.uint8)
    write_pairs(tmp_path, [object_mask(0), object_mask(4), only_border])
    assert load_voc(tmp_path).labels.tolist() == [3]


def test_no_object_at_all_is_an_error(tmp_path):
    write_pairs(tmp_path, [object_mask(0)])
    with pytest.raises(DataError, match=r"no mask in .*VOC2012 has an object"):
        load_voc(tmp_path)


@pytest.mark.parametrize(
    "mask",
    [Image.new("RGB", (40, 30)), Image.new("L", (40, 30), 21), Image.new("L", (40, 30), 254)],
)
def test_a_mask_that_is_not_of_indices_is_named(tmp_path, mask):
    path = write_pairs(tmp_path, [object_mask(1)] * 2) / "SegmentationClass" / "1.png"
    mask.save(path)
    with pytest.raises(DataError, match=r"1\.png: .* indices 0\.\.20 and 255"):
        load_voc(tmp_path)


def test_a_mask_of_another_size_than_its_image_is_named(tmp_path):
    path = write_pairs(tmp_path, [object_mask(1)] * 2) / "SegmentationClass" / "0.png"
    Image.fromarray(object_mask(1, height=31)).save(path)
    with pytest.raises(DataError, match=r"0\.png: .*\(40, 30\), but is \(40, 31\)"):
        load_voc(tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    path = write_pairs(tmp_path, [object_mask(1)]) / "JPEGImages" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"0\.jpg: cannot be read as an image"):
        load_voc(tmp_path)


def test_missing_files_and_an_empty_list_are_found_before_anything_is_decoded(tmp_path):
    folder = write_pairs(tmp_path, [object_mask(1)] * 3)
    (folder / "SegmentationClass" / "1.png").unlink()
    (folder / "JPEGImages" / "2.jpg").unlink()
    assert "2 of 6 files are not there: " in find_voc_fault(tmp_path)
    assert "1.png" in find_voc_fault(tmp_path)
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("\n")
    assert "names no image" in find_voc_fault(tmp_path)
