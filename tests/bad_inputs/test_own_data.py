"""Data of users that are wrong in every way we know: each is refused with file, fault and way out.

A fault of the task file carries its key, so that the command can name the line. The store keeps
what was imported before.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from scipy.io import wavfile

from tests.support.own_data import define, labels, read
from tests.support.own_tasks import registry_restored
from trainables.errors import DataError, TaskDataError
from trainables.tasks.importing import import_own
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import register

N = 40
Key = tuple[str, ...]
NCL = {"path": "data.npz", "key": "x", "layout": "NCL"}
WHOLE: Key = ("no key but those of the files",)
FILES: set[Key] = {("input", "path"), ("target", "path"), ("splits", "train"), ("splits", "test")}


@dataclass(frozen=True)
class Fault:
    """Data that are refused.

    `write` puts them into a folder. `told` is a part of the message. `key` is that of the task
    file; WHOLE stands for the keys that name files, since only the data can be corrected.
    """

    name: str
    write: Callable[[Path], object]
    told: str
    key: Key = WHOLE
    kind: str = "classification"
    sections: dict[str, Any] = field(default_factory=dict)


def series(shape: tuple[int, ...] = (N, 3, 16)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def npz(**arrays: Any) -> Callable[[Path], object]:
    """Return what writes data.npz: series and labels, with these arrays in their place."""
    return lambda folder: np.savez(
        folder / "data.npz", **({"x": series(), "y": labels(N)} | arrays)
    )


def edited(change: Callable[[np.ndarray], object]) -> Callable[[Path], object]:
    """Return what writes data.npz with changed inputs."""

    def write(folder: Path) -> None:
        x = series()
        change(x)
        npz(x=x)(folder)

    return write


def put(value: float) -> Callable[[np.ndarray], object]:
    return lambda x: x.__setitem__((5, 1, 2), value)


def then(first: Callable[[Path], object], spoil: Callable[[Path], object]) -> Any:
    """Return what writes data, and then damages them."""

    def write(folder: Path) -> None:
        first(folder)
        spoil(folder)

    return write


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def npy_head(shape: tuple[int, ...]) -> bytes:
    """Return the head of a .npy file that declares this shape of float64."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def two_files(folder: Path, *groups: np.ndarray) -> None:
    """Write a.npz and b.npz, whose samples have these groups."""
    for name, group in zip("ab", groups, strict=True):
        x, y = series((len(group), 3, 16)), labels(len(group))
        np.savez(folder / f"{name}.npz", x=x, y=y, wafer=group)


def ragged() -> np.ndarray:
    """Return an array of arrays of unequal length."""
    made = np.empty(N, dtype=object)
    made[:] = [np.ones(2 + i % 3) for i in range(N)]
    return made


def bomb(folder: Path) -> None:
    """Write an archive whose member declares far more than it holds."""
    with zipfile.ZipFile(folder / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_head((10**11, 8)) + b"\0" * 64)
        archive.writestr("y.npy", npy_head((10**11,)))


def flipped(folder: Path) -> None:
    npz()(folder)
    content = bytearray((folder / "data.npz").read_bytes())
    content[3000] ^= 255
    (folder / "data.npz").write_bytes(content)


