"""The draft of a task file for a folder of images or of sounds."""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainables.errors import DataError
from trainables.tasks.own.definition import FILL_IN, InputData
from trainables.tasks.own.draft import (
    Draft,
    by_split,
    describe_inputs,
    describe_target,
    relative,
    target_column,
)
from trainables.tasks.own.formats.endings import IMAGES, is_sample
from trainables.tasks.own.formats.samples import joined, sliced
from trainables.tasks.own.formats.tables import ColumnTable, is_text
from trainables.tasks.own.formats.text_tables import has_header
from trainables.tasks.own.opening import open_container

__all__ = ["of_samples"]

PATTERNS = (  # where names of files have labels, the usual place first
    "^(?P<label>[^_]+)_",
    "^(?P<label>[^-]+)-",
    r"^(?P<label>[^.]+)\.\d",
    r"^(?P<label>\D+?)[-_. ]*\d",
)


def of_samples(path: Path, folder: Path, samples: Sequence[Path], files: Sequence[Path]) -> Draft:
    """Return the draft of a folder of images or sounds.

    Args:
        path: The folder.
        folder: Folder of the task file.
        samples: The images or sounds.
        files: These and all other files of a known format, such as tables of labels.

    Raises:
        DataError: There are both images and sounds, or a file is damaged.
    """
    from trainables.tasks.own.formats.images import describe_images
    from trainables.tasks.own.formats.sounds import describe_sounds

    kinds = {file.suffix.lower() in IMAGES for file in samples}
    if len(kinds) > 1:
        raise DataError(f"{path}: images and sounds are there. Name a folder of one kind.")
    draft, images = Draft(), kinds.pop()
    draft.found.append(f"{len(samples)} {'images' if images else 'sounds'}")
    try:
        described = (describe_images if images else describe_sounds)(
            samples, InputData.model_construct()
        )
    except DataError:
        if not images:
            raise
        described = describe_images(samples, InputData.model_construct(size=(64, 64)))
        draft.input["size"] = [64, 64]
        draft.found.append("images differ in size: `size` resizes them")
    describe_inputs(draft, described)
    if not images:
        del draft.input["layout"]
        draft.input["representation"] = "log_mel"
    folders = [each for each in sorted(path.iterdir()) if each.is_dir()]
    parts = by_split(folders)
    if "train" not in parts or len(parts) < 2:
        draft.input = {"path": relative(path, folder), **draft.input}
        _describe_labels(draft, path, samples, files, [])
        return draft
    draft.add_splits(parts, folder)
    draft.count = sum(file.is_relative_to(each) for file in samples for each in parts["train"])
    used = [each for found in parts.values() for each in found]
    inside = [file for file in samples if {*file.parents} & {*used}]
    _describe_labels(draft, path, inside, files, used)
    draft.say_left_out([file for file in samples if file not in {*inside}], folder)
    return draft


def _describe_labels(
    draft: Draft,
    path: Path,
    samples: Sequence[Path],
    files: Sequence[Path],
    parts: Sequence[Path],
) -> None:
    """Say where the labels of images or sounds are: folders, a table, or names of files."""
    tables = [file for file in files if not is_sample(file)]
    labels = [file.parent.name for file in samples]
    if len({*labels} - {each.name for each in (*parts, path)}) > 1:
        draft.target["source"] = "folder"
    elif _describe_listing(draft, path.parent, tables, samples):
        return
    elif pattern := next((p for p in PATTERNS if _names_classes(p, samples)), None):
        draft.target |= {"source": "pattern", "pattern": pattern}
        labels = [_group(pattern, file) for file in samples]
        draft.found.append(
            f"labels as the names of the files have them: {joined(sorted({*labels}))}"
        )
    else:
        draft.target |= {"source": "pattern", "pattern": FILL_IN}
        draft.open.append("target.pattern: an expression whose group `label` is the label")
        return
    describe_target(draft, sliced("", np.array(labels)), sliced("", np.array(labels)))


def _group(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.name)
    return match["label"] if match else ""


def _names_classes(pattern: str, samples: Sequence[Path]) -> bool:
    """Return whether a pattern finds a label in each name, and labels recur."""
    labels = [_group(pattern, file) for file in samples]
    return all(labels) and 1 < len({*labels}) <= len(labels) / 2


def _describe_listing(
    draft: Draft, folder: Path, tables: Sequence[Path], samples: Sequence[Path]
) -> bool:
    """Describe the table of the files and their labels, and return whether there is one."""
    names = {file.name for file in samples}
    for path in tables:
        with TemporaryDirectory() as scratch:
            header = has_header(path)
            table = open_container(
                path, Path(scratch), InputData.model_construct(header=header), ()
            )
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
                outputs = table.column(y, ())
                describe_target(draft, outputs, outputs)
                return True
    return False
