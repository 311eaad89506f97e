"""Published files that broke off while they were fetched, or were made to do harm."""

import gzip
import io
import pickle
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.published import nasbench360 as published_files
from tests.support.published import pdebench as official_files
from tests.support.published import proxies as official_proxies
from tests.support.published.nasbench360 import WRITERS
from tests.trainables.tasks.formats.test_archives import write as archive
from trainables.errors import DataError
from trainables.sources.importing import import_proxy
from trainables.tasks.formats.restricted_pickle import load_npy
from trainables.tasks.importing import import_task

PLACES = 20
KINDS = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}  # of `shutil`, by the ending


def packed(name: str, suffix: str) -> Callable[[Path], Path]:
    """Return what writes a data set as one archive."""

    def write(folder: Path) -> Path:
        root = WRITERS[name](folder / "root" / name)
        return Path(shutil.make_archive(str(folder / name), KINDS[suffix], root.parent))

    return write


def one(write: Callable[[Path], Path], file: str) -> Callable[[Path], Path]:
    """Return what writes a data set, and the file of it that is cut short."""
    return lambda folder: write(folder) / file


def cosmic(folder: Path) -> Path:
    root = published_files.write_cosmic(folder / "root", train=4, test=2)
    for part in ("train", "test"):
        with tarfile.open(folder / f"deepCR.ACS-WFC.{part}.tar", "w") as tar:
            tar.add(root / f"npy_{part}", f"npy_{part}")
    return folder / "deepCR.ACS-WFC.train.tar"


def source(name: str, suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        official_proxies.write(folder / "root")
        root = folder / "root" / "proxies" / name
        return Path(shutil.make_archive(str(folder / name), KINDS[suffix], root))

    return write


def darcy(folder: Path) -> Path:
    return published_files.write_darcy_flow(folder, train=2, test=1)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "nasbench360/cifar100": packed("cifar100", "tar.gz"),
    "nasbench360/spherical": one(published_files.write_spherical, "s2_cifar100.gz"),
    "nasbench360/darcy_flow": one(darcy, "piececonst_r421_N1024_smooth1.mat"),
    "nasbench360/psicov": packed("psicov", "zip"),
    "nasbench360/cosmic": cosmic,
    "nasbench360/ninapro": one(published_files.write_ninapro, "ninapro_train.npy"),
    "nasbench360/fsd50k": packed("fsd50k", "zip"),
    "nasbench360/ecg": one(WRITERS["ecg"], "challenge2017.pkl"),
    "nasbench360/satellite": one(WRITERS["satellite"], "satellite_train.npy"),
    "nasbench360/deepsea": one(published_files.write_deepsea, "deepsea_filtered.npz"),
    "cifar10": source("cifar10", "tar.gz"),
    "tiny_imagenet": source("tiny_imagenet", "zip"),
    "voc": source("voc", "tar"),
} | {
    f"pdebench/{name}": lambda folder, name=name: official_files.write(folder, name, 4)
    for name in ("burgers_1d", "darcy_2d", "diffusion_sorption_1d")
}
PLAIN = ("nasbench360/cifar100", "nasbench360/psicov")  # as a .tar too, whose members have no sum


