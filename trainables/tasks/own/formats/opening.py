"""The choice of a format by the ending of a file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from trainables.errors import TaskDataError
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.formats.samples import Container

__all__ = ["READABLE", "is_readable", "open_container"]

PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
Opener = Callable[[Path, Path, InputData], Container]


def _npy(path: Path, scratch: Path, wanted: InputData) -> Container:
    from trainables.tasks.own.formats.numpy_files import NpyFile

    del wanted
    return NpyFile(path, scratch)


def _npz(path: Path, scratch: Path, wanted: InputData) -> Container:
    from trainables.tasks.own.formats.numpy_files import NpzFile

    del wanted
    return NpzFile(path, scratch)


def _hdf5(path: Path, scratch: Path, wanted: InputData) -> Container:
    from trainables.tasks.own.formats.hdf5_file import Hdf5File

    del scratch, wanted
    return Hdf5File(path)


def _table(path: Path, scratch: Path, wanted: InputData) -> Container:
    from trainables.tasks.own.formats.long_tables import LongTable
    from trainables.tasks.own.formats.tables import open_table

    table = open_table(path, scratch, header=wanted.header)
    return table if wanted.sample is None else LongTable(table, wanted.sample, scratch)


ARRAYS: Mapping[str, Opener] = {
    ".npy": _npy,
    ".npz": _npz,
    **dict.fromkeys((".h5", ".hdf5", ".he5", ".hdf"), _hdf5),
    **dict.fromkeys((".parquet", ".pq", ".arrow", ".feather", ".ipc", ".csv", ".tsv"), _table),
}
READABLE = tuple(ARRAYS)


def is_readable(path: Path) -> bool:
    """Return whether the ending of a file is that of a format."""
    return path.suffix.lower() in ARRAYS


def open_container(path: Path, scratch: Path, wanted: InputData, key: tuple[str, ...]) -> Container:
    """Open a file by its ending.

    Args:
        path: The file.
        scratch: Folder for parts that do not fit in memory.
        wanted: The part `input` of the task file.
        key: Key of the task file that names the file.

    Raises:
        TaskDataError: The format is not known, or it is a pickle.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise TaskDataError(
            f"{path}: a pickle may run code when it is read, so it is never read. Save its arrays "
            "with numpy.savez.",
            key,
        )
    if suffix not in ARRAYS:
        raise TaskDataError(
            f"{path}: its format is not known by `{suffix or path.name}`. Known endings: "
            f"{', '.join(READABLE)}.",
            key,
        )
    return ARRAYS[suffix](path, scratch, wanted)
