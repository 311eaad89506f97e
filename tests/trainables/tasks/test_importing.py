import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.published import nasbench360 as published_files
from tests.support.published.nasbench360 import WRITERS
from trainables.errors import ConfigError, DataError
from trainables.spec import DataSpec
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.importing import import_task
from trainables.tasks.loading import load_task
from trainables.tasks.nas_bench_360 import ninapro
from trainables.tasks.store.manifest import read_manifest, sha256
from trainables.tasks.store.split import SplitData
from trainables.tasks.store.store import Store

NAME = "nasbench360/ninapro"


@pytest.fixture
def published(tmp_path):
    return published_files.write_ninapro(tmp_path / "published")


def test_what_was_imported_is_loaded_with_what_it_came_from(published, tmp_path):
    files = sorted(published.iterdir())
    folder = import_task(NAME, files, tmp_path, seed=3)
    assert folder == tmp_path / "data" / NAME / "official"
    task = load_task(NAME, DataSpec(), tmp_path)
    assert task.data_source == "official"
    assert task.input_shape == (1, 16, 52)
    assert task.output_shape == (18,)
    assert [len(s) for s in (task.train, task.val, task.test)] == [92, 18, 25]
    manifest = read_manifest(folder)
    assert manifest["imported_from"] == {
        "seed": 3,
        "files": sorted(f"{sha256(path)}  {path.name}" for path in files),
    }
    assert manifest["protocol"] == task.info.protocol
    Store(folder).verify()
    for split, data in ninapro.read([published], tmp_path, seed=3).splits.items():
        np.testing.assert_array_equal(Store(folder).columns(split)["sample_id"], data.sample_id)


def test_files_and_the_folder_that_holds_them_give_the_same_data(published, tmp_path):
    folders = [
        import_task(NAME, files, tmp_path / str(i))
        for i, files in enumerate(([published], sorted(published.iterdir()), [published.parent]))
    ]
    first, *others = (Store(folder) for folder in folders)
    for other in others:
        np.testing.assert_array_equal(other.train.x, first.train.x)
        np.testing.assert_array_equal(other.test.y, first.test.y)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "archive"), [("psicov", "protein"), ("fsd50k", "audio")])
def test_a_published_archive_gives_the_data_of_the_folder_it_unpacks_to(tmp_path, name, archive):
    root, task = WRITERS[name](tmp_path / archive), f"nasbench360/{name}"
    packed = Path(shutil.make_archive(str(tmp_path / archive), "zip", tmp_path, archive))
    ours, theirs = (
        Store(import_task(task, [file], tmp_path / "homes" / file.name)) for file in (packed, root)
    )
    assert ours.manifest["files"] == theirs.manifest["files"]
    assert not list((tmp_path / "homes").rglob("unpacked*"))


def test_importing_the_same_files_twice_reads_them_once(published, tmp_path):
    calls: list[tuple[str, int, int]] = []
    import_task(NAME, [published], tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(NAME, done, 3) for done in range(4)]
    calls.clear()
    import_task(NAME, [published], tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(NAME, 0, 3)]


def test_other_files_are_refused_where_some_were_imported(published, tmp_path):
    folder = import_task(NAME, [published], tmp_path)
    with pytest.raises(
        DataError, match=rf"{folder}: another seed .* before.*{NAME} {published} --seed 1 --"
    ):
        import_task(NAME, [published], tmp_path, seed=1)


def test_nothing_but_the_data_is_left_behind(published, tmp_path):
    leftover = tmp_path / "data" / NAME / ".official.dead"
    leftover.mkdir(parents=True)
    folder = import_task(NAME, [published], tmp_path)
    assert {path.name for path in folder.parent.iterdir()} == {"official", ".official.lock"}


def test_a_failed_import_leaves_nothing_behind(published, tmp_path):
    (published / "label_val.npy").unlink()
    with pytest.raises(DataError, match=r"label_val\.npy"):
        import_task(NAME, [published], tmp_path)
    assert not (tmp_path / "data").exists()
    np.save(published / "label_val.npy", np.full(20, 99))
    with pytest.raises(DataError, match=r"label_val\.npy: its labels must be whole"):
        import_task(NAME, [published], tmp_path)
    assert [p.name for p in (tmp_path / "data" / NAME).iterdir()] == [".official.lock"]