def hdf5(change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Return what writes data.h5 with labels, and what `change` adds to it."""

    def write(folder: Path) -> None:
        with h5py.File(folder / "data.h5", "w") as file:
            file["y"] = labels(N)
            change(file)

    return write


def unequal(file: Any) -> None:
    rows = file.create_dataset("x", (N,), h5py.vlen_dtype(np.float32))
    for row in range(N):
        rows[row] = np.ones(3 + row % 4)


def files(**shapes: tuple[int, ...]) -> Callable[[Path], object]:
    """Return what writes NAME.npz with series of a shape, for each name."""

    def write(folder: Path) -> None:
        for name, shape in shapes.items():
            group = np.repeat(np.arange(shape[0] // 2), 2)
            np.savez(folder / f"{name}.npz", x=series(shape), y=labels(shape[0]), wafer=group)

    return write


def csv(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "data.csv").write_bytes(text.encode("latin1"))


def images(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), number * 20).save(folder / "images" / name / f"{number}.png")


def image_bomb(folder: Path) -> None:
    """Write a PNG whose head declares 3.6 billion points."""
    images(folder)
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (b"IHDR" + head, b"IDAT" + zlib.compress(b""))
    )
    (folder / "images" / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def linked(folder: Path) -> None:
    images(folder)
    (folder / "outside.png").write_bytes((folder / "images" / "a" / "0.png").read_bytes())
    (folder / "images" / "a" / "link.png").symlink_to(folder / "outside.png")


def sounds(folder: Path) -> None:
    (folder / "audio").mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        name = f"{'ab'[number % 2]}-{number}.wav"
        wavfile.write(folder / "audio" / name, 8000, rng.integers(-99, 99, 16).astype(np.int16))


def sound(name: str, rate: int = 8000) -> Callable[[Path], object]:
    """Return what writes another sound beside those of `sounds`."""
    return lambda folder: wavfile.write(folder / "audio" / name, rate, np.ones(16, np.int16))


def listed(*rows: str) -> Callable[[Path], object]:
    """Return what writes sounds and a table of labels with further rows."""

    def write(folder: Path) -> None:
        sounds(folder)
        own = [f"{p.name},{p.name[0]}" for p in sorted((folder / "audio").glob("*.wav"))]
        (folder / "labels.csv").write_text("\n".join(["file,label", *own, *rows]))

    return write


class Harmful:
    def __reduce__(self) -> Any:
        return (os.abort, ())


def escaping_data_set(folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set" / "state.json").write_text('{"_data_files": [{"filename": "../secret.arrow"}]}')
    (folder / "set" / "dataset_info.json").write_text("{}")


INPUT, TARGET = ("input", "path"), ("target", "key")
INPUT_KEY, COLUMNS = ("input", "key"), ("input", "columns")
LENGTH, MISSING, GROUP = ("input", "length"), ("input", "missing"), ("splits", "group")
PATTERN, FILE_COLUMN = ("target", "pattern"), ("target", "file_column")
H5 = {"input": {"path": "data.h5", "key": "x"}}
NPY = {"input": {"path": "x.npy"}, "target": {"path": "x.npy"}}
TABLE = {"input": {"path": "data.csv", "columns": ["a", "b"]}}
IMAGES = {"input": {"path": "images", "layout": "NHW"}, "target": {"source": "folder"}}
SOUNDS = {"input": {"path": "audio"}}
TWO = {"input": {"key": "x", "layout": "NCL"}, "splits": {"train": "a.npz", "test": "b.npz"}}


def by_pattern(pattern: str) -> dict[str, Any]:
    return SOUNDS | {"target": {"source": "pattern", "pattern": pattern}}


BY_CSV = SOUNDS | {"target": {"source": "csv", "path": "labels.csv"}}
FAULTS = [
    # Layout and shape
    Fault("axes", npz(), "NCL or NLC or NHW", ("input", "layout"),
          sections={"input": NCL | {"layout": "NCHW"}}),
    Fault("channels last", npz(x=series((N, 8, 8, 3))), "looks like NHWC", ("input", "layout"),
          sections={"input": NCL | {"layout": "NCHW"}}),
    Fault("length of images", npz(x=series((N, 8, 8))), "`length` is for sequences", LENGTH,
          sections={"input": NCL | {"layout": "NHW", "length": 5}}),
    Fault("size of arrays", npz(x=series((N, 8, 8))), "Only files of images are resized",
          ("input", "size"), sections={"input": NCL | {"layout": "NHW", "size": [4, 4]}}),
    Fault("endless length", npz(), "left. Free space", LENGTH,
          sections={"input": NCL | {"length": 10**12}}),
    Fault("unequal lengths", hdf5(unequal), "3 to 6 points", LENGTH, sections=H5),
    Fault("unequal files", files(a=(N, 3, 16), b=(N, 3, 17)), "samples [3, 16]", LENGTH,
          sections=TWO),
    Fault("unequal channels", files(a=(N, 3, 16), b=(N, 2, 16)), "samples [3, 16]", INPUT,
          sections=TWO),
    # Values of the inputs
    Fault("NaN", edited(put(np.nan)), "sample 5 (counted from 0) has a missing value", MISSING),
    Fault("infinite", edited(put(np.inf)),
          "sample 5 (counted from 0) has a value that is infinite"),
    Fault("too large", edited(put(1e39)), "larger than single precision holds"),
    Fault("constant inputs", npz(x=np.full((N, 3, 16), 7.5)), "all training inputs are alike, 7.5",
          INPUT_KEY),
    Fault("complex", npz(x=series() + 1j), "complex numbers", ("input", "complex")),
    Fault("text", npz(x=np.full((N, 3), "ab")), "no array of numbers", INPUT_KEY,
          sections={"input": NCL | {"layout": "NL"}}),
    Fault("nothing to interpolate", edited(lambda x: x.__setitem__((5, 1), np.nan)),
          "sample 5: channel 1 has no value", MISSING,
          sections={"input": NCL | {"missing": "interpolate"}}),
    Fault("interpolated images", npz(x=series((N, 8, 8))), "is for sequences", MISSING,
          sections={"input": NCL | {"layout": "NHW", "missing": "interpolate"}}),
    Fault("no samples", npz(x=np.zeros((0, 3, 16)), y=np.zeros(0, int)), "it has no samples"),
    # Outputs
    Fault("one class", npz(y=np.zeros(N, int)), "Two classes at least", TARGET),
    Fault("a class each", npz(y=np.arange(N)), "a class of its own", TARGET),
    Fault("fractions", npz(y=series((N,))), "kind: regression", TARGET),
    Fault("missing label", npz(y=np.where(np.arange(N) == 3, np.nan, 1.0)), "label of sample 3",
          TARGET),
    Fault("empty label", npz(y=np.array(["a", "b", " ", "a"] * 10)), "label of sample 2", TARGET),
    Fault("several labels", npz(y=np.ones((N, 3), int)), "3 labels a sample", TARGET),
    Fault("complex labels", npz(y=np.ones(N, complex)), "labels must be [n]", TARGET),
    Fault("fields as labels", npz(y=series()), "kind: dense", TARGET),
    Fault("one set of labels", npz(), "kind: classification", TARGET, "multilabel"),
    Fault("text as numbers", npz(y=np.array(["ok", "bad"] * 20)),
          "holds text, such as `bad`, `ok`, but outputs of a regression are numbers. If these are "
          "classes, set `kind: classification`", TARGET, "regression"),
    Fault("sets of counts", npz(y=np.arange(2 * N).reshape(N, 2)), "are of 0 and 1", TARGET,
          "multilabel"),
    Fault("fields as vectors", npz(y=series()), "kind: dense", TARGET, "regression"),
    Fault("constant targets", npz(y=np.full(N, 2.5)), "all training outputs are 2.5", TARGET,
          "regression"),
    Fault("constant fields", npz(y=np.zeros((N, 3, 16))), "all training outputs are 0", TARGET,
          "dense"),
    Fault("missing target", npz(y=np.where(np.arange(N) == 3, np.nan, 1.0)), "outputs are missing",
          WHOLE, "regression"),
    Fault("another grid", npz(y=series((N, 3, 17))), "a grid of [17]", ("target", "layout"),
          "dense"),
    Fault("padded fields", npz(y=series()), "must keep their points", LENGTH, "dense",
          {"input": NCL | {"length": 20}}),
    Fault("fewer labels", npz(y=labels(N - 1)), "has 40 samples, but"),
    # Splits and groups
    Fault("group leakage", files(a=(N, 3, 16), b=(N, 3, 16)), "18 groups are in train and in test",
          GROUP, sections=TWO | {"splits": TWO["splits"] | {"group": "wafer"}}),
    Fault("groups of two kinds", lambda f: two_files(f, np.arange(9), np.arange(9).astype(str)),
          "holds numbers in one file and text in another", GROUP,
          sections=TWO | {"splits": TWO["splits"] | {"group": "wafer"}}),
    Fault("group without a name", npz(w=np.where(np.arange(N) % 2, "a", " ")), "a value is missing",
          GROUP, sections={"splits": {"group": "w"}}),
    Fault("one group", npz(w=np.zeros(N, int)), "leaves 1 group", GROUP,
          sections={"splits": {"group": "w"}}),
    Fault("no such group", npz(), "no array `wafer`", GROUP,
          sections={"splits": {"group": "wafer"}}),
    Fault("strange splits", npz(s=np.full(N, "dev")), "one is `dev`", ("splits", "column"),
          sections={"splits": {"column": "s"}}),
    Fault("no training", npz(s=np.full(N, "test")), "no sample is for training",
          ("splits", "column"), sections={"splits": {"column": "s"}}),
    Fault("rare class", npz(y=np.eye(N, dtype=int)[3]), "has a single sample",
          ("splits", "stratified")),
    Fault("tiny share", npz(y=np.arange(N) % 19), "too few for test to have each",
          ("splits", "stratified")),
    Fault("whole share", npz(), "above 0 and below 1", ("splits", "test"),
          sections={"splits": {"test": 1.0}}),
    Fault("shares above one", npz(),
          "`test: 0.7` and `val: 0.5` sum to 1.2, which leaves -0.2 for `train`", ("splits",),
          sections={"splits": {"test": 0.7, "val": 0.5}}),
    Fault("one file twice", files(a=(N, 3, 16)), "named twice", ("splits", "test"),
          sections=TWO | {"splits": {"train": "a.npz", "test": "./a.npz"}}),
    Fault("columns of the test split", csv("a,b\n" + "1,2\n" * N),
          "rows of this file have columns", ("splits", "test"),
          sections={"input": {"path": "data.csv", "key": "a"}, "target": {"key": "b"},
                    "splits": {"test": {"input": "a", "target": "b"}}}),
    Fault("test files of two shapes", files(a=(N, 8, 8), b=(N, 8, 8), c=(N, 9, 9)),
          "must have one shape; name one: a.npz: `x`, b.npz: `x`.", INPUT,
          sections={"input": {"key": "x", "layout": "NHW"},
                    "splits": {"train": "a.npz", "test": ["b.npz", "c.npz"]}}),
    # Paths
    Fault("missing file", lambda folder: None, "no such file or folder", INPUT),
    Fault("misspelled file", npz(), "Did you mean `data.npz`?", INPUT,
          sections={"input": NCL | {"path": "dta.npz"}}),
    Fault("misspelled folder", images, "Did you mean `images/a`?", INPUT,
          sections={"input": {"path": "imags/a", "layout": "NHW"}, "target": {"source": "folder"}}),
    Fault("no match", lambda folder: None, "no file matches", INPUT,
          sections={"input": NCL | {"path": "part-*.npz"}}),
    Fault("empty folder", lambda folder: (folder / "set").mkdir(), "no file of a known format",
          INPUT, sections={"input": NCL | {"path": "set"}}),
    Fault("pipe", lambda folder: os.mkfifo(folder / "data.npz"), "neither a file nor a folder",
          INPUT),
    Fault("unknown format", lambda folder: (folder / "data.xlsx").touch(),
          "its format is not known by `.xlsx`", INPUT,
          sections={"input": NCL | {"path": "data.xlsx"}}),
    Fault("pickle", lambda folder: (folder / "data.pkl").touch(), "a pickle may run code", INPUT,
          sections={"input": NCL | {"path": "data.pkl"}}),
    Fault("link out of a folder", linked, "a link that leaves", INPUT, sections=IMAGES),
    Fault("mixed folder", then(images, lambda f: np.save(f / "images" / "x.npy", series())),
          "several kinds", INPUT, sections={"input": IMAGES["input"], "target": {}}),
    # NumPy
    Fault("no such array", npz(), "no array `z`. It has `x`, `y`", INPUT_KEY,
          sections={"input": NCL | {"key": "z"}}),
    Fault("which array", npz(), "it has `x`, `y`. Name one", INPUT_KEY,
          sections={"input": {"path": "data.npz", "layout": "NCL"}}),
    Fault("objects in npz", npz(x=ragged()), "only a pickle can store", INPUT_KEY),
    Fault("objects in npy", lambda f: np.save(f / "x.npy", np.array([{}] * N)),
          "only a pickle can store", INPUT_KEY, sections={"input": {"path": "x.npy"}}),
    Fault("no archive", lambda f: (f / "data.npz").write_bytes(b"\x80\x04N."), "no .npz file"),
    Fault("bomb", bomb, "declares 6,400,000,000,000 bytes"),
    Fault("flipped byte", flipped, "cannot be read (Bad CRC-32"),
    Fault("cut npz", then(npz(), cut("data.npz", 3000)), "no .npz file"),
    Fault("cut npy", then(lambda f: np.save(f / "x.npy", series((N, 16))), cut("x.npy", 3000)),
          "it was cut short", sections=NPY),
    Fault("huge npy", lambda f: (f / "x.npy").write_bytes(npy_head((10**12, 16))),
          "it was cut short", sections=NPY),
    Fault("single number", lambda f: np.save(f / "x.npy", 3.0), "a single number", sections=NPY),
    # HDF5
    Fault("soft link", hdf5(lambda file: file.__setitem__("x", h5py.SoftLink("/y"))), "is a link",
          sections=H5),
    Fault("external link",
          hdf5(lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "x"))),
          "is a link", sections=H5),
    Fault("virtual array",
          hdf5(lambda file: file.create_virtual_dataset("x", h5py.VirtualLayout((N, 16), "f4"))),
          "kept in another file", sections=H5),
    Fault("huge HDF5",
          hdf5(lambda file: file.create_dataset("x", (10**9, 10**3), "f4", chunks=(100, 1000))),
          "declares 4,000,000,000,000 bytes", sections=H5),
    Fault("group", hdf5(lambda file: file.create_group("x/part")), "no array `x`", INPUT_KEY,
          sections=H5),
    Fault("cut HDF5",
          then(hdf5(lambda file: file.__setitem__("x", series((N, 16)))), cut("data.h5", 4000)),
          "it was cut short", sections=H5),
    # Tables
    Fault("no such column", csv("a,c,y\n1,2,0\n"), "no column `b`. It has `a`, `c`, `y`", COLUMNS,
          sections=TABLE),
    Fault("column of text", csv("a,b,y\n1,x,0\n2,z,1\n"), "`b` holds string", COLUMNS,
          sections=TABLE),
    Fault("column twice", csv("a,b,y\n1,2,0\n"), "`a` is named twice", COLUMNS,
          sections={"input": {"path": "data.csv", "columns": ["a", "?"]}}),
    Fault("output among inputs", csv("a,b,y\n" + "1,2,0\n3,4,1\n" * 20),
          "column `b` is an input and an output", COLUMNS,
          sections=TABLE | {"target": {"key": "b"}}),
    Fault("short row", csv("a,b,y\n1,2,0\n3\n"), "Expected 3 columns, got 1", sections=TABLE),
    Fault("two columns of a name", csv("a,a,y\n1,2,0\n"), "two columns have the name",
          sections={"input": {"path": "data.csv", "key": "a"}}),
    Fault("missing cell of labels", csv("a,b,y\n1,1,0\n2,2,\n3,3,1\n"),
          "row 1 (counted from 0) is missing", TARGET, sections=TABLE),
    Fault("empty table", csv(""), "cannot be read as a table", sections=TABLE),
    Fault("no column of labels", csv("a,b,class\n1,2,0\n"), "no column `y`", TARGET,
          sections=TABLE),
    Fault("no UTF-8", csv("a,b,y\n1,2,\xe9\n"), "holds binary", TARGET, sections=TABLE),
    Fault("no Parquet", lambda f: (f / "data.parquet").write_bytes(b"PAR1 no"),
          "cannot be read as parquet",
          sections={"input": {"path": "data.parquet", "columns": "a"}}),
    Fault("source of a table", csv("a,b,y\n1,2,0\n"), "is for folders of images or sounds",
          ("target", "source"), sections=TABLE | {"target": {"source": "folder"}}),
    Fault("too many columns", csv(",".join(map(str, range(50_001)))),
          "more than 50,000 columns, which is the limit", sections=TABLE),
    Fault("whole file system", images, "/ is the whole file system", INPUT,
          sections=IMAGES | {"input": {"path": "/", "layout": "NHW"}}),
    Fault("glob over the whole file system", images, "/ is the whole file system", INPUT,
          sections=IMAGES | {"input": {"path": "/**/*.png", "layout": "NHW"}}),
    # Images and sounds
    Fault("image bomb", image_bomb, "it declares too many points", sections=IMAGES),
    Fault("cut image", then(images, cut("images/a/3.png", 50)), "a/3.png", sections=IMAGES),
    Fault("cut sound", then(sounds, cut("audio/a-4.wav", 50)), "a-4.wav: it is cut, or no WAV file",
          sections=by_pattern("(?P<label>.)-")),
    Fault("pattern without label", sounds, "needs a group (?P<label>", PATTERN,
          sections=by_pattern("(.)-")),
    Fault("no pattern", sounds, "no regular expression", PATTERN,
          sections=by_pattern("(?P<label>.")),
    Fault("names without labels", sounds, "does not match the name", PATTERN,
          sections=by_pattern("(?P<label>c)-")),
    Fault("path in a table", listed("../secret.wav,a"), "leaves the folder", FILE_COLUMN,
          sections=BY_CSV),
    Fault("absolute path in a table", listed("/etc/hostname,a"), "leaves the folder", FILE_COLUMN,
          sections=BY_CSV),
    Fault("file listed twice", listed("a-0.wav,a"), "listed twice", FILE_COLUMN, sections=BY_CSV),
    Fault("file without a label", then(listed(), sound("c.wav")), "c.wav. Add rows, or name only",
          FILE_COLUMN, sections=BY_CSV),
    Fault("several rates", then(sounds, sound("c-20.wav", 16_000)),
          "c-20.wav: its sample rate is 16000", sections=by_pattern("(?P<label>.)-")),
    Fault("spectrogram of arrays", npz(), "is for WAV files", ("input", "representation"),
          sections={"input": NCL | {"layout": None, "representation": "log_mel"}}),
    Fault("folder without a source", images, "target.source", ("target", "source"),
          sections=IMAGES | {"target": {}}),
    Fault("file that is not there", listed("z.wav,a"), "is none of the 20 files", FILE_COLUMN,
          sections=BY_CSV),
    # Other formats
    Fault("code in tensors", lambda f: torch.save({"x": Harmful()}, f / "data.pt"),
          "more than tensors", sections={"input": {"path": "data.pt", "key": "x"}}),
    Fault("expanded tensor", lambda f: torch.save(torch.zeros(1).expand(10**12, 2), f / "data.pt"),
          "more than the file has", sections={"input": {"path": "data.pt"}}),
    Fault("MATLAB struct", lambda f: scipy.io.savemat(f / "data.mat", {"x": {"a": 1}}),
          "is a struct", INPUT_KEY, sections={"input": {"path": "data.mat"}}),
    Fault("MATLAB cells", lambda f: scipy.io.savemat(f / "data.mat", {"x": ragged()}),
          "cell array", INPUT_KEY, sections={"input": {"path": "data.mat", "key": "x"}}),
    Fault("no MATLAB file", lambda f: (f / "data.mat").write_bytes(b"no" * 200), "no MATLAB file",
          sections={"input": {"path": "data.mat", "key": "x"}}),
    Fault("escaping data set", escaping_data_set, "which leaves the folder",
          sections={"input": {"path": "set", "key": "x"}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SWEEPER_HOME in which good data of the task are imported."""
    folder = tmp_path_factory.mktemp("good")
    npz()(folder)
    with registry_restored():
        import_data(folder, define(input=NCL), folder / "home")
    return folder / "home"


def import_data(folder: Path, definition: TaskDefinition, home: Path) -> None:
    """Import the data in a folder as `data import --replace` does."""
    files = {definition.name: folder / "own.task.yaml"}
    register(own_benchmark([definition], home, files), replace=True)
    import_own(definition.name, home, replace=True)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_faulty_data_are_refused_and_the_store_is_kept(fault, tmp_path, home):
    fault.write(tmp_path)
    definition = define(fault.kind, **({"input": NCL} | fault.sections))
    before = content(home)
    with registry_restored(), pytest.raises(DataError) as caught:
        import_data(tmp_path, definition, home)
    message = str(caught.value)
    assert fault.told in message
    assert message.endswith((".", "?"))
    assert isinstance(caught.value, TaskDataError)
    assert caught.value.key in (FILES if fault.key == WHOLE else {fault.key})
    assert content(home) == before


def test_names_in_any_script_are_read(tmp_path):
    folder = tmp_path / "Wäfer ✓ 晶圆"
    folder.mkdir()
    npz()(folder)
    (folder / "data.npz").rename(folder / "карта 1.npz")
    read(folder, define(input=NCL | {"path": "карта 1.npz"}))
