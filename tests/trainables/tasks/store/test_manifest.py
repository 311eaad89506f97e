import hashlib

import pytest

from trainables.errors import DataError
from trainables.tasks.store.manifest import read_manifest, sha256, write_manifest


def test_a_manifest_comes_back_with_its_version_and_its_hash(tmp_path):
    write_manifest(tmp_path, {"task": "a task"})
    manifest = read_manifest(tmp_path)
    assert manifest["task"] == "a task"
    assert manifest["schema_version"] == 2
    write_manifest(tmp_path, {"task": "another task"})
    assert read_manifest(tmp_path)["content_hash"] != manifest["content_hash"]


def test_a_number_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(tmp_path, {"baselines": {"mean": float("nan")}})


def test_a_file_has_the_hash_that_everyone_computes(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_a_folder_has_the_hash_of_its_files_and_their_names(tmp_path):
    def folder(name: str, files: dict[str, str]) -> str:
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return sha256(tmp_path / name)

    first = folder("a", {"x": "1", "deep/y": "2"})
    assert folder("b", {"deep/y": "2", "x": "1"}) == first
    others = [{"x": "1", "deep/y": "3"}, {"x": "1", "deep/z": "2"}, {"x": "1"}]
    assert first not in [folder(f"c{i}", files) for i, files in enumerate(others)]


def test_a_missing_manifest_says_so(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: there is no data set here"):
        read_manifest(tmp_path)
