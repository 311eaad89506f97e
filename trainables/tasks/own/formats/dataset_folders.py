"""Folders that `datasets` of Hugging Face writes (`save_to_disk`), read without that package.

    dataset_dict.json                  the names of the splits, each of which is such a folder
    state.json, dataset_info.json      the data files and the features
    data-00000-of-00001.arrow          a stream of Arrow

Names of `ClassLabel` are kept. A column of `Image` is decoded, and must hold the images. A folder
with several splits has a further column `split`: train, val ("validation" there) or test.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import damaged, open_regular, shown
from trainables.tasks.own.definition import InputData, TargetData
from trainables.tasks.own.formats.images import decode_image
from trainables.tasks.own.formats.samples import Block, SampleArray, sliced
from trainables.tasks.own.formats.tables import ColumnTable, arrow_table

__all__ = ["DatasetFolder", "open_dataset"]

MAX_JSON = 2**26
SPLIT = "split"
VALIDATION = ("validation", "valid", "dev")
WAY_OUT = "Save it again by save_to_disk"


@dataclass(frozen=True)
class DatasetFolder:
    """A saved data set, perhaps with several splits one after another."""

    table: ColumnTable
    splits: Sequence[str] = ()  # of each row, if the folder has several
    images: Mapping[str, Any] = field(default_factory=dict)  # columns of images

    @property
    def path(self) -> Path:
        """The folder."""
        return self.table.path

    def inputs(self, wanted: InputData) -> SampleArray:
        name = wanted.key
        if name is not None and name in self.images and not wanted.columns:
            return self._pictures(name, wanted)
        return self.table.inputs(wanted)

    def targets(self, wanted: TargetData) -> SampleArray:
        return self.table.targets(wanted)

    def column(self, name: str, key: tuple[str, ...]) -> SampleArray:
        if name == SPLIT and self.splits and SPLIT not in self.table.names:
            return sliced(f"{self.path}: `{SPLIT}`", np.array(self.splits))
        return self.table.column(name, key)

    def _pictures(self, name: str, wanted: InputData) -> SampleArray:
        where, size = f"{self.path}: `{shown(name)}`", wanted.size

        def decoded(*, grey: bool) -> Iterator[np.ndarray]:
            row = 0
            for batch in self.table.batches([name]):
                for value in batch.column(0).to_pylist():
                    content = (value or {}).get("bytes")
                    if not content:
                        raise DataError(
                            f"{where}: row {row} (counted from 0) names a file instead of holding "
                            "the image. Save the set with its images embedded."
                        )
                    yield decode_image(
                        f"{where}, row {row}", io.BytesIO(content), size=size, grey=grey, deep=False
                    )
                    row += 1

        # An image is grey if its three colours are equal at every point.
        first = next(decoded(grey=False), None)
        if first is None:
            raise DataError(f"{where}: it has no rows.")
        grey = all((image == image[..., :1]).all() for image in decoded(grey=False))
        shape = first.shape[:2] if grey else first.shape

        def read() -> Iterator[Block]:
            for image in decoded(grey=grey):
                if image.shape != shape:
                    raise TaskDataError(
                        f"{where}: images have several sizes, such as {shape[0]} x {shape[1]} and "
                        f"{image.shape[0]} x {image.shape[1]}. Set `input: {{size: [rows, "
                        "columns]}}`.",
                        ("input", "size"),
                    )
                yield image[None]

        return SampleArray(
            where=where,
            count=self.table.count,
            shape=shape,
            dtype=np.dtype(np.uint8),
            read=read,
            layout="NHW" if grey else "NHWC",
        )


def open_dataset(folder: Path) -> DatasetFolder:
    """Open a saved data set.

    Raises:
        DataError: A file is missing or damaged, or names a file elsewhere.
    """
    if not (folder / "dataset_dict.json").is_file():
        return _open_split(folder)
    names = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not names:
        raise damaged(folder / "dataset_dict.json", "it names no splits", WAY_OUT)
    parts = {str(name): _open_split(folder / _plain(folder, name)) for name in names}
    first = next(iter(parts.values()))
    for name, part in parts.items():
        if part.table.schema.names != first.table.schema.names:
            raise DataError(f"{folder / name}: its columns differ from those of other splits.")

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for part in parts.values():
            yield from part.table.batches(columns)

    table = replace(
        first.table,
        path=folder,
        count=sum(part.table.count for part in parts.values()),
        batches=batches,
    )
    splits = [
        "val" if name in VALIDATION else name
        for name, part in parts.items()
        for _ in range(part.table.count)
    ]
    return DatasetFolder(table, splits, first.images)


def _open_split(folder: Path) -> DatasetFolder:
    state, about = _json(folder / "state.json"), _json(folder / "dataset_info.json")
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not listed:
        raise damaged(folder / "state.json", "it names no data files", WAY_OUT)
    files = [
        folder / _plain(folder, each.get("filename") if isinstance(each, dict) else each)
        for each in listed
    ]
    for file in files:
        if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{file}: it is a link that leaves {folder}.")
        open_regular(file).close()
    features = about.get("features")
    features = features if isinstance(features, dict) else {}
    kinds = {
        name: each for name, each in features.items() if isinstance(each, dict) and "_type" in each
    }
    classes = {
        name: [str(label) for label in each.get("names") or ()]
        for name, each in kinds.items()
        if each["_type"] == "ClassLabel" and each.get("names")
    }
    images = {name: each for name, each in kinds.items() if each["_type"] == "Image"}
    return DatasetFolder(arrow_table(folder, files, classes), (), images)


def _plain(folder: Path, name: Any) -> str:
    """Return the name of a file or folder, which must lie directly in `folder`."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
        raise damaged(folder, f"it names `{shown(str(name))}`, which leaves the folder", WAY_OUT)
    return name


def _json(path: Path) -> Mapping[str, Any]:
    with open_regular(path) as file:
        text = file.read(MAX_JSON + 1)
    try:
        content = json.loads(text) if len(text) <= MAX_JSON else None
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"it is no JSON ({error})", WAY_OUT) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is no description of a data set", WAY_OUT)
    return content