def test_what_cannot_be_imported_says_why(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no task `nasbench360/nina`"):
        import_task("nasbench360/nina", [tmp_path], tmp_path)
    with pytest.raises(ConfigError, match=r"ours.*: sweeper data generate pdebench/darcy_2d@hard"):
        import_task("pdebench/darcy_2d@hard", [tmp_path], tmp_path)
    with pytest.raises(DataError, match="No file to import"):
        import_task(NAME, [], tmp_path)
    with pytest.raises(DataError, match=r"nowhere: there is no such file"):
        import_task(NAME, [tmp_path / "nowhere"], tmp_path)
    assert not (tmp_path / "data").exists()


def splits(n: int = 4, *, shape=(1, 16, 52), dtype="float32", y=None) -> ImportedSplits:
    labels = np.arange(n) if y is None else y
    data = SplitData(sample_id=np.arange(n), x=np.zeros((n, *shape), dtype), y=labels)
    return ImportedSplits({"train": data, "val": data, "test": data})


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (splits(0), "the train split is empty"),
        (splits(shape=(1, 16, 51)), r"must be float32\[1, 16, 52\], but are float32\[1, 16, 51\]"),
        (splits(dtype="uint8"), r"but are uint8\[1, 16, 52\]"),
        (splits(y=np.array([0, 1, 2, 18])), "not of the task's 18 classification outputs"),
        (splits(y=np.array([0, 1, -1, 2])), "not of the task's 18 classification outputs"),
    ],
)
def test_splits_that_are_not_the_task_s_are_refused(published, tmp_path, monkeypatch, read, fault):
    monkeypatch.setattr("trainables.tasks.nas_bench_360.ninapro.read", lambda *_, seed: read)
    with pytest.raises(DataError, match=fault):
        import_task(NAME, [published], tmp_path)


def test_labels_beyond_one_are_refused_where_labels_hold_or_do_not(tmp_path, monkeypatch):
    read = splits(shape=(4, 1000), dtype="uint8", y=np.full((4, 36), 2, dtype=np.float32))
    monkeypatch.setattr("trainables.tasks.nas_bench_360.deepsea.read", lambda *_, seed: read)
    folder = published_files.write_deepsea(tmp_path / "published")
    with pytest.raises(DataError, match="not of the task's 36 multilabel outputs"):
        import_task("nasbench360/deepsea", [folder], tmp_path)


def test_only_the_files_that_are_read_are_looked_into(published, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "trainables.tasks.importing.sha256", lambda path: opened.append(path.name) or sha256(path)
    )
    os.mkfifo(published / "pipe")
    os.mkfifo(published / "challenge2017.pkl")
    (published / "zero").symlink_to("/dev/zero")
    (published / "nowhere").symlink_to(tmp_path / "nowhere")
    with (published / "video.mp4").open("wb") as file:
        file.truncate(3 * 2**30)
    names = sorted(path.name for path in published.glob("*.npy"))
    for files in ([published], [path for path in published.iterdir() if path.exists()]):
        import_task(NAME, files, tmp_path)
    assert sorted(opened) == sorted(2 * names)
    with pytest.raises(DataError, match=r"no challenge2017\.pkl there"):
        import_task("nasbench360/ecg", [published], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_an_import_is_that_of_the_files_read_whatever_lies_beside_them(tmp_path, name):
    root, task = WRITERS[name](tmp_path / "fetched"), f"nasbench360/{name}"
    folder = import_task(task, [root], tmp_path)
    before = read_manifest(folder)
    (root / "notes.txt").write_text("fetched on Monday")
    os.mkfifo(root / "pipe")
    moved = root.rename(tmp_path / "moved")
    assert import_task(task, [moved], tmp_path) == folder
    assert read_manifest(folder) == before
    read = " ".join(before["imported_from"]["files"])
    other = min(path for path in moved.rglob("*") if path.is_file() and path.name in read)
    other.write_bytes(other.read_bytes() + b" ")
    with pytest.raises(DataError):
        import_task(task, [moved], tmp_path)


def test_other_files_take_the_place_of_former_ones_only_where_they_are_whole(published, tmp_path):
    folder = import_task(NAME, [published], tmp_path)
    before = read_manifest(folder)
    assert import_task(NAME, [published], tmp_path, replace=True) == folder
    assert read_manifest(folder) == before
    labels = np.load(published / "label_test.npy")
    np.save(published / "label_test.npy", labels + 18)
    with pytest.raises(DataError, match=r"label_test\.npy"):
        import_task(NAME, [published], tmp_path, replace=True)
    assert read_manifest(folder) == before
    np.save(published / "label_test.npy", labels[::-1].copy())
    assert import_task(NAME, [published], tmp_path, replace=True) == folder
    assert read_manifest(folder)["content_hash"] != before["content_hash"]
    Store(folder).verify()
    assert {path.name for path in folder.parent.iterdir()} == {"official", ".official.lock"}


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e300])
def test_numbers_that_are_not_finite_are_named_by_file_and_row_without_a_warning(
    published, tmp_path, value
):
    signal = np.load(published / "ninapro_test.npy")
    signal[7, 3, 3] = value
    np.save(published / "ninapro_test.npy", signal)
    with pytest.raises(DataError, match=rf"^{published}/ninapro_test\.npy: .* in row 7 \("):
        import_task(NAME, [published], tmp_path)
