"""Files of inputs and of predictions: NumPy, HDF5 and tables. Loads no torch.

Inputs are untrusted, and are read as the data of own tasks are. Predictions are written in whole or
not at all:

    .npy             the predictions
    .npz, .h5        `prediction`; of classes also `label` [n] and `classes` [k]
    .parquet         a column for each number of a prediction (of classes: by their names) and
                     `label`; fields are one column of tensors, `prediction`
    .csv             the same without fields, after `id`: the file or the number of the row
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from trainables.errors import ConfigError, DataError
from trainables.storage.atomic import new_file
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.files import absent, readable_files
from trainables.tasks.own.formats.endings import SOUNDS
from trainables.tasks.own.formats.samples import SampleArray, choose, joined
from trainables.tasks.own.formats.text_tables import first_line, has_header
from trainables.tasks.own.opening import open_container
from trainables.tasks.own.sound import SoundForm

DEFAULT_ARRAY = "x"  # the array of a file that has several
KEY = ("--key",)  # names an array or columns, in messages


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions [n, ...]; of classes or labels also their names [k] and the labels [n, ...]."""

    values: np.ndarray
    classes: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    files: tuple[str, ...] = ()  # of the inputs, if each is one file


@dataclass(frozen=True, kw_only=True)
class RawInputs:
    """Inputs [n, ...], and the names of their files, if each is one file."""

    rows: np.ndarray
    files: tuple[str, ...] = ()


def read_inputs(
    path: Path,
    keys: Sequence[str] = (),
    sound: SoundForm | None = None,
    *,
    columns: Sequence[str] = (),
) -> RawInputs:
    """Return the inputs in a file, as numbers that are not checked further.

    Args:
        path: A .npz, .npy, HDF5, Parquet, Arrow or CSV file; or a WAV file, or a folder of them.
        keys: The name of the array; or names or globs of columns, if the file is a table. None: the
            only array, or `x`; or all columns.
        sound: The form of the task's sounds.
        columns: The columns that the model was trained on, which are taken without `keys`.

    Raises:
        DataError: The file is missing, damaged or of another format, or has no such array.
    """
    from trainables.tasks.importing import reading  # loads torch, which the model needs anyway

    check_input(path)
    if path.is_dir() or path.suffix.lower() in SOUNDS:
        with reading([path]):
            return _sounds(path, sound)
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch, reading([path]):
        samples = _samples(path, Path(scratch), keys, columns)
        blocks = [_as_array(samples, block) for block in samples.read()]
    if not blocks:
        raise DataError(f"{samples.where}: it has no samples.")
    return RawInputs(rows=np.concatenate(blocks))


def check_input(path: Path) -> None:
    """Check that inputs are there: a file, or a folder of sounds.

    Raises:
        DataError: Nothing is there.
    """
    if not path.exists():
        raise DataError(absent(path))


def _sounds(path: Path, form: SoundForm | None) -> RawInputs:
    from trainables.tasks.own.formats.sounds import read_sounds

    if form is None:
        what = "a folder" if path.is_dir() else "a sound"
        raise DataError(f"{path}: {what}, which only models of sounds take: name a file of arrays.")
    files = readable_files(path) if path.is_dir() else [path]
    if not (sounds := [file for file in files if file.suffix.lower() in SOUNDS]):
        raise DataError(f"{path}: no WAV file is there.")
    root = path if path.is_dir() else path.parent
    names = tuple(file.relative_to(root).as_posix() for file in sounds)
    return RawInputs(rows=read_sounds(sounds, form), files=names)


def _samples(path: Path, scratch: Path, keys: Sequence[str], columns: Sequence[str]) -> SampleArray:
    # Names may be numbers, such as years, which are told from samples by the model's own names.
    first = first_line(path)
    places = {str(number) for number in range(len(first))}  # of columns without a name
    is_named = bool({*columns} - places) and {*columns} <= {*first}
    wanted = InputData(header=is_named or has_header(path))  # as it is proposed for a task
    container: Any = open_container(path, scratch, wanted, ("INPUT",))
    if hasattr(container, "schema"):  # a table
        chosen = tuple(keys) or _columns_of(path, container.names, columns)
        found: SampleArray = container.samples(container.selected(chosen, None, KEY), KEY)
        return found
    if len(keys) > 1:
        raise DataError(f"{path}: --key names {joined(keys)}, but its inputs are one array.")
    names: tuple[str, ...] = getattr(container, "names", ())
    # With several arrays and no key, `x` is taken. If that is missing too, `choose` lists what
    # there is.
    name = keys[0] if keys else DEFAULT_ARRAY if DEFAULT_ARRAY in names else None
    if names or name is not None:
        name = choose(path, names, name, KEY)
    array: SampleArray = container.inputs(InputData(key=name))
    return array


