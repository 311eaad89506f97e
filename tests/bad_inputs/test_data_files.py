"""Data files: rows 68 to 86, as far as one machine can see; the network's row is tested with it."""

import errno
import fcntl
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from sweeper.errors import FileFaults
from tests.bad_inputs.rows import VALID, Command, Row, ids
from tests.support.published import pdebench as official_files
from tests.support.published.nasbench360 import write_ninapro
from trainables.tasks.pde_bench.published import PUBLISHED

FIELDS, GESTURES = "pdebench/burgers_1d", "nasbench360/ninapro"
BURGERS = PUBLISHED[FIELDS].name
AGAIN = "Fetch the published file again."


@dataclass(frozen=True)
class FileRow:
    """A change of the published files in a folder, and the refusal that importing them prints.

    `told` is how the one line begins, after the name of the file if `file` is given.
    """

    number: int
    name: str
    spoil: Callable[[Path], object]
    told: str
    file: str = BURGERS
    task: str = FIELDS


def replace(key: str, edit: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    """Return what puts another array in the place of one."""

    def spoil(folder: Path) -> None:
        with h5py.File(folder / BURGERS, "a") as file:
            array = file[key][()]
            del file[key]
            if (changed := edit(array)) is not None:
                file[key] = changed

    return spoil


def declare(**how: object) -> Callable[[Path], None]:
    """Return what puts an array in the place of the fields of which only the head is written."""

    def spoil(folder: Path) -> None:
        with h5py.File(folder / BURGERS, "a") as file:
            shape = file["tensor"].shape
            del file["tensor"]
            file.create_dataset("tensor", **{"shape": shape, "dtype": "<f4", **how})

    return spoil


def elsewhere(how: str) -> Callable[[Path], None]:
    """Return what lets the fields come from a file that holds a secret."""

    def spoil(folder: Path) -> None:
        other = official_files.write(folder.parent / "planted", "burgers_1d")
        with h5py.File(folder / BURGERS, "a") as file:
            shape = file["tensor"].shape
            del file["tensor"]
            if how == "link":
                file["tensor"] = h5py.ExternalLink(other, "tensor")
            elif how == "soft link":
                file["door"] = h5py.ExternalLink(other, "/")
                file["tensor"] = h5py.SoftLink("/door/tensor")
            elif how == "storage":
                whole = [(str(other), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("tensor", shape, "<f4", external=whole)
            else:
                layout = h5py.VirtualLayout(shape, "<f4")
                layout[:] = h5py.VirtualSource(other, "tensor", shape)
                file.create_virtual_dataset("tensor", layout)

    return spoil


def pack_with_a_strange_filter(folder: Path) -> None:
    with h5py.File(folder / BURGERS, "a") as file:
        shape = file["tensor"].shape
        del file["tensor"]
        stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        stored.set_chunk((1, *shape[1:]))
        stored.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file.id, b"tensor", h5py.h5t.IEEE_F32LE, space, stored)


def spoil_one(array: np.ndarray) -> np.ndarray:
    array[7, 0, 5] = np.nan
    return array


def group(folder: Path) -> None:
    with h5py.File(folder / BURGERS, "a") as file:
        del file["tensor"]
        file.create_group("tensor")


def lie_flat(array: np.ndarray) -> np.ndarray:
    array[5] = array[4]
    return array


def end_alike(array: np.ndarray) -> np.ndarray:
    array[:, -1] = 5
    return array


def bomb(folder: Path) -> None:
    """Put an archive in the place of NinaPro's files that unpacks to a thousand times its size."""
    for path in folder.iterdir():
        path.unlink()
    with zipfile.ZipFile(folder / "ninapro.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ninapro_train.npy", bytes(2**27))


def objects(folder: Path) -> None:
    wrong = np.full((18, 4, 4), 1.0, dtype=object)  # small: each read of one is checked
    np.save(folder / "ninapro_val.npy", wrong, allow_pickle=True)


class Runs:
    """A pickle of it asks for `os.system`."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)  # in the folder in which a refusal must not leave anything


def state_another_nu(folder: Path) -> None:
    with h5py.File(folder / BURGERS, "a") as file:
        file.attrs["Nu"] = 0.001


def learn_the_test_set(folder: Path) -> None:
    for name in ("ninapro", "label"):
        shutil.copy(folder / f"{name}_train.npy", folder / f"{name}_test.npy")


EXTERNAL = "`tensor` is kept in another file, which is not allowed."
LINK = "`tensor` is a link, which is not followed."
ROWS = [
    FileRow(68, "missing", lambda f: (f / BURGERS).unlink(),
            f"no {BURGERS} there. Name the published file, or a folder that holds it.", ""),
    FileRow(68, "a folder", lambda f: ((f / BURGERS).unlink(), (f / BURGERS).mkdir()),
            f"no {BURGERS} there.", ""),
    FileRow(68, "a broken link",
            lambda f: ((f / BURGERS).unlink(), (f / BURGERS).symlink_to("nowhere")),
            f"no {BURGERS} there.", ""),
    FileRow(70, "empty", lambda f: os.truncate(f / BURGERS, 0),
            f"it is no HDF5 file (0 bytes). {AGAIN}"),
    FileRow(70, "a page", lambda f: (f / BURGERS).write_text("<html>404</html>"),
            f"it is no HDF5 file (16 bytes). {AGAIN}"),
    FileRow(71, "cut short", lambda f: os.truncate(f / BURGERS, 11_024),
            f"it was cut short: 11024 of 415768 bytes are there. {AGAIN}"),
    FileRow(72, "another task: Nu", state_another_nu,
            "it states Nu = 0.001, but the task has 1"),
    FileRow(73, "no array", replace("tensor", lambda a: None),
            f"it has no array `tensor`; `/` has `t-coordinate`, `x-coordinate`. {AGAIN}"),
    FileRow(74, "a group", group, f"`tensor` is a group, not an array. {AGAIN}"),
    FileRow(75, "another rank", replace("tensor", lambda a: a[:, 0]),
            f"`tensor` must have 3 axes and a sample, but is [20, 1024]. {AGAIN}"),
    FileRow(75, "axes in another order", replace("tensor", lambda a: a.swapaxes(0, 1)),
            "`t-coordinate` has 6 times, but there are 20 frames. Axes must be sample, time, "
            f"space. {AGAIN}"),
    FileRow(76, "no sample", replace("tensor", lambda a: a[:0]),
            f"`tensor` must have 3 axes and a sample, but is [0, 5, 1024]. {AGAIN}"),
    FileRow(76, "fewer than the splits", replace("tensor", lambda a: a[:2]),
            f"it has 2 samples, but 10000 were published. {AGAIN}"),
    FileRow(77, "text", replace("tensor", lambda a: a.astype("S4")),
            f"`tensor` is no array of numbers: its type is |S4. {AGAIN}"),
    FileRow(77, "objects", declare(dtype=h5py.string_dtype()),
            f"`tensor` is no array of numbers: its type is object. {AGAIN}"),
    FileRow(77, "complex", replace("tensor", lambda a: a.astype("c8")),
            f"`tensor` is no array of numbers: its type is complex64. {AGAIN}"),
    FileRow(78, "not finite", replace("tensor", spoil_one), f"sample 7 is not finite. {AGAIN}"),
    FileRow(78, "no number",
            lambda f: np.save(f / "ninapro_val.npy", np.full((18, 52, 16), np.nan)),
            "`ninapro_val` is not finite, or larger than single precision holds, in row 0 (counted "
            f"from 0), as in 17 others. {AGAIN}", "ninapro_val.npy", GESTURES),
    FileRow(78, "all alike", replace("tensor", end_alike),
            f"{FIELDS}: all its outputs are alike. Are these the published files?", ""),
    FileRow(79, "points that stand still", replace("x-coordinate", lie_flat),
            f"`x-coordinate` does not increase from point to point. {AGAIN}"),
    FileRow(79, "a point too many", replace("x-coordinate", lambda a: np.append(a, 2)),
            f"`x-coordinate` has 1025 points, but the fields have 1024. {AGAIN}"),
    FileRow(80, "a link to a file", elsewhere("link"), LINK),
    FileRow(80, "a link to a link", elsewhere("soft link"), LINK),
    FileRow(80, "storage in a file", elsewhere("storage"), EXTERNAL),
    FileRow(80, "a virtual array", elsewhere("virtual"), EXTERNAL),
    FileRow(81, "a bomb", declare(shape=(10**6, 5, 10**6), chunks=(1, 1, 1024)),
            "`tensor` declares 20,000,000,000,000 bytes, but the file has "),
    FileRow(82, "a filter", pack_with_a_strange_filter,
            "`tensor` is packed by filter 32015, which is not read. Repack it: h5repack -f GZIP=4"),
    FileRow(85, "one file twice", learn_the_test_set,
            f"{GESTURES}: every test input is in training or validation too. Is one file there "
            "twice?",
            "", GESTURES),
    FileRow(86, "objects in an array", objects,
            "`ninapro_val` is no array of numbers (it holds object).", "ninapro_val.npy", GESTURES),
    FileRow(86, "a pickle that runs",
            lambda folder: np.save(folder / "ninapro_val.npy", np.array(Runs()), allow_pickle=True),
            "it is no pickle of arrays and plain containers (it asks for `posix.system`, which is "
            "refused", "ninapro_val.npy", GESTURES),
    FileRow(86, "an archive that is a bomb", bomb, "no ninapro_train.npy there.", "", GESTURES),
]  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of both tasks as they should be."""
    import trainables.tasks.importing  # noqa: F401  # what it loads is no part of a refusal

    folder = write_ninapro(tmp_path_factory.mktemp("published"), val=18, test=18)
    official_files.write(folder, "burgers_1d")
    return folder


def imported(command: Command, task: str, folder: Path) -> list[str]:
    """Import the files of a folder, which must be refused; return what is told."""
    told = command("data", "import", task, str(folder))
    assert (told.code, told.out) == (2, [])
    assert not list(folder.parent.rglob("official"))
    return [line for line in told.err if not line.startswith("importing ")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_a_file_that_is_not_as_published_is_told(command, published, tmp_path, row):
    folder = shutil.copytree(published, tmp_path / "files")
    row.spoil(folder)
    (line,) = imported(command, row.task, folder)
    start = f"sweeper: {folder / row.file if row.file else folder}: "
    assert line.startswith(start + row.told), line


def test_row_68_a_path_that_leads_nowhere_is_told(command):
    for path in ("nowhere", "nowhere/x.hdf5"):
        told = command("data", "import", FIELDS, path)
        assert told.code == 2
        assert told.err[-1] == f"sweeper: {path}: there is no such file or folder."


def test_row_72_another_edition_is_noted_and_an_altered_copy_is_told(command, published, tmp_path):
    told = command("data", "import", FIELDS, str(published))
    assert told.code == 0
    assert any(line.startswith(f"{BURGERS}: its MD5 sum is ") for line in told.out)
    (stored,) = tmp_path.rglob("official/test.arrow")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    told = command("data", "verify", FIELDS)
    assert told.code == 2
    assert told.err[0].startswith(f"sweeper: {stored}: its sha256 differs")


def test_row_76_a_split_without_a_sample_is_told(command):
    told = "x.yaml:10: pdebench/advection_1d: `data.samples` leaves a split empty: "
    command.tells(Row(76, "samples", VALID + "data: {samples: 10, val_fraction: 0.01}\n", told))


@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">f8", "<i4"])
def test_row_77_other_numbers_are_converted(command, published, tmp_path, dtype):
    folder = shutil.copytree(published, tmp_path / "files")
    replace("tensor", lambda a: (100 * a).astype(dtype))(folder)
    assert command("data", "import", FIELDS, str(folder)).code == 0


def test_row_83_a_file_that_is_written_to_is_told(command, published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "files")
    with (folder / BURGERS).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (line,) = imported(command, FIELDS, folder)
    assert line == (
        f"sweeper: {folder / BURGERS}: another process is writing to it. Try again once it is done."
    )


def test_row_84_a_disk_without_locks_is_told(command, published, monkeypatch, tmp_path):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "unable to lock file")

    folder = shutil.copytree(published, tmp_path / "files")
    monkeypatch.setattr(h5py, "File", refuse)
    (line,) = imported(command, FIELDS, folder)
    assert line == (
        f"sweeper: {folder / BURGERS}: HDF5 could not lock it. Where nothing writes to it, set "
        "HDF5_USE_FILE_LOCKING=FALSE."
    )


