"""The store: one data set as a folder of memory-mapped Arrow files and a manifest.

    <folder>/manifest.json                 what the data are, their shapes, sizes and hashes
    <folder>/{train,val,test}.arrow        sample_id, x, y, params; one record batch a file

Arrays are fixed-shape tensor columns of an uncompressed IPC file, so that reading one is a view of
the page cache, shared by all processes of a machine. A folder is written aside, synced and renamed:
it is whole or it is not there.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainables.errors import DataError
from trainables.tasks.task import SPLITS, Split

__all__ = ["SCHEMA_VERSION", "SplitData", "Store", "write_store"]

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """What a split is written from: float32 x [n, c_in, *grid] and y, ids [n], params [n, ...]."""

    sample_id: np.ndarray
    x: np.ndarray
    y: np.ndarray
    params: Mapping[str, np.ndarray] = field(default_factory=dict)


def write_store(
    folder: Path, splits: Mapping[str, SplitData], description: Mapping[str, Any]
) -> None:
    """Writes `folder`, which must not exist, with `description` in its manifest.

    Raises:
        DataError: an array is not finite, not float32, or its length differs from its split's.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        files = {}
        for name in SPLITS:
            path = aside / f"{name}.arrow"
            _check_arrays(folder / path.name, splits[name])
            _write_batch(path, splits[name])
            files[path.name] = {
                "bytes": path.stat().st_size,
                "sha256": _sha256(path),
                "samples": len(splits[name].x),
            }
        manifest = {
            **description,
            "schema_version": SCHEMA_VERSION,
            "dtype": "float32",
            "shapes": {
                "x": list(splits["train"].x.shape[1:]),
                "y": list(splits["train"].y.shape[1:]),
            },
            "files": files,
        }
        manifest["content_hash"] = _content_hash(manifest)
        with (aside / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1, sort_keys=True, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o755)
        _sync_folder(aside)
        aside.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


class Store:
    """A folder of `write_store`, checked on opening and read on demand. Pickles as its path.

    Raises:
        DataError: the manifest or a file is missing, altered, cut short or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder / MANIFEST)
        for name, entry in self.manifest["files"].items():
            _check_size(folder / name, entry["bytes"])

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        return type(self), (self.folder,)

    @property
    def content_hash(self) -> str:
        """The hash of the data and of the description that they came with."""
        return str(self.manifest["content_hash"])

    @cached_property
    def train(self) -> Split:
        """The training split, mapped when first read."""
        return self._split("train")

    @cached_property
    def val(self) -> Split:
        """The validation split, mapped when first read."""
        return self._split("val")

    @cached_property
    def test(self) -> Split:
        """The test split, mapped when first read."""
        return self._split("test")

    def columns(self, split: str) -> dict[str, np.ndarray]:
        """Returns sample_id [n] and every parameter [n] or [n, k] of a split."""
        batch = self._batch(split)
        columns = {"sample_id": batch.column("sample_id").to_numpy()}
        if "params" in batch.schema.names:
            params = batch.column("params")
            for i, parameter in enumerate(params.type):
                values = params.field(i)
                flat = isinstance(values, pa.FixedSizeListArray)
                width = parameter.type.list_size if flat else 1
                array = (values.flatten() if flat else values).to_numpy()
                columns[parameter.name] = array.reshape(-1, width) if flat else array
        return columns

    def verify(self) -> None:
        """Reads every byte.

        Raises:
            DataError: a hash differs from the manifest's, or a value is not finite.
        """
        for name, entry in self.manifest["files"].items():
            path = self.folder / name
            if _sha256(path) != entry["sha256"]:
                raise _altered(path, "its sha256 differs from the manifest's")
            split = self._split(path.stem)
            for column, array in (("x", split.x), ("y", split.y)):
                _check_finite(path, column, array)

    def _batch(self, split: str) -> Any:
        path = self.folder / f"{split}.arrow"
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (pa.ArrowException, OSError) as error:
            raise _altered(path, f"it is no Arrow file of ours ({error})") from error

    def _split(self, split: str) -> Split:
        path = self.folder / f"{split}.arrow"
        batch = self._batch(split)
        arrays = {}
        for column in ("x", "y"):
            expected = (
                self.manifest["files"][path.name]["samples"],
                *self.manifest["shapes"][column],
            )
            if column not in batch.schema.names:
                raise _altered(path, f"it has no column `{column}`")
            array = batch.column(column).to_numpy_ndarray()
            if array.shape != expected or array.dtype != np.float32:
                raise _altered(
                    path,
                    f"`{column}` is {array.dtype}{list(array.shape)}, but the manifest says "
                    f"float32{list(expected)}",
                )
            arrays[column] = array
        return Split(**arrays)


def _write_batch(path: Path, data: SplitData) -> None:
    columns: dict[str, Any] = {
        "sample_id": pa.array(data.sample_id, pa.int64()),
        "x": _tensor_column(data.x),
        "y": _tensor_column(data.y),
    }
    if data.params:
        columns["params"] = pa.StructArray.from_arrays(
            [_param_column(values) for values in data.params.values()], names=list(data.params)
        )
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    options = pa.ipc.IpcWriteOptions(allow_64bit=True)
    with path.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def _tensor_column(array: np.ndarray) -> Any:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))


def _param_column(values: np.ndarray) -> Any:
    if values.ndim == 1:
        return pa.array(np.ascontiguousarray(values))
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _check_arrays(path: Path, data: SplitData) -> None:
    for column, array in (("x", data.x), ("y", data.y)):
        if array.dtype != np.float32 or len(array) != len(data.sample_id):
            raise DataError(
                f"{path}: `{column}` must be float32 with {len(data.sample_id)} samples, but got "
                f"{array.dtype}{list(array.shape)}."
            )
        _check_finite(path, column, array)


def _check_finite(path: Path, column: str, array: np.ndarray) -> None:
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise DataError(
            f"{path}: `{column}` is not finite in {len(rows)} of {len(array)} samples, the first "
            f"in row {rows[0]}."
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, recorded = manifest["schema_version"], manifest["content_hash"]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no data set here. Generate it, or import it.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _altered(path, f"it is not a manifest ({error!r})") from error
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version}, but this program reads {SCHEMA_VERSION}. "
            "Delete the folder, and the data are made anew."
        )
    if recorded != _content_hash(manifest):
        raise _altered(path, "its content does not have the hash that it states")
    return dict(manifest)


def _check_size(path: Path, expected: int) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise _altered(path, "it is missing") from None
    if size != expected:
        raise _altered(path, f"it has {size} bytes, but the manifest says {expected}")


def _altered(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: {reason}. Delete {path.parent}, and the data are made anew.")


def _content_hash(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "content_hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
