import numpy as np
import pytest

from sweeper.commands import data
from sweeper.errors import FileFaults, UsageError


@pytest.fixture
def arrays(tmp_path):
    path = tmp_path / "wafer.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(40, 9)), y=np.arange(40) % 3)
    return path


def test_a_task_file_is_written_beside_the_data(arrays):
    done = data.propose_task(arrays)
    assert done.file == arrays.with_name("wafer.task.yaml")
    assert "name: mine/wafer" in done.file.read_text()
    assert f"sweeper data import {done.file}" in done.message


def test_what_is_left_out_is_said_and_what_is_to_fill_in_is_refused(here):
    rng = np.random.default_rng(0)
    np.savez(here / "wafer.npz", x=rng.normal(size=(40, 9)), other=np.zeros(3))
    done = data.propose_task(here / "wafer.npz")
    assert "left out: `other`" in done.message
    assert "FILL IN target.path" in done.message
    with pytest.raises(FileFaults, match=r"`target\.path` is still to be filled in") as caught:
        data.import_files(str(done.file), (), 0, lambda *_: None)
    assert caught.value.faults[0].line is not None


def test_a_length_that_cuts_is_said_before_the_data_are_stored(here):
    rng = np.random.default_rng(0)
    np.savez(here / "waves.npz", x=rng.normal(size=(40, 9)), y=np.arange(40) % 2)
    file = here / "waves.task.yaml"
    file.write_text(
        "name: mine/waves\nkind: classification\n"
        "input: {path: waves.npz, key: x, layout: NL, length: 4}\ntarget: {key: y}\n"
    )
    said = []

    def say(text):
        said.append((text, [*(here / "home").rglob("manifest.json")]))

    done = data.import_files(str(file), (), 0, lambda *_: None, say=say)
    note = "sequences have 4 points: 0 were padded by zeros and 40 cut"
    assert said == [(f"mine/waves: {note}", [])]
    assert note in done.notes
    assert [*done.folder.glob("manifest.json")]


def test_a_task_file_is_never_overwritten(arrays):
    file = arrays.with_name("wafer.task.yaml")
    file.write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        data.propose_task(arrays)
    assert file.read_text() == "mine"


def test_nothing_is_written_for_data_that_cannot_be_read(here):
    (here / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="its format is not known"):
        data.propose_task(here / "notes.txt")
    assert not list(here.glob("*.yaml"))