def _columns_of(path: Path, there: Sequence[str], trained: Sequence[str]) -> Sequence[str]:
    """Return the columns of a table that a model takes, in the order of its training."""
    missing = [name for name in trained if name not in there]
    has_header = [*there] != [str(number) for number in range(len(there))]
    if not trained or (missing and not has_header):
        return there
    if missing:
        raise DataError(
            f"{path}: no column {joined(missing)}, by which the model was trained. Name columns in "
            "the order of its inputs by --key."
        )
    return trained


def _as_array(samples: SampleArray, block: Any) -> np.ndarray:
    if samples.lengths is not None and len(set(samples.lengths.tolist())) > 1:
        raise DataError(
            f"{samples.where}: sequences have {samples.lengths.min()} to {samples.lengths.max()} "
            "points. A model takes one length: pad or cut them."
        )
    return np.asarray(block) if isinstance(block, np.ndarray) else np.stack(list(block))


def check_output(path: Path) -> None:
    """Check that predictions can be written to a file of this name.

    Raises:
        ConfigError: Its ending belongs to no format, or its folder does not exist.
    """
    if path.suffix.lower() not in WRITTEN:
        raise ConfigError(f"{path}: no format ends in `{path.suffix}`. Write {', '.join(WRITTEN)}.")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: {path.parent} is no folder.")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it.")


def write_predictions(path: Path, found: Predictions) -> None:
    """Write predictions in the format of the file's ending, over an existing file.

    Raises:
        ConfigError: As of `check_output`.
        OSError: The file cannot be written.
    """
    check_output(path)
    # A reader never sees half a file, and a former one stays if this one fails.
    with new_file(path) as aside:
        WRITTEN[path.suffix.lower()](aside, found)


def _arrays(found: Predictions) -> dict[str, np.ndarray]:
    arrays = {"prediction": found.values}
    if found.labels is not None:
        arrays |= {"label": found.labels, "classes": np.array(found.classes)}
    return arrays


def _write_npy(path: Path, found: Predictions) -> None:
    # NumPy appends `.npy` to a name that lacks it, but writes an open file as it is.
    with path.open("wb") as file:
        np.save(file, found.values, allow_pickle=False)


def _write_npz(path: Path, found: Predictions) -> None:
    arrays: Mapping[str, Any] = _arrays(found)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _write_hdf5(path: Path, found: Predictions) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in _arrays(found).items():
            # HDF5 has no type for NumPy's Unicode arrays, only for strings of variable length.
            is_text = array.dtype.kind == "U"
            file.create_dataset(
                name,
                data=array.astype(object) if is_text else array,
                dtype=h5py.string_dtype() if is_text else None,
            )


def _columns(found: Predictions) -> dict[str, np.ndarray]:
    """Return a column for each number of a prediction, after its label."""
    names = found.classes or tuple(map(str, range(found.values.shape[1])))
    columns = {f"prediction {name}": found.values[:, i] for i, name in enumerate(names)}
    # Labels that may occur together are a vector for each sample, which is no column.
    if found.labels is None or found.labels.ndim != 1:
        return columns
    return {"label": found.labels, **columns}


def _write_parquet(path: Path, found: Predictions) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns: Any = _columns(found) if found.values.ndim == 2 else {}
    # Fields have three axes and more, which a table holds as tensors of one shape.
    if not columns:
        values = np.ascontiguousarray(found.values)
        columns = {"prediction": pa.FixedShapeTensorArray.from_numpy_ndarray(values)}
    parquet.write_table(pa.table(columns), path)


def _write_csv(path: Path, found: Predictions) -> None:
    import pandas as pd

    if found.values.ndim != 2:
        raise ConfigError("fields fill no rows of a CSV file: write .npz, .h5 or .parquet.")
    columns = {"id": list(found.files) or np.arange(len(found.values)), **_columns(found)}
    pd.DataFrame(columns).to_csv(path, index=False)


WRITTEN: Mapping[str, Callable[[Path, Predictions], None]] = MappingProxyType(
    {
        ".npz": _write_npz,
        ".npy": _write_npy,
        ".h5": _write_hdf5,
        ".hdf5": _write_hdf5,
        ".parquet": _write_parquet,
        ".pq": _write_parquet,
        ".csv": _write_csv,
    }
)
