"""Target data and sources on this machine: what there is, how to get the rest, and whether it is
whole."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeper.app.catalog import home
from sweeper.errors import StorageFull, UsageError
from trainables.errors import DataError, TrainableError
from trainables.proxies.loading import proxy_faults
from trainables.proxies.registry import PROXIES, ProxyEntry
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.loading import is_prepared, prepare_task
from trainables.tasks.manifest import MANIFEST
from trainables.tasks.registry import TASKS, official_file, task_info
from trainables.tasks.task import TaskInfo

Progress = Callable[[str, int, int], None]  # what, done, of how many

READY, TO_MAKE, TO_IMPORT = "ready", "to be made", "to be imported"


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Turns the science's errors into ours, and what a disk refuses to read or to take."""
    try:
        yield
    except TrainableError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        place = Path(error.filename or home())
        refusal = StorageFull if place.is_relative_to(home()) else UsageError
        raise refusal(f"{place}: {error.strerror}") from error


def state_of(task: str, data: DataSpec) -> str:
    """Says whether a task's data are there, will be made by a launch, or have to be imported."""
    try:
        if is_prepared(task, data, home()):
            return READY
    except DataError:
        return TO_IMPORT
    return TO_MAKE if official.is_generated(task) else TO_IMPORT


def everything() -> dict[str, list[dict[str, Any]]]:
    """Returns a line for each target task and for each source."""
    return {
        "tasks": [_task(info) for info in TASKS.values()],
        "proxies": [_proxy(name, entry) for name, entry in PROXIES.items()],
    }


def _task(info: TaskInfo) -> dict[str, Any]:
    if official.is_generated(info.name):
        source, obtain = "our generator", f"sweeper data generate {info.name}"
    else:
        files, source = official_file(info.name) or ("", "")
        obtain = f"sweeper data import {info.name} {files}"
    return {
        "name": info.name,
        "title": info.title,
        "source": source,
        "samples": info.samples,
        "shape": list(info.input_shape),
        "kind": info.kind,
        "metric": info.metric,
        "protocol": info.protocol,
        "sets": [folder.name for folder in _sets(info.name)],
        "obtain": obtain,
    }


def _proxy(name: str, entry: ProxyEntry) -> dict[str, Any]:
    return {
        "name": name,
        "title": entry.title,
        "dimension": entry.dimension,
        "classes": entry.classes,
        "dense": entry.dense,
        "licence": entry.licence,
        "present": proxy_faults(name, home()) is None,
        "obtain": entry.obtain,
    }


def import_files(task: str, files: Sequence[Path], seed: int, progress: Progress) -> dict[str, Any]:
    """Reads the published files of a task into our store.

    Raises:
        UsageError: There is no such task, or a file is not as published.
        StorageFull: The store cannot be written.
    """
    from trainables.tasks.importing import import_task  # torch, which a plan does not need

    with as_usage_errors():
        folder = import_task(task, files, home(), seed=seed, progress=progress)
    return {"message": f"{task}: imported into {folder}", "task": task, "folder": str(folder)}


def generate(task: str, data: DataSpec, workers: int, progress: Progress) -> dict[str, Any]:
    """Makes the data of a task that has a generator, unless they are there.

    Raises:
        UsageError: There is no such task, it has no generator, or the sizes are impossible.
        StorageFull: The store cannot be written.
    """
    with as_usage_errors():
        folder = prepare_task(task, data, home(), progress=progress, workers=workers)
    return {"message": f"{task}: in {folder}", "task": task, "folder": str(folder)}


def verify(task: str) -> dict[str, Any]:
    """Reads every byte of all data sets of a task against their manifests.

    Raises:
        UsageError: There is no such task or no data of it, or some are altered or not finite.
    """
    from trainables.tasks.store import Store

    with as_usage_errors():
        folders = _sets(task_info(task).name)
        for folder in folders:
            Store(folder).verify()
    if not folders:
        way_out = _task(TASKS[task])["obtain"]
        raise UsageError(f"{task}: no data in {home() / 'data' / task}. To have some: {way_out}")
    text = f"{task}: {len(folders)} data sets, every byte as their manifests say"
    return {"message": text, "task": task, "folders": [str(folder) for folder in folders]}


def _sets(task: str) -> list[Path]:
    """Returns the folders of a task's data; a hidden one is being written."""
    found = (home() / "data" / task).glob(f"[!.]*/{MANIFEST}")
    return sorted(manifest.parent for manifest in found)
