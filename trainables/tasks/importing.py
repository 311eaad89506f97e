"""The import of published files into the store that every trial maps.

    <home>/data/<task>/official/

The `Reader` of a task finds its files among the given ones and converts them into splits. This
module hashes the files to identify the import. It provides a scratch folder for arrays that do not
fit in memory, compares the result with the description of the task, and writes it. Other files are
never opened.

The files are untrusted. Any error of a library in reading them becomes a `DataError`.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import ConfigError, DataError, TaskDataError, TrainableError
from trainables.storage.atomic import clear_scratch, exclusive, put_in_place
from trainables.tasks.benchmark import Benchmark, ImportedSplits, Reader
from trainables.tasks.formats.files import shown
from trainables.tasks.generation import Progress
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.predictors.trivial import trivial_baselines
from trainables.tasks.registry import (
    benchmark_of,
    own_benchmark_of,
    register,
    task_info,
)
from trainables.tasks.store.manifest import MANIFEST, folder_of, read_manifest, sha256
from trainables.tasks.store.rows import present
from trainables.tasks.store.split import SPLITS, Split
from trainables.tasks.store.store import Store, write_store
from trainables.tasks.task import TaskInfo
from trainables.tasks.verification import (
    NOTHING_TO_LEARN,
    all_recur,
    constant_outputs,
    outputs_fit,
)

BEFORE = {  # differences from an earlier import, by the keys of `imported_from`
    "files": "other files were imported",
    "seed": "another seed divided them",
    "definition": "the task file was another one",
}
STEPS = 3  # of an import: hash the files, read the files, write the data


def import_task(
    name: str,
    files: Sequence[Path],
    home: Path,
    *,
    seed: int = 0,
    replace: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Import the published files of a task into the folder that is returned.

    Files that were imported earlier are not read again.

    Args:
        name: Name of the task.
        files: Published files, or folders that hold them.
        home: SWEEPER_HOME.
        seed: Seed of the reader's random choices: the validation split, the order of the rows.
        replace: Replace files that were imported earlier.
        progress: Called with the task, the number of finished steps and the total.
        say: Called with each change of what was given, before the data are stored.

    Raises:
        ConfigError: The task is unknown or was never published.
        DataError: A file is missing or not as published, or others were imported earlier.
    """
    info, benchmark = task_info(name), benchmark_of(name)
    reader = _reader(info, benchmark)
    report = progress or (lambda task, done, total: None)
    report(name, 0, STEPS)
    _check_there(files)
    with reading(files, benchmark.hint):
        found = reader.find(files, seed=seed)
    # The lock prevents two concurrent imports. Complete data are checked, then renamed.
    folder = folder_of(name, home)
    with exclusive(folder.with_name(f".{folder.name}.lock")), ThreadPoolExecutor(1) as beside:
        clear_scratch(folder)
        hashing = beside.submit(_hashes, found)  # while the files are read

        def imported_from() -> Mapping[str, Any]:
            return {"seed": seed, "files": hashing.result(), **benchmark.identity(info)}

        hint = benchmark.way_to_replace(name, files, seed)
        if _is_imported(folder, imported_from, hint, replace=replace):
            return folder
        for done in _read_into(folder, info, files, seed, say, imported_from):
            report(name, done, STEPS)
    report(name, STEPS, STEPS)
    return folder