@pytest.mark.slow
def test_row_86_an_archive_that_unpacks_to_too_much_is_told(command, tmp_path):
    path = tmp_path / "cifar-10-binary.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_batch_1.bin", bytes(2**27))
    told = command("data", "import", "cifar10", str(path))
    assert (told.code, told.out) == (2, [])
    assert told.err[-1].startswith(f"sweeper: {path}: it unpacks to more than 67108864 bytes")


def test_row_69_data_that_some_nodes_lack_are_told(command, monkeypatch, tmp_path):
    from sweeper.driver import node_checks
    from sweeper.model import StudyFacts
    from sweeper.planning.catalog import catalog
    from sweeper.spec.loader import loads_sweep

    sweep = loads_sweep(VALID, catalog(), profile="paper")
    (study,) = sweep.studies
    monkeypatch.setattr(
        node_checks, "missing_on", lambda paths: ({path: ["w1", "w2"] for path in paths}, 3)
    )
    with pytest.raises(FileFaults) as caught:
        node_checks.check_nodes(
            sweep,
            {study.name: StudyFacts(data_source="official")},
            tmp_path / "sweep",
            tmp_path / "home",
        )
    told = "not visible on 2 of 3 nodes (w1, w2). Put it on a disk that all of them share."
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'sweep'}: {told}",
        f"{tmp_path / 'home' / 'data' / study.task / 'official'}: {told}",
    ]
