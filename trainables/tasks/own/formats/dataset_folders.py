"""Folders that `datasets` of Hugging Face writes (`save_to_disk`), read without that package.

    dataset_dict.json                  the names of the splits, each of which is such a folder
    state.json, dataset_info.json      the data files and the features
    data-00000-of-00001.arrow          a stream of Arrow

Names of `ClassLabel` are kept. A column of `Image` is decoded, and must hold the images. A folder
with several splits has a further column `split`: train, val ("validation" there) or test.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged, open_regular, shown
from trainables.tasks.own.formats.tables import ColumnTable, arrow_table

MAX_JSON = 2**26
SPLIT = "split"
VALIDATION = ("validation", "valid", "dev")
WAY_OUT = "Save it again by save_to_disk"


def open_dataset(folder: Path) -> ColumnTable:
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
        if part.names != first.names:
            raise DataError(f"{folder / name}: its columns differ from those of other splits.")

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # Where `split` alone is wanted, another column tells the lengths of the batches.
        stored = [name for name in columns if name in first.names] or first.names[:1]
        for name, part in parts.items():
            split = "val" if name in VALIDATION else name
            for batch in part.batches(stored):
                if SPLIT not in first.names:
                    batch = batch.append_column(SPLIT, pa.array([split] * len(batch)))
                yield batch.select([*columns])

    schema, added = first.schema, frozenset({SPLIT} - {*first.names})
    if added:
        schema = schema.append(pa.field(SPLIT, pa.string()))
    count = sum(part.count for part in parts.values())
    return replace(first, path=folder, schema=schema, count=count, batches=batches, added=added)


def _open_split(folder: Path) -> ColumnTable:
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
        # Arrow opens the file by its path later, and would wait for a pipe.
        open_regular(file).close()
    features = about.get("features")
    features = features if isinstance(features, dict) else {}
    kinds = {name: each for name, each in features.items() if isinstance(each, dict)}
    classes = {
        name: [str(label) for label in each.get("names") or ()]
        for name, each in kinds.items()
        if each.get("_type") == "ClassLabel" and each.get("names")
    }
    images = frozenset(name for name, each in kinds.items() if each.get("_type") == "Image")
    return replace(arrow_table(folder, files, classes), images=images)


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