def import_own(
    name: str,
    home: Path,
    *,
    replace: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Import the data of an own task, and update the facts of the registered task.

    Args:
        name: Name of the task, which is registered with its file.
        home: SWEEPER_HOME.
        replace: Replace data that were imported earlier.
        progress: As of `import_task`.
        say: As of `import_task`.

    Returns:
        The folder of the data.

    Raises:
        ConfigError: The task is unknown, or no own one.
        DataError: The task file is not known here, or data are missing, damaged or others than
            described.
    """
    benchmark = own_benchmark_of(name)
    if benchmark is None:
        raise ConfigError(f"{name} is no task of a task file: name its published files.")
    if name not in benchmark.files:
        hint = benchmark.way_to_import(name)
        raise DataError(f"{name}: its task file is not known here. Name the file: {hint}")
    folder = import_task(
        name,
        [benchmark.files[name].parent],
        home,
        seed=benchmark.definitions[name].splits.seed,
        replace=replace,
        progress=progress,
        say=say,
    )
    register(own_benchmark([benchmark.definitions[name]], home, {name: benchmark.files[name]}))
    return folder


@contextmanager
def reading(files: Sequence[Path], hint: str = Benchmark.hint) -> Iterator[None]:
    """Convert errors of libraries in the block to a `DataError` that names the untrusted files.

    Warnings of libraries are suppressed, because the values are checked afterwards.

    Raises:
        DataError: A file cannot be read.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except (TrainableError, OSError):
        raise
    except AssertionError:  # an error of this program, not of the files
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = shown(str(error)) or "no reason given"
        raise DataError(
            f"{', '.join(map(str, files))}: it cannot be read ({type(error).__name__}: {reason}). "
            f"{hint}"
        ) from error


def _reader(info: TaskInfo, benchmark: Benchmark) -> Reader:
    """Return the reader of a task.

    Raises:
        ConfigError: The task was not published.
    """
    if not benchmark.can_import(info):
        raise ConfigError(
            f"{info.name}: this variant is ours, and no official file exists. Its data are "
            f"generated: sweeper data generate {info.name}"
        )
    assert benchmark.reader is not None, f"{info.name} has a publication, but no reader"
    return benchmark.reader(info)


def _check_there(files: Sequence[Path]) -> None:
    if not files:
        raise DataError("No file to import: name the published files, or a folder that holds them.")
    if absent := [str(path) for path in files if not path.exists()]:
        raise DataError(f"{', '.join(absent)}: there is no such file or folder.")


def _hashes(found: Mapping[str, Path]) -> list[str]:
    """Return the hash and the published name of each file. Missing files are omitted."""
    return sorted(f"{sha256(path)}  {name}" for name, path in found.items() if path.is_file())


def _read_into(
    folder: Path,
    info: TaskInfo,
    files: Sequence[Path],
    seed: int,
    say: Callable[[str], None],
    imported_from: Callable[[], Mapping[str, Any]],
) -> Iterator[int]:
    """Read the files of a task, put their data in the place of `folder`, and yield each step."""
    benchmark = benchmark_of(info.name)
    yield 1
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        with reading(files, benchmark.hint):
            imported = _reader(info, benchmark).read(files, Path(scratch), seed=seed)
        for change in imported.changes:
            say(f"{info.name}: {change}")
        yield 2
        written = Path(scratch) / folder.name
        with _named_instead(written, files), reading(files, benchmark.hint):
            _write(written, info, benchmark, imported, imported_from())
        put_in_place(written, folder)


@contextmanager
def _named_instead(written: Path, files: Sequence[Path]) -> Iterator[None]:
    """Name the given files in an error that names a scratch folder."""
    try:
        yield
    except TaskDataError:
        raise
    except DataError as error:
        where, text = ", ".join(map(str, files)), str(error).replace(f"{written}/", "")
        raise DataError(f"{where}: {text}") from error


def _is_imported(
    folder: Path, imported_from: Callable[[], Mapping[str, Any]], hint: str, *, replace: bool
) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    # Hashing takes long, and is waited for only where there is an import to compare with.
    now = imported_from()
    if replace:
        try:
            is_same = read_manifest(folder).get("imported_from") == now
            if is_same:
                Store(folder).verify()
            return is_same
        except DataError:  # damaged data are replaced
            return False
    before = read_manifest(folder).get("imported_from") or {}
    if before != now:
        changed = [text for key, text in BEFORE.items() if before.get(key) != now.get(key)]
        what = " and ".join(changed or [BEFORE["files"]])
        raise DataError(f"{folder}: {what} before. To put these in their place: {hint}")
    return True


def _scored(info: TaskInfo, imported: ImportedSplits, split: str) -> Mapping[str, float]:
    """Return the scores of the trivial predictors on a split.

    Raises:
        DataError: The metric is not defined there, for example since all targets are zero.
    """
    part = imported.splits[split]
    known = Split(x=present(part.x, imported.description), y=part.y, groups=part.groups)
    try:
        return trivial_baselines(info, imported.splits["train"].y, known)
    except DataError as error:
        hint = "Are its outputs zero, or not finite?"
        raise DataError(f"{info.name}, {split} split: {error} {hint}") from error


def _write(
    folder: Path,
    info: TaskInfo,
    benchmark: Benchmark,
    imported: ImportedSplits,
    imported_from: Mapping[str, Any],
) -> None:
    for split in SPLITS:
        if not len(imported.splits[split].sample_id):
            raise DataError(f"{info.name}: the {split} split is empty. Import the whole set.")
    info, doubt = benchmark.completed(info, imported), benchmark.doubt
    for split in SPLITS:
        _check(info, split, imported, doubt)
    train, test = imported.splits["train"], imported.splits["test"]
    # Files in wrong places often repeat a split, or hold constant outputs. Both are detected here.
    if all_recur(test.x, [imported.splits[split].x for split in ("train", "val")]):
        raise DataError(
            f"{info.name}: every test input is in training or validation too. Is one file there "
            "twice?"
        )
    if info.kind == "regression" and len(constant_outputs(train.y)) == train.y.shape[1]:
        raise DataError(f"{info.name}: {NOTHING_TO_LEARN}{doubt}")
    # Of validation only whether the metric is defined matters: by it each trial is measured.
    _, baselines = (_scored(info, imported, split) for split in ("val", "test"))
    if baselines.get("mean") == 0:
        raise DataError(f"{info.name}: all its outputs are alike.{doubt}")
    description = {
        **imported.description,
        **benchmark.record(info),
        "task": info.name,
        "data_source": "official",
        "imported_from": imported_from,
        "protocol": info.protocol,
        "equation": info.equation,
        "metric": info.metric,
        "baselines": baselines,
    }
    write_store(folder, imported.splits, description)


def _check(info: TaskInfo, split: str, imported: ImportedSplits, doubt: str) -> None:
    """Check that a split fits the description of the task.

    `doubt` ends each message: what may be wrong.

    Raises:
        DataError: The split has another shape or type, or has an unknown label.
    """
    data = imported.splits[split]
    shape = tuple(present(data.x, imported.description).shape[1:])
    if shape != info.input_shape or str(data.x.dtype) != info.stored:
        raise DataError(
            f"{info.name}: {split} inputs must be {info.stored}{list(info.input_shape)}, but are "
            f"{data.x.dtype}{list(shape)}.{doubt}"
        )
    if not outputs_fit(info, data.y, info.input_shape[1:]):
        raise DataError(
            f"{info.name}: {split} outputs, {data.y.dtype}{list(data.y.shape)}, are not of the "
            f"task's {info.channels[1]} {info.kind} outputs.{doubt}"
        )
