"""What an image proxy refuses to be."""

from dataclasses import replace

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.sources.proxy import ImageProxy, hash_content

MASKS = np.array([[[0, 1]], [[255, 0]], [[1, 1]]], dtype=np.uint8)


@pytest.fixture
def proxy() -> ImageProxy:
    """Three images of 4 x 4 with masks of 1 x 2: the two grids are apart."""
    return ImageProxy(
        name="tiny",
        images=np.zeros((3, 3, 4, 4), dtype=np.uint8),
        labels=np.array([0, 2, 0]),
        masks=MASKS,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        content_hash="",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 3, 4, 4), np.uint8)}, "no image"),
        ({"labels": np.array([0, 1])}, r"3 images need a label each, but labels are \[2\]"),
        ({"labels": np.array([0, -1, -1])}, "2 of 3 images have no label"),
        ({"masks": MASKS[:2]}, r"\[3, h, w\], one an image, but are \[2, 1, 2\]"),
        ({"masks": MASKS[..., None]}, r"but are \[3, 1, 2, 1\]"),
        ({"masks": MASKS * 2}, "others were found"),
        ({"masks": MASKS - (MASKS == 1)}, "no mask has a pixel of foreground"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_the_way_out(proxy, change, message):
    with pytest.raises(DataError, match=f"^tiny: .*{message}.*or choose another proxy"):
        replace(proxy, **change)


def test_masks_may_be_absent(proxy):
    assert replace(proxy, masks=None).masks is None


def test_values_shape_dtype_and_grouping_all_count():
    zeros = np.zeros(4, dtype=np.uint8)
    different = [
        hash_content(zeros),
        hash_content(zeros.reshape(2, 2)),
        hash_content(zeros.view(np.int8)),
        hash_content(zeros + 1),
        hash_content(zeros[:2], zeros[2:]),
        hash_content([0, 0, 0, 0]),
        hash_content("ab", "c"),
        hash_content("a", "bc"),
        hash_content(1, 2),
        hash_content(12),
    ]
    assert len(set(different)) == len(different)


def test_where_and_how_the_values_lie_does_not_count():
    square = np.arange(16, dtype=np.int64).reshape(4, 4)
    assert hash_content(square.T) == hash_content(np.ascontiguousarray(square.T))
    assert hash_content(("a", "b")) == hash_content(["a", "b"])
