"""A task file to start from: what a file or folder holds, and how it is probably meant.

    propose(path) -> text of a task file, with comments

Names, shapes and types decide: an array `x` beside an array `y`, a column `label`, folders of
images. Every choice is written out, so that a user can correct it. torch is loaded only to look
into one of its own files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from trainables.errors import DataError
from trainables.tasks.formats.files import shown
from trainables.tasks.own.definition import FILL_IN, InputData, TargetData
from trainables.tasks.own.draft import (
    INPUTS,
    TARGETS,
    Draft,
    are_classes,
    by_split,
    describe_inputs,
    describe_target,
    is_called,
    role,
    target_column,
)
from trainables.tasks.own.files import absent, readable_files, relative
from trainables.tasks.own.formats.endings import CSV, IMAGES, is_dataset, is_sample
from trainables.tasks.own.formats.samples import (
    Container,
    SampleArray,
    check_as_many,
    joined,
    sliced,
)
from trainables.tasks.own.formats.tables import ColumnTable, is_list, is_number, is_text
from trainables.tasks.own.formats.text_tables import has_header
from trainables.tasks.own.opening import open_container
from trainables.tasks.store.split import SPLITS

NUMBERS = "buifc"  # kinds of NumPy's types
SPLIT_NAMES = ("split", "set", "subset", "part", "partition")
MAX_LISTED = 20  # columns that are written out
MAX_SHOWN = 12  # arrays or columns in a comment
VAL_SHARES = (0.1, 0.15, 0.2, 0.25, 0.3)  # the usual one first; a small set needs more
ROW_NUMBER = re.compile(r"(id|index|unnamed: \d+|__index_level_\d+__)?", re.I)
PATTERNS = (  # where names of files have labels, the usual place first
    "^(?P<label>[^_]+)_",
    "^(?P<label>[^-]+)-",
    r"^(?P<label>[^.]+)\.\d",
    r"^(?P<label>\D+?)[-_. ]*\d",
)


def propose(path: Path, *, enough: int = 0) -> str:
    """Return the text of a task file that lies beside a file or folder of data.

    Args:
        path: The data.
        enough: Samples that the validation split has if there are enough of them.

    Raises:
        DataError: There is nothing of a known format, or a file is damaged.
    """
    if not path.exists():
        raise DataError(absent(path))
    path = path.absolute()
    try:
        with TemporaryDirectory() as scratch:
            draft = _draft(path, path.parent, Path(scratch))
    except (DataError, OSError, AssertionError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise DataError(f"{path}: it cannot be read ({shown(str(error))}).") from error
    return _text(draft, path, enough)


def _draft(path: Path, folder: Path, scratch: Path) -> Draft:
    if path.is_file() or is_dataset(path):
        draft = _of_container(path, scratch)
        draft.input = {"path": relative(path, folder), **draft.input}
        return draft
    files = readable_files(path)
    if samples := [file for file in files if is_sample(file)]:
        return _of_samples(path, samples, files, scratch)
    if len(files) == 1:
        return _draft(files[0], folder, scratch)
    parts = by_split(files)
    if "train" in parts and len(parts) > 1:
        return _of_split_files(parts, files, folder, scratch)
    first = next((file for file in files if not _holds_targets(file)), files[0])
    draft = _of_container(first, scratch)
    beside = first.with_name(draft.target.get("path", FILL_IN))
    if beside in files:
        draft.target["path"] = relative(beside, folder)
    used = [file for file in files if file.suffix == first.suffix and file != beside]
    whole = f"{relative(path, folder)}/*{first.suffix}"
    named = whole if beside not in files else [relative(file, folder) for file in used]
    draft.input = {"path": named, **draft.input}
    if len(used) > 1:
        draft.found.append(f"{len(used)} files; the first one was looked at")
    draft.say_left_out([file for file in files if file not in (*used, beside)], folder)
    if len(used) == 1:
        return draft
    # Only the samples of the first file are counted, and shares are taken from all.
    draft.count = None
    return draft


def _of_split_files(
    parts: Mapping[str, Sequence[Path]], files: Sequence[Path], folder: Path, scratch: Path
) -> Draft:
    """Return the draft of files whose names tell their splits: those with samples of one shape."""
    first = next((file for file in parts["train"] if not _holds_targets(file)), parts["train"][0])
    draft = _of_container(first, scratch)
    named = {
        split: [f for f in found if "path" not in draft.target or not _holds_targets(f)]
        for split, found in parts.items()
    }
    shape = _shape(first, draft, scratch)
    fit = {
        s: [f for f in found if _shape(f, draft, scratch) == shape] for s, found in named.items()
    }
    draft.add_splits(fit, folder)
    used = [file for split in SPLITS for file in fit.get(split, ())]
    if "path" in draft.target and all(beside := [_file_beside(file) for file in used]):
        draft.target["path"] = [relative(file, folder) for file in beside if file]
        used += [file for file in beside if file]
    draft.say_left_out([file for file in files if file not in used], folder)
    return draft


def _holds_targets(path: Path) -> bool:
    return is_called(path.stem, TARGETS)


def _shape(path: Path, draft: Draft, scratch: Path) -> tuple[int, ...] | None:
    """Return the shape of a sample, without an axis that `length` makes equal; None: no sample."""
    wanted = InputData.model_construct(
        **{**draft.input, "columns": tuple(draft.input.get("columns", ())), "missing": "mean"}
    )
    try:
        container = open_container(path, scratch, wanted, ())
        if "path" not in draft.target:
            container.targets(TargetData(key=draft.target["key"]))
        inputs = container.inputs(wanted)
    except DataError:
        return None
    return inputs.shape[:-1] if inputs.lengths is not None else inputs.shape


def _of_container(path: Path, scratch: Path) -> Draft:
    container, header = _opened(path, scratch)
    if isinstance(container, ColumnTable):
        draft = _of_table(container, header=header)
        draft.input |= {} if header else {"header": False}
        return draft
    return _of_arrays(path, container, scratch)


def _opened(path: Path, scratch: Path) -> tuple[Container, bool]:
    """Open a file, and return whether its first line seems to name its columns."""
    header = has_header(path)
    return open_container(path, scratch, InputData.model_construct(header=header), ()), header


def _of_arrays(path: Path, container: Container, scratch: Path) -> Draft:
    draft = Draft()
    names: Sequence[str | None] = getattr(container, "names", (None,))
    arrays: dict[str | None, SampleArray] = {}
    for name in names:
        try:
            arrays[name] = container.targets(TargetData(key=name))
        except DataError as error:  # it holds something else
            draft.found.append(f"left out: {shown(str(error))}")
    draft.found += [
        f"{name or 'the array'}: {[each.count, *each.shape]} of {each.dtype}"
        for name, each in [*arrays.items()][:MAX_SHOWN]
    ]
    roles = {name: role(name or "") for name in arrays}
    wide = {
        name: each for name, each in arrays.items() if each.shape and each.dtype.kind in NUMBERS
    }
    if not wide:
        raise DataError(f"{path}: no array of samples [n, …] is there.")
    own = arrays
    if any(roles[name][0] == "train" for name in wide):  # and not a mask alone
        own = {name: each for name, each in arrays.items() if roles[name][0] == "train"}
        wide = {name: each for name, each in wide.items() if name in own}
    size = {name: each.count * each.row_bytes for name, each in wide.items()}
    # Without a usual name, the largest array is the likeliest input.
    x = max(wide, key=lambda name: (is_called(name, INPUTS), size[name]))
    inputs = wide[x]
    draft.input |= {} if x is None else {"key": x}
    describe_inputs(draft, inputs)
    others = {name: each for name, each in own.items() if name != x}
    if part := next((name for name in others if _is_split(container, name)), None):
        draft.splits["column"] = part
        del others[part]
    y = _output_array(inputs, others)
    if y is None:
        _describe_file_beside(draft, path, inputs, scratch)
    else:
        draft.target["key"] = y
        describe_target(draft, arrays[y])
    used = {x, part, y}
    for split in ("val", "test"):
        pair = [
            name for of in (x, y) for name in arrays if roles[name] == (split, role(of or "")[1])
        ]
        if y and len(pair) == 2:
            draft.splits[split] = dict(zip(("input", "target"), pair, strict=True))
            used |= {*pair}
    if left_out := [str(name) for name in arrays if name not in used]:
        draft.found.append(f"left out: {joined(left_out)}")
    return draft


def _output_array(inputs: SampleArray, others: Mapping[str | None, SampleArray]) -> str | None:
    """Return the name of the outputs, or None if none of the other arrays can be these.

    Raises:
        DataError: The array that is called so has not as many samples as the inputs.
    """
    fit = [name for name, each in others.items() if each.count == inputs.count]
    named = [name for name in others if is_called(name, TARGETS)]
    if named and not {*named} & {*fit}:
        check_as_many(inputs, others[named[0]])
    # Without a usual name, the array with the smallest rows is the likeliest output.
    return max(fit, key=lambda n: (n in named, -others[n].row_bytes), default=None)


def _describe_file_beside(draft: Draft, path: Path, inputs: SampleArray, scratch: Path) -> None:
    """Describe the outputs that have a file of their own."""
    beside = _file_beside(path)
    if beside is None:
        draft.target["path"] = FILL_IN
        draft.open.append("target.path: the file of the outputs, one for each sample")
        return
    outputs = open_container(beside, scratch, InputData.model_construct(), ()).targets(TargetData())
    # One file of outputs may be that of several files of inputs, which the import counts.
    if len([*path.parent.glob(f"*{path.suffix}")]) == 2:
        check_as_many(inputs, outputs)
    draft.target["path"] = beside.name
    describe_target(draft, outputs)


def _is_split(container: Container, name: str | None) -> bool:
    """Return whether an array says `train`, `val` or `test` for each sample."""
    if not is_called(name, SPLIT_NAMES):
        return False
    values = container.targets(TargetData(key=name))
    return not values.shape and set(values.values().astype(str).tolist()) <= set(SPLITS)


def _file_beside(path: Path) -> Path | None:
    """Return the file of outputs beside `path`, of the same split if its name tells one."""
    found = [
        other
        for other in sorted(path.parent.glob(f"*{path.suffix}"))
        if other != path
        and role(other.stem)[0] == role(path.stem)[0]
        and {*role(other.stem)[1].split("_")} & {*TARGETS}
    ]
    return found[0] if found else None


def _of_table(table: ColumnTable, *, header: bool) -> Draft:
    draft, types = Draft(), {each.name: each.type for each in table.schema}
    draft.found += [f"column {name}: {kind}" for name, kind in [*types.items()][:MAX_SHOWN]]
    if more := types.keys() - {*[*types][:MAX_SHOWN]}:
        draft.found.append(f"{len(more)} more columns")
    columns = [name for name in types if name not in table.images]
    if part := next((n for n in columns if _is_split(table, n)), None):
        draft.splits["column"] = part
        columns.remove(part)
    bad = {name: cells for name in columns if (cells := table.bad_cells(name))}
    # A few bad cells make text of a column whose other cells are numbers.
    types |= dict.fromkeys(bad, pa.float64())
    draft.found += [f"column {name}: {cells}" for name, cells in bad.items()]
    y = _output_column(table, columns, types, header=header)
    draft.target["key"] = y
    _describe_input_columns(draft, table, columns, types)
    wanted = InputData.model_construct(
        key=draft.input.get("key"), columns=tuple(draft.input.get("columns", ())), missing="mean"
    )
    inputs = table.inputs(wanted)
    describe_inputs(draft, inputs)
    if y in bad:
        draft.kind = "regression"
        draft.open.append(f"a number for each bad cell of column {y}: outputs cannot be imputed")
    else:
        describe_target(draft, table.targets(TargetData(key=y)))
    return draft


def _output_column(
    table: ColumnTable, columns: Sequence[str], types: Mapping[str, Any], *, header: bool
) -> str:
    """Return the column that is probably the output.

    Raises:
        DataError: A column of text is none, or that which is called so is empty.
    """
    for name, kind in types.items():
        if pa.types.is_binary(kind) and table.path.suffix.lower() in CSV:
            raise DataError(f"{table.path}: column `{name}` is not UTF-8: save the table as UTF-8.")
    y = target_column(columns, types, wide=bool(table.images))
    meant = next((name for name in columns if is_called(name, TARGETS)), y)
    if meant != y and pa.types.is_null(types[meant]):
        raise DataError(f"{table.path}: column `{meant}` is empty: it has no outputs.")
    # Tables of the UCR archive have no header, and the class in the first column.
    if not header and y != columns[0] and _are_classes_of(table, columns[0], y):
        return columns[0]
    return y


def _describe_input_columns(
    draft: Draft, table: ColumnTable, columns: Sequence[str], types: Mapping[str, Any]
) -> None:
    """Describe the columns beside the output: inputs, and those that are none."""
    y, numbering, of = draft.target["key"], set[str](), None
    outputs = _whole(table, y)
    for name in (each for each in columns if each != y):
        values = _whole(table, name)  # once: a table may have thousands of columns
        if _numbers_rows(name, values):
            numbering.add(name)
        if of is None and _recurs(values, outputs):
            of = name
    x = _input_columns([name for name in columns if name not in numbering], types, y)
    if table.images:
        draft.input["key"] = min(table.images)
    elif len(x) == 1:
        draft.input["key"] = x[0]
    elif x:
        draft.input["columns"] = _globbed(x, [*types])
    else:
        raise DataError(f"{table.path}: no column of numbers is there beside `{y}`.")
    if of is not None:
        draft.found.append(f"points of one sample, by `{of}`? Then `input.sample: {of}`")
    if unused := [name for name in columns if name not in {*x, y}]:
        draft.found.append(
            f"no inputs: {', '.join(unused[:MAX_SHOWN])} (text, or a number of the row)"
        )


def _are_classes_of(table: ColumnTable, first: str, last: str) -> bool:
    """Return whether the first column looks like classes, and the last one does not."""
    types = [table.schema.field(name).type for name in (first, last)]
    if not all(map(is_number, types)):
        return False
    one, other = (table.column(name, ()).values() for name in (first, last))
    return are_classes(one) and not are_classes(other)


def _whole(table: ColumnTable, name: str) -> np.ndarray | None:
    """Return a column of integers or text; None if it is another one, or lacks values."""
    type_ = table.schema.field(name).type
    if not (pa.types.is_integer(type_) or is_text(type_)):
        return None
    try:
        return table.column(name, ()).values()
    except DataError:
        return None


def _numbers_rows(name: str, values: np.ndarray | None) -> bool:
    """Return whether a column is called the number of a row, or counts the rows."""
    if ROW_NUMBER.fullmatch(name):
        return True
    # One or two whole numbers may look like a count by chance.
    if values is None or values.dtype.kind not in "iu" or len(values) < 3:
        return False
    return values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values)))


def _recurs(values: np.ndarray | None, outputs: np.ndarray | None) -> bool:
    """Return whether each value of a column has one run of rows, with one output."""
    if values is None or outputs is None:
        return False
    begins = values[1:] != values[:-1]
    num_runs = 1 + int(np.count_nonzero(begins))
    is_constant = not ((outputs[1:] != outputs[:-1]) & ~begins).any()
    return bool(is_constant) and 2 < num_runs == len({*values.tolist()}) <= len(values) / 3


def _input_columns(names: Sequence[str], types: Mapping[str, Any], y: str) -> list[str]:
    others = [name for name in names if name != y]
    lists = [name for name in others if not is_number(types[name]) and not is_text(types[name])]
    if lists := [name for name in lists if is_list(types[name]) or "tensor" in str(types[name])]:
        return lists
    return [name for name in others if is_number(types[name])]


def _globbed(names: Sequence[str], everything: Sequence[str]) -> list[str]:
    """Return the columns, or a glob that means exactly these if they are many."""
    prefix = re.sub(r"\d+$", "", names[0])
    meant = [name for name in everything if name.startswith(prefix)]
    if len(names) > MAX_LISTED and prefix and meant == [*names] and not set("*?[") & set(prefix):
        return [f"{prefix}*"]
    return [*names]


def _of_samples(path: Path, samples: Sequence[Path], files: Sequence[Path], scratch: Path) -> Draft:
    """Return the draft of a folder of images or sounds.

    Args:
        path: The folder, which lies beside the task file.
        samples: The images or sounds.
        files: These and all other files of a known format, such as tables of labels.
        scratch: Folder for parts of tables.

    Raises:
        DataError: There are both images and sounds, or a file is damaged.
    """
    draft = _of_inputs(path, samples)
    parts = by_split([each for each in sorted(path.iterdir()) if each.is_dir()])
    used: list[Path] = []
    inside = samples
    if "train" in parts and len(parts) > 1:
        draft.add_splits(parts, path.parent)
        used = [each for found in parts.values() for each in found]
        inside = [file for file in samples if {*file.parents} & {*used}]
        draft.count = sum(file.is_relative_to(each) for file in samples for each in parts["train"])
    else:
        draft.input = {"path": path.name, **draft.input}
    tables = [file for file in files if not is_sample(file)]
    names = {file.parent.name for file in inside} - {each.name for each in (*used, path)}
    if len(names) > 1:
        draft.target["source"] = "folder"
        describe_target(draft, sliced("", np.array([file.parent.name for file in inside])))
    elif not _describe_listing(draft, path.parent, tables, inside, scratch):
        _describe_pattern(draft, inside)
    draft.say_left_out([file for file in samples if file not in {*inside}], path.parent)
    return draft


def _of_inputs(path: Path, samples: Sequence[Path]) -> Draft:
    from trainables.tasks.own.formats.images import describe_images
    from trainables.tasks.own.formats.sounds import describe_sounds

    kinds = {file.suffix.lower() in IMAGES for file in samples}
    if len(kinds) > 1:
        raise DataError(f"{path}: images and sounds are there. Name a folder of one kind.")
    draft, images = Draft(), kinds.pop()
    draft.found.append(f"{len(samples)} {'images' if images else 'sounds'}")
    wanted = InputData.model_construct()
    if not images:
        describe_inputs(draft, describe_sounds(samples, wanted))
        del draft.input["layout"]
        draft.input["representation"] = "log_mel"
        return draft
    try:
        described = describe_images(samples, wanted)
    except DataError:
        described = describe_images(samples, InputData.model_construct(size=(64, 64)))
        draft.input["size"] = [64, 64]
        draft.found.append("images differ in size: `size` resizes them")
    describe_inputs(draft, described)
    return draft


def _describe_pattern(draft: Draft, samples: Sequence[Path]) -> None:
    """Describe labels that the names of the files have."""
    pattern = next((each for each in PATTERNS if _names_classes(each, samples)), None)
    draft.target |= {"source": "pattern", "pattern": pattern or FILL_IN}
    if pattern is None:
        draft.open.append("target.pattern: an expression whose group `label` is the label")
        return
    labels = [_group(pattern, file) for file in samples]
    draft.found.append(f"labels as the names of the files have them: {joined(sorted({*labels}))}")
    describe_target(draft, sliced("", np.array(labels)))


def _group(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.name)
    return match["label"] if match else ""


def _names_classes(pattern: str, samples: Sequence[Path]) -> bool:
    """Return whether a pattern finds a label in each name, and labels recur."""
    labels = [_group(pattern, file) for file in samples]
    return all(labels) and 1 < len({*labels}) <= len(labels) / 2


def _describe_listing(
    draft: Draft, folder: Path, tables: Sequence[Path], samples: Sequence[Path], scratch: Path
) -> bool:
    """Describe the table of the files and their labels, and return whether there is one."""
    names = {file.name for file in samples}
    for path in tables:
        table, header = _opened(path, scratch)
        if not isinstance(table, ColumnTable):
            continue
        types = {each.name: each.type for each in table.schema}
        for column in filter(lambda name: is_text(types[name]), types):
            listed = table.column(column, ()).values().tolist()
            if not listed or not {Path(each).name for each in listed} <= names:
                continue
            others = [name for name in types if name != column]
            y = target_column(others, types, wide=True) if header else others[0]
            draft.input |= {} if header else {"header": False}
            draft.target |= {"source": "csv", "path": relative(path, folder)}
            draft.target |= {"file_column": column, "label_column": y}
            draft.found.append(f"{path.name} lists the files, and has {joined(others)}")
            describe_target(draft, table.column(y, ()))
            return True
    return False


def _text(draft: Draft, path: Path, enough: int) -> str:
    val = _val_share(draft.count, enough)
    test = {} if {"test", "column"} & draft.splits.keys() else {"test": 0.2}
    remarks = {
        "layout": "  # N samples, C channels, L points, H rows, W columns",
        "representation": "  # or spectrogram; or raw, a sequence of points",
    }
    if draft.count is not None and not {"val", "column"} & draft.splits.keys():
        few = f"; `sweeper plan` warns under {enough}" if enough else ""
        remarks["val"] = f"  # {round(val * draft.count)} of {draft.count} samples{few}"
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:63] or "task"
    lines = [
        "# A task of your own. Check each line, then: sweeper data import THIS-FILE",
        *(f"# {shown(line)}" for line in (f"Found in {path.name}:", *draft.found)),
        *(f"# FILL IN {shown(line)}" for line in draft.open),
        f"name: mine/{name}  # BENCHMARK/NAME, as in `tasks: [mine/{name}]` of a sweep file",
        f"title: {_value(path.stem)}",
        f"kind: {draft.kind}  # classification | multilabel | dense | regression",
        "input:",
        *_section(draft.input, remarks),
        *(["target:", *_section(draft.target)] if draft.target else []),
        "splits:  # files, or shares of the samples; `group: NAME` keeps groups together",
        *_section({"val": val, **test, **draft.splits}, remarks),
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


def _section(
    keys: Mapping[str, Any], remarks: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    return [f"  {key}: {_value(value)}{remarks.get(key, '')}" for key, value in keys.items()]


def _value(value: Any) -> str:
    """Return a value in JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
