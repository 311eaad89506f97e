"""Blocks of rows: all of them, once, and out of memory when they are done with."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainables.tasks.store.arrays import put_rows, release, row_blocks, scratch_array


def mapped(path: Path, rows: int, mode: str = "r") -> np.ndarray:
    np.arange(rows * 256, dtype=np.float32).tofile(path)
    return np.memmap(path, dtype=np.float32, mode=mode, shape=(rows, 256))


def resident_file_bytes() -> int:
    """Bytes of this process's memory that are pages of files."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssFile" in line
    )
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("rows", [0, 1, 5, 8])
def test_blocks_end_to_end_are_the_array(rows, monkeypatch):
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", 50)
    array = np.arange(rows * 3.0).reshape(rows, 3)  # 24 bytes a row: two a block
    blocks = list(row_blocks(array))
    assert [len(block) for block in blocks] == [2] * (rows // 2) + [1] * (rows % 2)
    np.testing.assert_array_equal(np.concatenate([array[:0], *blocks]), array)


def test_a_row_larger_than_a_block_is_a_block(monkeypatch):
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", 1)
    assert [len(block) for block in row_blocks(np.zeros((3, 7)))] == [1, 1, 1]


def test_a_mapped_array_is_read_without_staying_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.tasks.store.arrays.BLOCK_BYTES", 2**20)
    array, size = mapped(tmp_path / "x", 2**15), 2**25
    before = resident_file_bytes()
    float(np.asarray(array).sum())
    assert resident_file_bytes() - before > size / 2  # what plain reading does
    release(array)
    grown = []
    for block in row_blocks(array[1:]):
        block.sum()
        grown.append(resident_file_bytes() - before)
    assert max(grown) < size / 4


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_letting_go_loses_nothing(mode, tmp_path):
    array = mapped(tmp_path / "x", 64, mode)
    if mode != "r":
        array[3] = -1
    view = np.ascontiguousarray(array[2:])
    expected = view.copy()
    release(view)
    np.testing.assert_array_equal(view, expected)
    release(expected)  # an array of its own: nothing to let go of
    np.testing.assert_array_equal(view, expected)


def test_an_array_is_of_zeros_and_what_is_written_stays(tmp_path):
    array = scratch_array(tmp_path / "x.raw", (3, 2), np.float16)
    assert array.tolist() == [[0, 0]] * 3
    array[1] = 5
    array.flush()
    assert np.fromfile(tmp_path / "x.raw", np.float16).tolist() == [0, 0, 5, 5, 0, 0]
    assert scratch_array(tmp_path / "none.raw", (1, 0), np.uint8).size == 0


def test_where_there_is_no_room_it_says_so_before_anything_is_written(tmp_path):
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from trainables.tasks.store.arrays import scratch_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n"
        "    scratch_array(Path(sys.argv[1]), (5000,), 'u1')\n"
        "except OSError as error:\n"
        "    print(error.strerror, error.filename)\n"
    )
    path = str(tmp_path / "x.raw")
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"File too large {path}"


@pytest.mark.parametrize("points", [3, 2048])  # small rows, and rows that are written to the file
def test_rows_are_put_where_they_belong(tmp_path, points):
    array = scratch_array(tmp_path / "x.raw", (5, 2, points), np.float32)
    values = np.random.default_rng(0).normal(size=(2, 4, points)).astype(np.float32)
    put_rows(array, np.array([4, 1, 0, 2]), np.moveaxis(values, 0, 1))
    np.testing.assert_array_equal(array[[4, 1, 0, 2]], np.moveaxis(values, 0, 1))
    assert not array[3].any()
