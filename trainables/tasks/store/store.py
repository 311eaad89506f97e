"""The store: one data set as a folder of memory-mapped Arrow files and a manifest.

    <folder>/manifest.json                 a description of the data, their shapes, sizes, hashes
    <folder>/{train,val,test}.arrow        sample_id, x, y, groups, params in one record batch

Arrays are fixed-shape tensor columns of an uncompressed IPC file. An array is therefore a view of
the page cache, which all processes of a machine share. Inputs may be stored compactly and converted
when a batch is read. A folder is written under another name, synced and renamed, so it is complete
or absent.
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from trainables.errors import DataError
from trainables.storage.atomic import new_folder, sync
from trainables.tasks.store.arrays import release, row_blocks
from trainables.tasks.store.manifest import (
    altered,
    check_size,
    read_manifest,
    sha256,
    write_manifest,
)
from trainables.tasks.store.rows import present
from trainables.tasks.store.split import SPLITS, Split, SplitData

__all__ = ["Store", "write_store"]

DTYPES = {"x": ("float32", "float16", "uint8"), "y": ("float32", "int64")}


def write_store(
    folder: Path, splits: Mapping[str, SplitData], description: Mapping[str, Any]
) -> None:
    """Write a data set.

    Args:
        folder: The target. It must not exist.
        splits: Arrays by split.
        description: Further entries of the manifest. `input_scaling` and `pair_features` determine
            the conversion of the inputs (`present`).

    Raises:
        DataError: An array is empty or not finite, or has an invalid type or length.
    """
    with new_folder(folder) as aside, ThreadPoolExecutor(len(SPLITS)) as together:

        def written(name: str) -> tuple[str, dict[str, Any]]:
            path, data = aside / f"{name}.arrow", splits[name]
            _check_arrays(folder / path.name, data)
            digest = _write_batch(path, data)
            sync(path)
            size, samples = path.stat().st_size, len(data.x)
            return path.name, {"sha256": digest, "bytes": size, "samples": samples}

        # All splits are written at the same time, because their hashes take longer than the disk.
        files = dict(together.map(written, SPLITS))
        train = splits["train"]
        content = {
            "dtypes": {column: str(getattr(train, column).dtype) for column in DTYPES},
            "shapes": {column: list(getattr(train, column).shape[1:]) for column in DTYPES},
            "files": files,
        }
        write_manifest(aside, {**description, **content})


class Store:
    """A folder of `write_store`. It is checked on opening, read on demand, and pickled as a path.

    Raises:
        DataError: The manifest or a file is missing, altered, truncated or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        for name, entry in self.manifest["files"].items():
            check_size(folder / name, entry["bytes"])

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        # A pickle of mapped arrays would hold a copy of their content.
        return type(self), (self.folder,)

    @property
    def content_hash(self) -> str:
        """The hash of the data and of their description."""
        return str(self.manifest["content_hash"])

    @cached_property
    def train(self) -> Split:
        """The training split, mapped at its first use."""
        return self.head("train")

    @cached_property
    def val(self) -> Split:
        """The validation split, mapped at its first use."""
        return self.head("val")

    @cached_property
    def test(self) -> Split:
        """The test split, mapped at its first use."""
        return self.head("test")

    def head(self, split: str, samples: int | None = None) -> Split:
        """Return the first samples of a split, or all, as a network takes them (views)."""
        arrays = {name: array[:samples] for name, array in self.stored(split).items()}
        ids = self._batch(split).column("sample_id").to_numpy()
        return Split(
            x=present(arrays["x"], self.manifest),
            y=arrays["y"],
            groups=arrays.get("groups"),
            sample_id=ids[:samples],
        )

    def columns(self, split: str) -> dict[str, np.ndarray]:
        """Return sample_id [n] and every parameter [n] or [n, k] of a split."""
        batch = self._batch(split)
        columns = {"sample_id": batch.column("sample_id").to_numpy()}
        # Parameters of several numbers are lists of fixed size, stored flat.
        if "params" in batch.schema.names:
            params = batch.column("params")
            for i, parameter in enumerate(params.type):
                values = params.field(i)
                flat = isinstance(values, pa.FixedSizeListArray)
                width = parameter.type.list_size if flat else 1
                array = (values.flatten() if flat else values).to_numpy()
                columns[parameter.name] = array.reshape(-1, width) if flat else array
        return columns

    def verify(self, *splits: str) -> None:
        """Read and check every byte of these splits, or of all splits.

        Raises:
            DataError: A hash differs from the manifest, or a value is not finite.
        """
        for split in splits or SPLITS:
            path = self.folder / f"{split}.arrow"
            if sha256(path) != self.manifest["files"][path.name]["sha256"]:
                raise altered(path, "its sha256 differs from the manifest's")
            for column, array in self.stored(split).items():
                check_finite(path, column, array)

    def _batch(self, split: str) -> Any:
        path = self.folder / f"{split}.arrow"
        try:
            return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (pa.ArrowException, OSError) as error:
            raise altered(path, f"it is no Arrow file of ours ({error})") from error

    def stored(self, split: str) -> dict[str, np.ndarray]:
        """Return x, y and, if present, groups of a split, mapped and not converted.

        Raises:
            DataError: An array differs from the manifest.
        """
        # Types and shapes are checked against the manifest, whose hash was verified on opening.
        path = self.folder / f"{split}.arrow"
        batch = self._batch(split)
        samples = self.manifest["files"][path.name]["samples"]
        dtypes = self.manifest["dtypes"]
        arrays = {}
        for column in DTYPES:
            expected = [samples, *self.manifest["shapes"][column]]
            if column not in batch.schema.names:
                raise altered(path, f"it has no column `{column}`")
            array = _to_numpy(batch.column(column))
            if list(array.shape) != expected or array.dtype != dtypes[column]:
                raise altered(
                    path,
                    f"`{column}` is {array.dtype}{list(array.shape)}, but the manifest says "
                    f"{dtypes[column]}{expected}",
                )
            arrays[column] = array
        if "groups" in batch.schema.names:
            arrays["groups"] = _to_numpy(batch.column("groups"))
        return arrays


