from pathlib import Path

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.tasks.formats.files import as_numbers, find_file, find_root, look_up


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("below", [".", "protein", "data/protein"])
def test_a_layout_is_found_in_the_folder_or_below(tmp_path, below):
    marker = touch(tmp_path / below / "deepcov.lst")
    assert find_root([tmp_path], "deepcov.lst") == marker.parent


def test_a_layout_is_found_beside_a_named_file(tmp_path):
    touch(tmp_path / "deepcov.lst")
    other = touch(tmp_path / "psicov.lst")
    assert find_root([other], "deepcov.lst") == tmp_path


def test_a_marker_may_lie_in_a_folder_of_the_layout(tmp_path):
    touch(tmp_path / "audio" / "chunks" / "lbl_map.json")
    assert find_root([tmp_path], "chunks/lbl_map.json") == tmp_path / "audio"


def test_the_nearest_counts(tmp_path):
    touch(tmp_path / "deepcov.lst")
    touch(tmp_path / "old" / "deepcov.lst")
    assert find_root([tmp_path], "deepcov.lst") == tmp_path


def test_two_as_near_are_refused(tmp_path):
    touch(tmp_path / "new" / "deepcov.lst")
    touch(tmp_path / "old" / "deepcov.lst")
    with pytest.raises(DataError, match=r"new/deepcov\.lst and .*old/deepcov\.lst: which of them"):
        find_root([tmp_path], "deepcov.lst")


@pytest.mark.parametrize("name", [".", "protein.zip", "nowhere/at/all"])
def test_no_layout_is_no_guess(tmp_path, name):
    touch(tmp_path / "too" / "far" / "down" / "here" / "deepcov.lst")
    touch(tmp_path / "protein.zip")
    with pytest.raises(DataError, match=r"no deepcov\.lst there.*Unpack the published archive"):
        find_root([tmp_path / name], "deepcov.lst")


def test_a_file_is_the_one_named_or_the_nearest_in_a_named_folder(tmp_path):
    far, near = touch(tmp_path / "old" / "train"), touch(tmp_path / "train")
    assert find_file([tmp_path], "train") == near
    assert find_file([tmp_path / "old"], "train") == far
    assert find_file([tmp_path, far], "train") == far


def test_a_folder_of_that_name_is_no_file(tmp_path):
    inside = touch(tmp_path / "train" / "train")
    assert find_file([tmp_path], "train") == inside


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert look_up([tmp_path], "train") is None
    with pytest.raises(DataError, match=r"no train there\. Name the published file"):
        find_file([tmp_path], "train")


def test_numbers_of_any_real_kind_are_an_array(tmp_path):
    for stored in ([1, 2], np.ones(2, np.float16), [True, False], np.ones(2, ">f4")):
        np.testing.assert_array_equal(as_numbers(tmp_path, "x", stored), stored)


@pytest.mark.parametrize(
    "stored",
    [None, "a", ["1"], {}, [{}], [[1], [1, 2]], np.ones(2, complex), np.ones(2, dtype=object)],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_named(tmp_path, stored):
    with pytest.raises(DataError, match=rf"{tmp_path}: `x` is no array of numbers .*\. Fetch"):
        as_numbers(tmp_path, "x", stored)


def test_text_that_no_memory_holds_is_no_array_of_numbers(tmp_path):
    """NumPy gives every text of an array the space of the longest one."""
    with pytest.raises(DataError, match="`x` is no array of numbers"):
        as_numbers(tmp_path, "x", ["a" * 2**20] + [""] * 2**20)
