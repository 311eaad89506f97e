"""The files that a task file names, by split. No file is opened here.

A path may lead anywhere, because the user wrote it. What a glob or a walk through a folder finds
must lie in that folder: links out of it are refused.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from trainables.errors import TaskDataError
from trainables.tasks.own.definition import Key, TaskDefinition
from trainables.tasks.own.formats.endings import KNOWN, is_dataset, is_readable, is_sample

MAX_FILES = 1_000_000
MAX_NAMES = 10_000  # that are compared with a misspelled one
GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Part:
    """A file, the split that its samples belong to, and the key that names it."""

    path: Path
    root: Path  # the folder that is named, or that of the file
    split: str  # "train" stands for all samples from which shares are taken
    key: Key


@dataclass(frozen=True)
class LocatedFiles:
    """The files of the inputs, and those of the outputs if they have their own."""

    inputs: tuple[Part, ...]
    targets: tuple[Part, ...]

    def names(self, folder: Path) -> dict[str, Path]:
        """Return all files by their paths relative to the folder of the task file."""
        found: dict[str, Path] = {}
        for path in (part.path for part in (*self.inputs, *self.targets)):
            files = sorted(path.rglob("*")) if path.is_dir() else [path]  # a folder of `datasets`
            found |= {relative(file, folder): file for file in files if file.is_file()}
        return found


def locate(definition: TaskDefinition, folder: Path) -> LocatedFiles:
    """Return the files of a task.

    Args:
        definition: Content of the task file.
        folder: Folder of the task file.

    Raises:
        TaskDataError: A file is missing or named for two splits, or a link leaves its folder.
    """
    splits = definition.splits
    named: list[tuple[str, tuple[str, ...], Sequence[str]]] = [
        ("train", ("input", "path"), definition.input.path),
        ("train", ("splits", "train"), splits.train),
    ]
    for split, files in (("val", splits.val), ("test", splits.test)):
        if isinstance(files, tuple):
            named.append((split, ("splits", split), files))
    inputs = [
        Part(path, root, split, key)
        for split, key, patterns in named
        for path, root in _expanded(patterns, folder, key)
    ]
    if definition.target.source != "array":  # a table of labels may lie beside images or sounds
        inputs = [part for part in inputs if is_sample(part.path)] or inputs
    _check_once(inputs)
    key = ("target", "path")
    targets = [
        Part(path, root, "", key) for path, root in _expanded(definition.target.path, folder, key)
    ]
    return LocatedFiles(tuple(inputs), tuple(targets))


def relative(path: Path, folder: Path) -> str:
    """Return a path as a task file in `folder` names it."""
    inside = path.is_relative_to(folder)
    return (path.relative_to(folder) if inside else path.absolute()).as_posix()


def _check_once(parts: Sequence[Part]) -> None:
    seen: dict[Path, Part] = {}
    for part in parts:
        # Two names of one file, by a link, are the same samples.
        other = seen.setdefault(part.path.resolve(), part)
        if other is not part:
            where = " and ".join(f"`{'.'.join(each.key)}`" for each in (other, part))
            raise TaskDataError(
                f"{part.path}: named twice, by {where}. Its samples would be in two splits, or "
                "twice in one: name it once.",
                part.key,
            )


def _expanded(patterns: Sequence[str], folder: Path, key: Key) -> list[tuple[Path, Path]]:
    """Return each file with the folder that it was found in."""
    found: list[tuple[Path, Path]] = []
    for pattern in patterns:
        if "\0" in pattern or not pattern.strip():
            raise TaskDataError(f"{pattern!r} is no path.", key)
        path = folder / Path(pattern).expanduser()
        root = path.parent
        if path.is_dir() and is_dataset(path):
            inside, root = [path], path
        elif path.is_dir():
            inside, root = readable_files(path, key), path
        elif path.is_file():
            inside = [path]
        elif GLOB & set(pattern):
            inside, root = _globbed(pattern, folder, key)
        elif path.exists():
            raise TaskDataError(f"{path}: it is neither a file nor a folder.", key)
        else:
            raise TaskDataError(absent(path), key)
        found += [(each, root) for each in inside]
        if len(found) > MAX_FILES:
            raise TaskDataError(f"{pattern}: more than {MAX_FILES:,} files.", key)
    return found


def absent(path: Path) -> str:
    """Return the message for a path where nothing is, with the similar name that is there."""
    wrong = path
    while not wrong.parent.exists():
        wrong = wrong.parent
    near: list[str] = []
    with suppress(OSError):  # a file, or a folder that may not be read
        beside = [each.name for each in islice(wrong.parent.iterdir(), MAX_NAMES)]
        near = get_close_matches(wrong.name, beside, n=1)
    hint = f" Did you mean `{Path(near[0]) / path.relative_to(wrong)}`?" if near else ""
    return f"{path}: there is no such file or folder.{hint}"


def _globbed(pattern: str, folder: Path, key: Key) -> tuple[list[Path], Path]:
    parts = Path(pattern).expanduser().parts
    # A folder may have such a letter in its name.
    globs = (
        i
        for i, part in enumerate(parts)
        if GLOB & set(part) and not folder.joinpath(*parts[: i + 1]).exists()
    )
    if (fixed := next(globs, None)) is None:
        raise TaskDataError(absent(folder / pattern), key)
    base = folder.joinpath(*parts[:fixed])
    _check_not_all(base, key)
    found = sorted(path for path in base.glob("/".join(parts[fixed:])) if path.is_file())
    if not found:
        raise TaskDataError(f"{folder / pattern}: no file matches.", key)
    return list(_inside(found, base, key)), base


def readable_files(folder: Path, key: Key = ()) -> list[Path]:
    """Return the files of a known format in and below a folder. Hidden files are ignored.

    Raises:
        TaskDataError: There is none, or one is a link that leaves the folder. `key` names it.
    """
    _check_not_all(folder, key)

    def refuse(error: OSError) -> None:
        if not isinstance(error, PermissionError):  # such as `lost+found` of a disk
            raise TaskDataError(f"{error.filename}: it cannot be read ({error.strerror}).", key)

    found: list[Path] = []
    seen = 0
    for place, folders, names in os.walk(folder, onerror=refuse):
        # `os.walk` enters only the folders that stay in this list.
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen += len(folders) + len(names)
        if seen > MAX_FILES:
            raise TaskDataError(
                f"{folder}: more than {MAX_FILES:,} files and folders are in and below it. Name "
                "the folder of the data alone.",
                key,
            )
        paths = (Path(place, name) for name in names if not name.startswith("."))
        found += [path for path in paths if is_readable(path) and path.is_file()]
    if not found:
        raise TaskDataError(
            f"{folder}: no file of a known format is there. Known endings: {', '.join(KNOWN)}.", key
        )
    return list(_inside(sorted(found), folder, key))


def _check_not_all(folder: Path, key: Key) -> None:
    """Check that a folder to be searched is not the whole file system."""
    if folder.resolve() == Path(folder.anchor):
        raise TaskDataError(
            f"{folder} is the whole file system. Name the folder of the data alone.", key
        )


def _inside(paths: Sequence[Path], base: Path, key: Key) -> Iterator[Path]:
    real = base.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(real):
            raise TaskDataError(
                f"{path}: it is a link that leaves {base}. Name the file itself if it is meant.",
                key,
            )
        yield path
