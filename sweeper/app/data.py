"""Target data and sources on this machine: what there is, how to get the rest, and whether it is
whole."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.app.catalog import home
from sweeper.app.disk import NOT_TAKEN
from sweeper.errors import Fault, FileFaults, StorageFull, UsageError
from trainables.errors import DataError, TrainableError
from trainables.proxies.loading import proxy_faults
from trainables.proxies.registry import PROXIES, ProxyEntry
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.generation import Progress
from trainables.tasks.loading import is_prepared, prepare_task
from trainables.tasks.manifest import MANIFEST, read_manifest
from trainables.tasks.registry import TASKS, publication, task_info
from trainables.tasks.task import TaskInfo

OURS = "Apache-2.0"  # of what our generators make
READY, TO_MAKE, TO_IMPORT = "ready", "to be made", "to be imported"


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Turns the science's errors into ours, and what a disk refuses to read or to take."""
    try:
        yield
    except TrainableError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise _refusal(error) from error


def _refusal(error: OSError) -> StorageFull | UsageError:
    named = isinstance(error.filename, str | os.PathLike)
    place = Path(error.filename) if named else home()
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in NOT_TAKEN and place.is_relative_to(home()):
        way_out = "Free space, or set SWEEPER_HOME to another folder that can be written"
        return StorageFull(f"{place}: {reason}. {way_out}.")
    return UsageError(f"{place}: {reason}. See that it is there and can be read, and try again.")


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
    published = publication(info.name)
    fetch = f"sweeper data import {info.name} {published.files}" if published else None
    made = official.is_generated(info.name)
    stored = official.describe(info.name, DataSpec())
    sets = [folder.name for folder in _sets(info.name)]
    return {
        "name": info.name,
        "title": info.title,
        "source": "our generator" if made else published and published.address,
        "published": asdict(published) if published else None,
        "licence": published.licence if published and not made else OURS,
        "samples": info.samples,
        "shape": stored["shapes"]["x"],
        "output_shape": stored["shapes"]["y"],
        "bytes": stored["bytes"],
        "kind": info.kind,
        "metric": info.metric,
        "compat_metric": info.compat_metric,
        "protocol": info.protocol,
        "here": {
            "official": official.FOLDER in sets,
            "generated": [key for key in sets if key != official.FOLDER],
        },
        "obtain": f"sweeper data generate {info.name}" if made else fetch,
        "import": fetch,
    }


def _proxy(name: str, entry: ProxyEntry) -> dict[str, Any]:
    return {
        "name": name,
        "title": entry.title,
        "dimension": entry.dimension,
        "classes": entry.classes,
        "dense": entry.dense,
        "contents": entry.contents,
        "licence": entry.licence,
        "present": proxy_faults(name, home()) is None,
        "obtain": entry.obtain,
        "import": f"sweeper data import {name} {entry.files}" if entry.files else None,
    }


def import_files(name: str, files: Sequence[Path], seed: int, progress: Progress) -> dict[str, Any]:
    """Reads the published files of a task, or of a source, into our store.

    Raises:
        UsageError: There is no such task or source, or a file is not as published.
        StorageFull: The store cannot be written.
    """
    if name in PROXIES:
        return _import_proxy(name, files)
    from trainables.tasks.importing import import_task  # torch, which a plan does not need

    with as_usage_errors():
        folder = import_task(name, files, home(), seed=seed, progress=progress)
        notes = read_manifest(folder).get("notes", [])
    message = "\n".join([f"{name}: imported into {folder}", *notes])
    return {"message": message, "task": name, "folder": str(folder), "notes": notes}


def _import_proxy(name: str, files: Sequence[Path]) -> dict[str, Any]:
    from trainables.proxies.importing import import_proxy, verify_proxy

    with as_usage_errors():
        folder = import_proxy(name, files, home())
        notes = list(verify_proxy(name, home()).notes)
    message = "\n".join([f"{name}: imported into {folder}", *notes])
    return {"message": message, "source": name, "folder": str(folder), "notes": notes}


def generate(
    task: str,
    variant: str | None,
    sizes: Mapping[str, int | None],
    workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Makes the data of a task that has a generator, unless they are there.

    Args:
        sizes: `samples`, `resolution` and `seed`, as in `DataSpec`.

    Raises:
        UsageError: There is no such task, it has no generator, the sizes are impossible, or
            `variant` is another than the one in the task's name.
        StorageFull: The store cannot be written.
    """
    task = _named(task, variant)
    data = DataSpec.model_validate({"source": "generated", **sizes})
    with as_usage_errors():
        folder = prepare_task(task, data, home(), progress=progress, workers=workers)
    return {"message": f"{task}: in {folder}", "task": task, "folder": str(folder)}


def _named(task: str, variant: str | None) -> str:
    """Returns the name of a task's variant."""
    published, _, suffix = task.partition("@")
    if variant and suffix and variant != suffix:
        raise UsageError(f"{task} is one variant, and --variant {variant} another: leave one out.")
    return task if variant in (None, "compat") else f"{published}@{variant}"


def verify(name: str) -> dict[str, Any]:
    """Reads every byte of all data sets of a task, or of a source, and says what it found.

    Raises:
        FileFaults: Some are altered or not finite, have labels that there are not, or a sample in
            two splits.
        UsageError: There is no such task or source, no data of it, or a damaged source.
    """
    if name in PROXIES:
        return _verify_proxy(name)
    from trainables.tasks.verification import verify_folder

    with as_usage_errors():
        found = [verify_folder(folder, name) for folder in _sets(task_info(name).name)]
    if not found:
        way_out = _task(TASKS[name])["obtain"]
        raise UsageError(f"{name}: no data in {home() / 'data' / name}. To have some: {way_out}")
    if faults := [fault for one in found for fault in one.faults]:
        raise FileFaults(Fault(fault.where, None, fault.text) for fault in faults)
    sets = [{"set": one.folder.name} | asdict(one) | {"folder": str(one.folder)} for one in found]
    lines = [f"  {one.folder.name}: {finding}" for one in found for finding in one.findings]
    text = (
        f"{name}: {len(found)} data sets, every byte as their manifests say, every number finite, "
        "labels in range, no sample in two splits"
    )
    return {"message": "\n".join([text, *lines]), "task": name, "sets": sets}


def _verify_proxy(name: str) -> dict[str, Any]:
    from trainables.proxies.importing import verify_proxy

    with as_usage_errors():
        found = verify_proxy(name, home())
    text = f"{name}: {found.samples} samples of {found.classes} classes, every one read"
    return {"message": "\n  ".join([text, *found.notes]), "source": name} | asdict(found)


def _sets(task: str) -> list[Path]:
    """Returns the folders of a task's data; a hidden one is being written."""
    found = (home() / "data" / task).glob(f"[!.]*/{MANIFEST}")
    return sorted(manifest.parent for manifest in found)