def take_in(task: str, path: Path, home: Path) -> None:
    """Import what was fetched: the archive that was named, or the folder that the file is in."""
    alone = path.name.endswith((".zip", ".tar", ".tar.gz")) and task != "nasbench360/cosmic"
    files = [path if alone else path.parent]
    if "/" in task:
        import_task(task, files, home)
    else:
        import_proxy(task, files, home)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "write"),
    [*LAYOUTS.items(), *((task, packed(task.partition("/")[2], "tar")) for task in PLAIN)],
)
def test_a_file_cut_short_anywhere_is_named_with_the_byte(tmp_path, task, write):
    path = write(tmp_path / "fetched")
    shutil.rmtree(tmp_path / "fetched" / "root", ignore_errors=True)
    whole = path.read_bytes()
    size = len(whole.rstrip(b"\0")) if path.suffix == ".tar" else len(whole)  # but for its padding
    home = tmp_path / "home"
    for place in range(PLACES):
        path.write_bytes(whole[: size * place // PLACES])
        with pytest.raises(DataError) as caught:
            take_in(task, path, home)
        message = str(caught.value)
        assert message.startswith(str(path)), message
        assert "byte" in message, message
        assert str(home) not in message, message
        assert not [found for found in home.rglob("*") if found.is_file() and found.stat().st_size]
    path.write_bytes(whole)
    take_in(task, path, home)


def test_a_bad_pickle_in_an_archive_is_named_by_archive_and_member(tmp_path):
    path = archive(tmp_path / "cifar-100-python.tar.gz", {"c/train": b"noise", "c/test": b""})
    with pytest.raises(DataError, match=rf"^{path}: c/train: it is no pickle .*at byte"):
        import_task("nasbench360/cifar100", [path], tmp_path / "home")


def test_an_array_that_declares_more_than_its_file_holds_is_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    (tmp_path / "a.npy").write_bytes(head.getvalue())
    with pytest.raises(DataError, match=r"declares 8000000000000 bytes .*, but 0 are there"):
        load_npy(tmp_path / "a.npy")


def test_a_matlab_file_whose_array_is_a_nest_of_cells_is_not_opened(tmp_path):
    from scipy.io import savemat

    for number in (1, 2):
        nest = np.empty((1, 1), dtype=object)
        nest[0, 0] = np.ones((1, 421, 421))
        path = tmp_path / f"piececonst_r421_N1024_smooth{number}.mat"
        savemat(path, {"coeff": nest, "sol": nest})
    with pytest.raises(DataError, match=r"`coeff` is no array of numbers: its class is cell"):
        import_task("nasbench360/darcy_flow", [tmp_path], tmp_path / "home")


def test_a_single_compressed_file_that_grows_without_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.tasks.nas_bench_360.spherical.MAX_BYTES", 2**20)
    path = tmp_path / "s2_cifar100.gz"
    path.write_bytes(gzip.compress(pickle.dumps(b"x" * 2**22)))
    with pytest.raises(DataError, match="unpacks to more than 1048576 bytes"):
        import_task("nasbench360/spherical", [path], tmp_path / "home")


@pytest.mark.parametrize("error", [EOFError, zlib.error, struct.error, RecursionError, KeyError])
def test_no_exception_of_a_library_leaves_an_import(tmp_path, monkeypatch, error):
    folder = published_files.write_ninapro(tmp_path / "fetched")

    def fail(*_: object, **__: object) -> None:
        raise error("a library's own")

    monkeypatch.setattr("trainables.tasks.nas_bench_360.ninapro.read", fail)
    with pytest.raises(DataError, match=rf"{folder}: it cannot be read \({error.__name__}"):
        import_task("nasbench360/ninapro", [folder], tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "file", "edit", "fault"),
    [
        ("psicov", "deepcov.lst", lambda text: text + text, "it names a protein twice"),
        ("psicov", "deepcov.lst", lambda text: text + "../x 3\n", r"names \.\./x, which is no"),
        ("psicov", "deepcov.lst", lambda text: text + "x 3\n", r"x\.pkl: it is not there"),
        ("fsd50k", "chunks/tr.csv", lambda text: text + text.split("\n", 1)[1], "a second twice"),
        ("fsd50k", "chunks/lbl_map.json", lambda text: "[" * 200_000, "no map of labels"),
    ],
    ids=["twice", "outside", "not there", "second", "nest"],
)
def test_a_list_cannot_lead_elsewhere_or_grow_without_end(tmp_path, name, file, edit, fault):
    root = WRITERS[name](tmp_path / "fetched")
    (root / file).write_text(edit((root / file).read_text()))
    with pytest.raises(DataError, match=fault):
        import_task(f"nasbench360/{name}", [root], tmp_path / "home")
    assert not list(tmp_path.rglob("*.raw"))


def test_sounds_of_an_archive_are_those_in_it(tmp_path):
    root = WRITERS["fsd50k"](tmp_path / "root" / "audio")
    outside = shutil.move(root / "eval_22050_chunks", tmp_path / "eval_22050_chunks")
    path = root / "chunks" / "eval.csv"
    path.write_text(path.read_text().replace("/elsewhere/", f"{Path(outside).parent}/"))
    import_task("nasbench360/fsd50k", [root], tmp_path / "home")
    packed = Path(shutil.make_archive(str(tmp_path / "audio"), "zip", root.parent))
    with pytest.raises(DataError, match=r"audio\.zip: audio/chunks/eval\.csv: the first file"):
        import_task("nasbench360/fsd50k", [packed], tmp_path / "other")
