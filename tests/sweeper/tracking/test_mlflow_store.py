"""Files are put in place without copying their bytes, and a second time changes nothing."""

import errno
import os
import shutil

import pytest

from sweeper.address import sqlite_file, sqlite_url
from sweeper.tracking.mlflow_store import MlflowStore, place


def tree(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_linked_with_its_subfolders(tmp_path):
    source, target = tmp_path / "source", tmp_path / "a" / "target"
    (source / "best").mkdir(parents=True)
    (source / "state.json").write_text("{}")
    (source / "best" / "weights").write_text("w")
    place(source, target)
    place(source, target)
    assert tree(target) == tree(source)
    assert (target / "best" / "weights").samefile(source / "best" / "weights")


def test_a_file_that_was_replaced_since_is_placed_anew(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "last").write_text("old")
    place(source, target)
    (source / "aside").write_text("new")
    (source / "aside").replace(source / "last")
    assert (target / "last").read_text() == "old"
    place(source, target)
    assert tree(target) == {"last": "new"}


def test_where_links_are_not_possible_files_are_copied(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "last").write_text("w")
    place(source, target)
    assert tree(target) == {"last": "w"}
    assert not (target / "last").samefile(source / "last")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C# code", "why?", "50%41", "über all"])
def test_files_are_kept_beside_a_store_whose_path_has_signs_of_urls(tmp_path, new_store, name):
    (tmp_path / name).mkdir()
    shutil.copy(sqlite_file(new_store()), tmp_path / name / "mlflow.db")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    store = MlflowStore(sqlite_url(tmp_path / name / "mlflow.db"), "mine")
    run = store.find_or_create("a", name="a", since=0, tags={}, params={})
    store.keep(run, tmp_path / "model")
    assert store.artifacts(run) == {"checkpoints"}
    kept = [path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("weights")]
    assert sorted(kept) == sorted([(name, "mlruns"), ("model", "weights")])
