"""Official files of a source, as archives and as folders, are put where its loader reads them."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.published import proxies as official_proxies
from trainables.errors import ConfigError, DataError
from trainables.sources.importing import LAYOUTS, import_proxy, verify_proxy
from trainables.sources.registry import PROXIES, load_proxy, proxy_faults

TOO_FEW = "conll2003: 80 sentences, but the official file has 14041: cut short?"
SAMPLES = {"cifar10": 100, "conll2003": 80, "tiny_imagenet": 16, "voc": 20}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A home in which every source was put by hand."""
    home = tmp_path_factory.mktemp("published")
    official_proxies.write(home)
    return home


@pytest.fixture
def cifar10(published, tmp_path) -> Path:
    return shutil.copytree(published / "proxies" / "cifar10", tmp_path / "fetched")


def test_every_source_that_is_not_packaged_can_be_imported():
    assert LAYOUTS.keys() == SAMPLES.keys() == {n for n, entry in PROXIES.items() if entry.files}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
def test_an_imported_source_is_the_one_put_by_hand(published, tmp_path, name, suffix):
    root = published / "proxies" / name
    path = tmp_path / f"fetched{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in root.rglob("*"):
                archive.write(file, file.relative_to(root))
    elif suffix:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(root, arcname=".")
    folder = import_proxy(name, [path if suffix else root], tmp_path)
    assert folder == tmp_path / "proxies" / name
    assert proxy_faults(name, tmp_path) is None
    assert load_proxy(name, tmp_path).content_hash == load_proxy(name, published).content_hash
    found = verify_proxy(name, tmp_path)
    notes = (TOO_FEW,) if name == "conll2003" else ()
    assert (found.samples, found.notes) == (SAMPLES[name], notes)
    assert {path.name for path in folder.parent.iterdir()} == {name, f".{name}.lock"}
    assert import_proxy(name, [root], tmp_path) == folder


def test_a_copy_that_is_not_the_published_archive_is_noted(cifar10, tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(cifar10, arcname=".")
    import_proxy("cifar10", [tmp_path / "cifar-10-binary.tar.gz"], tmp_path)
    (note,) = verify_proxy("cifar10", tmp_path).notes
    assert PROXIES["cifar10"].md5 in note


def test_what_cannot_be_imported_leaves_what_was_there(cifar10, tmp_path):
    folder = import_proxy("cifar10", [cifar10], tmp_path)
    before = verify_proxy("cifar10", tmp_path)
    batch = cifar10 / "cifar-10-batches-bin" / "data_batch_3.bin"
    content = batch.read_bytes()
    for damage, fault in (
        (content[:-1], rf"{cifar10}/data_batch_3\.bin is cut short"),
        (b"\x63" + content[1:], r"labels must lie in 0\.\.9"),
        (content[:3073], "other files are there. Delete them"),
    ):
        batch.write_bytes(damage)
        with pytest.raises(DataError, match=fault):
            import_proxy("cifar10", [cifar10], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file of CIFAR-10\. Download the binary version"):
        import_proxy("cifar10", [tmp_path / "empty"], tmp_path)
    with pytest.raises(DataError, match="nowhere: there is no such file"):
        import_proxy("cifar10", [tmp_path / "nowhere"], tmp_path)
    assert verify_proxy("cifar10", tmp_path) == before
    assert {path.name for path in folder.parent.iterdir()} == {"cifar10", ".cifar10.lock"}


def test_a_damaged_copy_is_replaced(cifar10, tmp_path):
    folder = import_proxy("cifar10", [cifar10], tmp_path)
    (folder / "data_batch_2.bin").unlink()
    assert import_proxy("cifar10", [cifar10], tmp_path) == folder
    assert proxy_faults("cifar10", tmp_path) is None


def test_a_packaged_source_is_verified_and_not_imported(tmp_path):
    assert verify_proxy("digits", tmp_path).samples == 1797
    with pytest.raises(ConfigError, match=r"digits: there is nothing to import\. It ships with"):
        import_proxy("digits", [tmp_path], tmp_path)


@pytest.mark.parametrize("content", ["[" * 200_000, "{", "[]", "\x00"])
def test_a_damaged_record_is_named(cifar10, tmp_path, content):
    path = import_proxy("cifar10", [cifar10], tmp_path) / "imported.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"{path}: it is damaged"):
        verify_proxy("cifar10", tmp_path)


def test_other_files_take_the_place_of_former_ones_where_they_are_whole(cifar10, tmp_path):
    import_proxy("cifar10", [cifar10], tmp_path)
    before = verify_proxy("cifar10", tmp_path)
    batch = cifar10 / "cifar-10-batches-bin" / "data_batch_3.bin"
    content = batch.read_bytes()
    batch.write_bytes(content[:-1])
    with pytest.raises(DataError, match="cut short"):
        import_proxy("cifar10", [cifar10], tmp_path, replace=True)
    assert verify_proxy("cifar10", tmp_path) == before
    batch.write_bytes(content[:3073])
    folder = import_proxy("cifar10", [cifar10], tmp_path, replace=True)
    assert verify_proxy("cifar10", tmp_path).samples == before.samples - 19
    assert {path.name for path in folder.parent.iterdir()} == {"cifar10", ".cifar10.lock"}


def test_only_the_files_that_are_read_are_looked_into(cifar10, tmp_path):
    os.mkfifo(cifar10 / "pipe")
    os.mkfifo(cifar10 / "data_batch_1.bin")
    (cifar10 / "zero").symlink_to("/dev/zero")
    (cifar10 / "broken.zip").write_bytes(b"PK\x03\x04")
    import_proxy("cifar10", [cifar10, cifar10 / "pipe", cifar10 / "broken.zip"], tmp_path)


def test_a_list_of_images_cannot_lead_elsewhere_or_grow_without_end(published, tmp_path):
    root = shutil.copytree(published / "proxies" / "voc", tmp_path / "fetched")
    listed = next(root.rglob("train.txt"))
    names = listed.read_text().split()
    for more in ("../../elsewhere", names[0], "/etc/x"):
        listed.write_text("\n".join([*names, more]))
        with pytest.raises(DataError, match="names an image twice, or one that cannot be"):
            import_proxy("voc", [root], tmp_path)
