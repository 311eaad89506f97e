"""Image files: whatever bytes they hold, an image comes back or a DataError."""

import io

import numpy as np
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.sources.image_files import read_image, to_planes


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damage_of_any_kind_is_an_image_or_a_data_error(tmp_path, kind):
    chance, path, buffer = np.random.default_rng(0), tmp_path / "image", io.BytesIO()
    Image.fromarray(chance.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, kind)
    whole, refusals = buffer.getvalue(), []
    for trial in range(150):
        damaged = bytearray(whole[: chance.integers(1, len(whole))] if trial % 3 == 0 else whole)
        for place in chance.integers(0, min(len(damaged), 200), 3):
            damaged[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(damaged)
        try:
            read_image(path)
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert all(str(path) in refusal for refusal in refusals)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="it cannot be read"):
        read_image(tmp_path / "absent.jpg")


def test_planes_are_the_channels_row_by_row(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    planes = to_planes(read_image(tmp_path / "image.png"))
    assert planes.shape == (3, 5, 7)
    np.testing.assert_array_equal(planes.transpose(1, 2, 0), pixels)


def test_no_decoder_runs_a_program(tmp_path):
    path = tmp_path / "a.JPEG"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(DataError, match=r"a\.JPEG: cannot be read as an image"):
        read_image(path)


def test_a_large_image_is_not_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (9000, 4)).save(path)
    with pytest.raises(DataError, match=r"9000 x 4 pixels, more than 2048 a side"):
        read_image(path)
