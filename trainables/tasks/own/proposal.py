"""A task file to start from: what a file or folder holds, and how it is probably meant.

    propose(path) -> text of a task file, with comments

Names, shapes and types decide: an array `x` beside an array `y`, a column `label`, folders of
images. Every choice is written out, so that a user can correct it. torch is loaded only to look
into one of its own files.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import shown
from trainables.tasks.own.definition import InputData, TargetData
from trainables.tasks.own.files import absent, readable_files
from trainables.tasks.own.formats.dataset_folders import SPLIT, DatasetFolder
from trainables.tasks.own.formats.endings import is_dataset, is_sample
from trainables.tasks.own.formats.samples import Container, SampleArray
from trainables.tasks.own.formats.tables import ColumnTable, is_list, is_number, is_text
from trainables.tasks.own.opening import open_container
from trainables.tasks.store.split import SPLITS

__all__ = ["propose"]

INPUTS = ("x", "data", "input", "inputs", "image", "images", "img", "signal", "signals", "features")
TARGETS = ("y", "label", "labels", "class", "target", "targets", "output", "outputs", "category")
SPLIT_NAMES = ("split", "set", "subset", "part", "partition")
USUAL_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
NUMBERS = "buifc"  # kinds of NumPy's types
LOOKED_AT = 2**26  # bytes of the inputs that are searched for missing values
FEW_CHANNELS = 4  # of an image
# More distinct numbers than both are no classes: a number, and a share of the samples.
MANY_CLASSES, MOST_CLASSES = 20, 0.2
LISTED = 20  # columns that are written out
SHOWN = 12  # arrays or columns in a comment
EACH_CLASS = 4  # samples that stratified shares need
VAL_SHARES = (0.1, 0.15, 0.2, 0.25, 0.3)  # the usual one first; a small set needs more


@dataclass
class _Draft:
    """The keys of a task file, and remarks on them."""

    kind: str = "classification"
    input: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Any] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)  # what the files hold
    open: list[str] = field(default_factory=list)  # what the user has to fill in
    count: int | None = None  # samples that shares are taken from; None: not known


def propose(path: Path, folder: Path | None = None, *, enough: int = 0) -> str:
    """Return the text of a task file for a file or folder of data.

    Args:
        path: The data.
        folder: Folder of the task file, which its paths are relative to; default: that of `path`.
        enough: Samples that the validation split has if there are enough of them.

    Raises:
        DataError: There is nothing of a known format, or a file is damaged.
    """
    if not path.exists():
        raise DataError(absent(path))
    path = path.absolute()
    folder = path.parent if folder is None else folder.absolute()
    try:
        with TemporaryDirectory() as scratch:
            draft = _draft(path, folder, Path(scratch))
    except (DataError, OSError, AssertionError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise DataError(f"{path}: it cannot be read ({shown(str(error))}).") from error
    return _text(draft, path, enough)


def _draft(path: Path, folder: Path, scratch: Path) -> _Draft:
    if path.is_file() or is_dataset(path):
        draft = _of_container(path, scratch)
        draft.input = {"path": _relative(path, folder), **draft.input}
        return draft
    files = readable_files(path)
    if samples := [file for file in files if is_sample(file)]:
        return _of_samples(path, folder, samples, files)
    if len(files) == 1:
        return _draft(files[0], folder, scratch)
    by_split = {name: file for file in files if (name := _split_of(file.stem))}
    if {"train", "test"} <= by_split.keys():
        draft = _of_container(by_split["train"], scratch)
        draft.splits = {name: _relative(file, folder) for name, file in by_split.items()}
        return draft
    draft = _of_container(files[0], scratch)
    draft.input = {"path": f"{_relative(path, folder)}/*{files[0].suffix}", **draft.input}
    draft.found.append(f"{len(files)} files; the first one was looked at")
    draft.count = None
    return draft


def _relative(path: Path, folder: Path) -> str:
    inside = path.is_relative_to(folder)
    return (path.relative_to(folder) if inside else path).as_posix()


def _split_of(name: str) -> str | None:
    """Return the split that a name tells of, or None."""
    words = re.split(r"[^a-z]+", name.lower())
    for split, names in USUAL_SPLITS.items():
        if any(word in names for word in words):
            return split
    return None


def _of_container(path: Path, scratch: Path) -> _Draft:
    wanted = InputData.model_construct()
    container = open_container(path, scratch, wanted, ())
    if isinstance(container, DatasetFolder):
        return _of_table(container, container.table)
    if isinstance(container, ColumnTable):
        return _of_table(container, container)
    return _of_arrays(path, container, scratch)


# Arrays


def _of_arrays(path: Path, container: Container, scratch: Path) -> _Draft:
    draft = _Draft()
    names: Sequence[str | None] = getattr(container, "names", (None,))
    arrays = {name: samples for name in names if (samples := _array(container, name)) is not None}
    draft.found += [
        f"{name or 'the array'}: {[each.count, *each.shape]} of {each.dtype}"
        for name, each in [*arrays.items()][:SHOWN]
    ]
    wide = {
        name: each for name, each in arrays.items() if each.shape and each.dtype.kind in "buifc"
    }
    if not wide:
        raise DataError(f"{path}: no array of samples [n, …] is there.")
    size = {name: each.count * each.row_bytes for name, each in wide.items()}
    x = max(wide, key=lambda name: (_is_called(name, INPUTS), size[name]))
    inputs = wide[x]
    if x is not None:
        draft.input["key"] = x
    _describe_inputs(draft, inputs)
    others = [name for name, each in arrays.items() if name != x and each.count == inputs.count]
    if part := next((n for n in others if _is_split(container, n)), None):
        draft.splits["column"] = part
        others.remove(part)
    if others:
        y = max(others, key=lambda name: (_is_called(name, TARGETS), -arrays[name].row_bytes))
        draft.target["key"] = y
        _describe_target(draft, _labels(container, y), inputs)
    elif beside := _file_beside(path, inputs.count, scratch):
        draft.target["path"] = beside.name
        _describe_target(draft, _labels(open_container(beside, scratch, _any(), ()), None), inputs)
    else:
        draft.target["path"] = "FILL-IN.npy"
        draft.open.append("target.path: the file of the outputs, one for each sample")
    return draft


def _any() -> InputData:
    return InputData.model_construct()


def _array(container: Container, name: str | None) -> SampleArray | None:
    """Return an array, or None if it holds something else."""
    try:
        return container.targets(TargetData(key=name))
    except DataError:
        return None


def _labels(container: Container, name: str | None) -> SampleArray:
    return container.targets(TargetData(key=name))


def _is_called(name: str | None, usual: Iterable[str]) -> bool:
    return name is not None and name.rpartition("/")[2].lower() in usual


def _is_split(container: Container, name: str | None) -> bool:
    """Return whether an array says `train`, `val` or `test` for each sample."""
    if not _is_called(name, SPLIT_NAMES):
        return False
    values = _labels(container, name)
    return not values.shape and set(values.values().astype(str).tolist()) <= set(SPLITS)


def _file_beside(path: Path, count: int, scratch: Path) -> Path | None:
    """Return the file beside `path` that holds as many outputs."""
    for other in sorted(path.parent.glob(f"*{path.suffix}")):
        words = re.split(r"[^a-z]+", other.stem.lower())
        if other != path and set(words) & set(TARGETS):
            found = _array(open_container(other, scratch, _any(), ()), None)
            if found is not None and found.count == count:
                return other
    return None


def _describe_inputs(draft: _Draft, inputs: SampleArray) -> None:
    draft.count = inputs.count
    draft.input["layout"] = inputs.layout or _layout(inputs)
    if inputs.dtype.kind == "c":
        draft.input["complex"] = "channels"
    if inputs.lengths is not None and len(np.unique(inputs.lengths)) > 1:
        low, high = int(inputs.lengths.min()), int(inputs.lengths.max())
        draft.input["length"] = math.ceil(np.median(inputs.lengths))
        draft.found.append(f"sequences have {low} to {high} points: `length` pads or cuts them")
    elif inputs.dtype.kind in "fc" and _has_gaps(inputs):
        draft.input["missing"] = "mean"
        draft.found.append("some values of the inputs are missing (NaN): `missing` imputes them")


def _layout(inputs: SampleArray) -> str:
    shape = inputs.shape
    if len(shape) == 1:
        return "NL"
    if len(shape) == 2:
        if inputs.dtype == np.uint8 or shape[0] == shape[1] > FEW_CHANNELS:
            return "NHW"
        return "NCL" if shape[0] <= shape[1] else "NLC"
    return "NHWC" if shape[2] <= FEW_CHANNELS < shape[0] else "NCHW"


def _has_gaps(inputs: SampleArray) -> bool:
    seen = 0
    for block in inputs.read():
        if isinstance(block, np.ndarray):
            if np.isnan(block).any():
                return True
            seen += block.nbytes
        if seen > LOOKED_AT:
            break
    return False


def _describe_target(draft: _Draft, outputs: SampleArray, inputs: SampleArray) -> None:
    """Choose the kind of the task by its outputs, and what its shares need."""
    shape = outputs.shape
    if len(shape) > 1 or outputs.lengths is not None:
        draft.kind = "dense"
        layout = outputs.layout or _layout(outputs)
        if layout != draft.input["layout"]:
            draft.target["layout"] = layout
        return
    values = outputs.values()
    number = values.dtype.kind in "buif"
    if shape and shape[0] > 1:
        sets = number and bool(np.isin(values, (0, 1)).all())
        one_hot = sets and bool((values.sum(axis=1) == 1).all())
        draft.kind = "classification" if one_hot else "multilabel" if sets else "regression"
        values = values.argmax(axis=1) if one_hot else values
    elif number:
        whole = bool(np.isfinite(values).all() and (values == np.round(values)).all())
        many = len(np.unique(values)) > max(MANY_CLASSES, MOST_CLASSES * len(values))
        draft.kind = "classification" if whole and not many else "regression"
    if draft.kind == "classification":
        classes, counts = np.unique(values, return_counts=True)
        draft.found.append(f"{len(classes)} classes, of {counts.min()} to {counts.max()} samples")
        if counts.min() < EACH_CLASS or len(classes) > 0.1 * len(values):
            draft.splits["stratified"] = False


# Tables


def _of_table(container: Container, table: ColumnTable) -> _Draft:
    draft, types = _Draft(), {each.name: each.type for each in table.schema}
    draft.found += [f"column {name}: {kind}" for name, kind in [*types.items()][:SHOWN]]
    if more := types.keys() - {*[*types][:SHOWN]}:
        draft.found.append(f"{len(more)} more columns")
    pictures = set(container.images) if isinstance(container, DatasetFolder) else set()
    has_splits = isinstance(container, DatasetFolder) and bool(container.splits)
    columns = [name for name in types if name not in pictures]
    if has_splits:
        draft.splits["column"] = SPLIT
    elif part := next((n for n in columns if _is_split(container, n)), None):
        draft.splits["column"] = part
        columns.remove(part)
    y = _target_column(columns, types, wide=bool(pictures))
    draft.target["key"] = y
    x = _input_columns(columns, types, y)
    if pictures:
        draft.input["key"] = min(pictures)
    elif len(x) == 1:
        draft.input["key"] = x[0]
    elif x:
        draft.input["columns"] = _globbed(x, [*types])
    else:
        raise DataError(f"{table.path}: no column of numbers is there beside `{y}`.")
    if unused := [name for name in columns if name not in (*x, y)]:
        draft.found.append(f"no inputs: {', '.join(unused[:SHOWN])} (text, or a number of the row)")
    wanted = InputData.model_construct(
        key=draft.input.get("key"), columns=tuple(draft.input.get("columns", ())), size=None
    )
    inputs = container.inputs(wanted)
    _describe_inputs(draft, inputs)
    _describe_target(draft, container.targets(TargetData(key=y)), inputs)
    return draft


def _target_column(names: Sequence[str], types: Mapping[str, Any], *, wide: bool) -> str:
    single = [name for name in names if is_number(types[name]) or is_text(types[name])]
    usual = [name for name in single if _is_called(name, TARGETS)]
    if usual:
        return usual[0]
    text = [name for name in single if is_text(types[name])]
    if not wide and len(text) == 1:
        return text[0]
    if not single:
        raise DataError("no column of numbers or text could be the output.")
    return single[-1]


def _input_columns(names: Sequence[str], types: Mapping[str, Any], y: str) -> list[str]:
    others = [name for name in names if name != y and name.lower() not in ("id", "index")]
    lists = [name for name in others if not is_number(types[name]) and not is_text(types[name])]
    if lists := [name for name in lists if is_list(types[name]) or "tensor" in str(types[name])]:
        return lists
    return [name for name in others if is_number(types[name])]


def _globbed(names: Sequence[str], everything: Sequence[str]) -> list[str]:
    """Return the columns, or a glob that means exactly these if they are many."""
    prefix = re.sub(r"\d+$", "", names[0])
    meant = [name for name in everything if name.startswith(prefix)]
    if len(names) > LISTED and prefix and meant == [*names] and not set("*?[") & set(prefix):
        return [f"{prefix}*"]
    return [*names]


# Images and sounds


def _of_samples(path: Path, folder: Path, samples: Sequence[Path], files: Sequence[Path]) -> _Draft:
    from trainables.tasks.own.formats.images import describe_images
    from trainables.tasks.own.formats.sounds import describe_sounds

    kinds = {is_image(file) for file in samples}
    if len(kinds) > 1:
        raise DataError(f"{path}: images and sounds are there. Name a folder of one kind.")
    draft, images = _Draft(), kinds.pop()
    draft.found.append(f"{len(samples)} {'images' if images else 'sounds'}")
    try:
        described = (describe_images if images else describe_sounds)(samples, _any())
    except DataError:
        if not images:
            raise
        size = [64, 64]
        described = describe_images(samples, InputData.model_construct(size=(64, 64)))
        draft.input["size"] = size
        draft.found.append("images differ in size: `size` resizes them")
    _describe_inputs(draft, described)
    draft.input.pop("missing", None)
    parts = {name: each for each in sorted(path.iterdir()) if (name := _split_of(each.name))}
    parts = {name: each for name, each in parts.items() if each.is_dir()}
    if {"train", "test"} <= parts.keys():
        draft.splits = {name: _relative(each, folder) for name, each in parts.items()}
        draft.count = sum(file.is_relative_to(parts["train"]) for file in samples)
    else:
        draft.input = {"path": _relative(path, folder), **draft.input}
    labels = [file.parent.name for file in samples]
    tables = [file for file in files if not is_sample(file)]
    if len(set(labels) - {each.name for each in parts.values()} - {path.name}) > 1:
        draft.target["source"] = "folder"
    elif listed := _listing(tables, samples):
        table, file_column, label_column = listed
        draft.target |= {"source": "csv", "path": _relative(table, folder)}
        draft.target |= {"file_column": file_column, "label_column": label_column}
    else:
        draft.target |= {"source": "pattern", "pattern": "^(?P<label>[^-_.0-9]+)"}
        draft.open.append("target.pattern: an expression whose group `label` is the label")
        labels = [m[1] if (m := re.match("([^-_.0-9]+)", f.name)) else "" for f in samples]
    counts = np.unique(labels, return_counts=True)[1]
    few = draft.target["source"] != "csv" and counts.min() < EACH_CLASS
    if "train" not in draft.splits and (few or len(counts) > 0.1 * len(samples)):
        draft.splits["stratified"] = False
    return draft


def is_image(path: Path) -> bool:
    """Return whether a file is an image by its ending, and not a sound."""
    from trainables.tasks.own.formats.endings import IMAGES

    return path.suffix.lower() in IMAGES


def _listing(tables: Sequence[Path], samples: Sequence[Path]) -> tuple[Path, str, str] | None:
    """Return a table of the files, its column of their names, and its column of labels."""
    names = {file.name for file in samples}
    with TemporaryDirectory() as scratch:
        for path in tables:
            container = open_container(path, Path(scratch), _any(), ())
            if not isinstance(container, ColumnTable):
                continue
            for column in container.names:
                if not is_text(container.schema.field(column).type):
                    continue
                values = container.column(column, ()).values().tolist()
                if values and {Path(value).name for value in values} <= names:
                    others = [name for name in container.names if name != column]
                    types = {each.name: each.type for each in container.schema}
                    return path, column, _target_column(others, types, wide=True)
    return None


# Text


def _text(draft: _Draft, path: Path, enough: int) -> str:
    val = _val_share(draft.count, enough)
    remarks = {"layout": "  # N samples, C channels, L points, H rows, W columns"}
    if draft.count is not None and not {"val", "column"} & draft.splits.keys():
        few = f"; `sweeper plan` warns under {enough}" if enough else ""
        remarks["val"] = f"  # {round(val * draft.count)} of {draft.count} samples{few}"
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:63] or "task"
    lines = [
        "# A task of your own. Check each line, then: sweeper data import THIS-FILE",
        *(f"# {line}" for line in (f"Found in {path.name}:", *draft.found)),
        *(f"# FILL IN {line}" for line in draft.open),
        f"name: mine/{name}  # BENCHMARK/NAME, as in `tasks: [mine/{name}]` of a sweep file",
        f"title: {_value(path.stem)}",
        f"kind: {draft.kind}  # classification | multilabel | dense | regression",
        "input:",
        *_section(draft.input, remarks),
        *(["target:", *_section(draft.target)] if draft.target else []),
        "splits:  # files, or shares of the samples; `group: NAME` keeps groups together",
        *_section({"val": val, **_without_test(draft.splits), **draft.splits}, remarks),
        "# metric: … # default: by kind",
        "standardize: true  # by the mean and deviation of the training split",
        'licence: "not stated"',
    ]
    return "\n".join(lines) + "\n"


def _val_share(count: int | None, enough: int) -> float:
    """Return the least usual share that has enough samples, or 0.2 if none has."""
    if count is None:
        return VAL_SHARES[0]
    return next((share for share in VAL_SHARES if round(share * count) >= enough), 0.2)


def _without_test(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the share of the test split, unless it is given by files or by a column."""
    return {} if {"test", "column"} & splits.keys() else {"test": 0.2}


def _section(
    keys: Mapping[str, Any], remarks: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    return [f"  {key}: {_value(value)}{remarks.get(key, '')}" for key, value in keys.items()]


def _value(value: Any) -> str:
    """Return a value in JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