def _write_batch(path: Path, data: SplitData) -> str:
    """Write the file of a split, and return its SHA-256."""
    # One record batch per file, so that reading an array is a view without copies.
    columns: dict[str, Any] = {
        "sample_id": pa.array(data.sample_id, pa.int64()),
        "x": _tensor_column(data.x),
        "y": _tensor_column(data.y),
    }
    if data.groups is not None:
        columns["groups"] = pa.array(data.groups, pa.int64())
    if data.params:
        columns["params"] = pa.StructArray.from_arrays(
            [_param_column(values) for values in data.params.values()], names=list(data.params)
        )
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    # Without this, Arrow refuses columns of 2^31 numbers or more.
    options = pa.ipc.IpcWriteOptions(allow_64bit=True)
    with path.open("wb") as file, ThreadPoolExecutor(2) as beside:
        sink = _Blockwise(file, beside, sources=(data.x, data.y))
        with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
    return sink.digest.hexdigest()


class _Blockwise(io.RawIOBase):
    """File that writes a buffer in blocks and releases the mapped source arrays.

    Each block is hashed while it is written, and the disk works from the first block on.
    """

    def __init__(
        self, file: BinaryIO, beside: ThreadPoolExecutor, sources: Sequence[np.ndarray]
    ) -> None:
        self.file, self.beside, self.sources = file, beside, sources
        self.digest = hashlib.sha256()
        self.flushed: Future[None] | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.file.tell()

    def write(self, buffer: Any) -> int:
        content = np.frombuffer(buffer, dtype=np.uint8)
        for block in row_blocks(content):
            hashed = self.beside.submit(self.digest.update, block.data)
            self.file.write(block.data)
            hashed.result()
            if self.flushed is None or self.flushed.done():
                self.flushed = self.beside.submit(os.fdatasync, self.file.fileno())
            for source in self.sources:
                release(source)
        return len(content)


def _tensor_column(array: np.ndarray) -> Any:
    contiguous = np.ascontiguousarray(array)
    if array.ndim == 1:
        return pa.array(contiguous)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(contiguous)


def _to_numpy(column: Any) -> np.ndarray:
    tensor = isinstance(column, pa.FixedShapeTensorArray)
    array: np.ndarray = column.to_numpy_ndarray() if tensor else column.to_numpy()
    return array


def _param_column(values: np.ndarray) -> Any:
    if values.ndim == 1:
        return pa.array(np.ascontiguousarray(values))
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _check_arrays(path: Path, data: SplitData) -> None:
    samples = len(data.sample_id)
    if not samples:
        raise DataError(f"{path}: the split has no samples.")
    for column, dtypes in DTYPES.items():
        array = getattr(data, column)
        if str(array.dtype) not in dtypes or len(array) != samples:
            raise DataError(
                f"{path}: `{column}` must be {' or '.join(dtypes)} with {samples} samples, but got "
                f"{array.dtype}{list(array.shape)}."
            )
        check_finite(path, column, array)


def check_finite(path: Path, column: str, array: np.ndarray) -> None:
    if array.dtype.kind != "f":
        return
    # A sum is finite only if each of its terms is. It takes half the time of looking at each.
    with np.errstate(over="ignore", invalid="ignore"):
        if all(np.isfinite(rows.sum(dtype=np.float32)) for rows in row_blocks(array)):
            return
    # A sum may overflow though its terms are finite, so that only this look decides.
    broken = [~np.isfinite(rows).reshape(len(rows), -1).all(axis=1) for rows in row_blocks(array)]
    rows = np.flatnonzero(np.concatenate(broken))
    if len(rows):
        raise DataError(
            f"{path}: `{column}` is not finite in {len(rows)} of {len(array)} samples, the first "
            f"in row {rows[0]}."
        )
