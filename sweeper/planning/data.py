"""Target data and sources on this machine: what there is, how to get the rest, and whether it is
whole."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.config.catalog import PROXY
from sweeper.errors import Fault, FileFaults, StorageFull, SweeperError, UsageError
from sweeper.planning.catalog import home
from sweeper.planning.disk import NOT_TAKEN
from trainables.errors import DataError, TrainableError
from trainables.sources.loading import proxy_faults
from trainables.sources.registry import PROXIES, ProxyEntry
from trainables.spec import DataSpec
from trainables.storage.atomic import exclusive
from trainables.tasks import official
from trainables.tasks.generation import Progress
from trainables.tasks.loading import is_prepared, prepare_task
from trainables.tasks.registry import TASKS, task_info
from trainables.tasks.store.manifest import MANIFEST, read_manifest
from trainables.tasks.task import TaskInfo

OURS = "Apache-2.0"  # of what our generators make
READY, TO_MAKE, TO_IMPORT = "ready", "to be made", "to be imported"


@dataclass(frozen=True)
class Dependent:
    """A sweep in ./sweeps that reads some data."""

    sweep: str
    state: str


@dataclass(frozen=True)
class Deletion:
    """Data of a task, or of a source, that are to be deleted."""

    name: str
    folders: tuple[Path, ...]
    size: int  # bytes
    sweeps: tuple[Dependent, ...]

    @property
    def sets(self) -> str:
        """The data sets, by their names."""
        return ", ".join(folder.name for folder in self.folders)

    @property
    def consequences(self) -> str:
        """Return what the deletion frees, and what reads the data."""
        lines = [f"{self.name}: {self.sets}, {size_text(self.size)}, in {self.folders[0].parent}."]
        if self.sweeps:
            names = ", ".join(f"{each.sweep} ({each.state})" for each in self.sweeps)
            lines.append(f"Sweeps in ./sweeps that read it, and could not go on: {names}.")
        return "\n".join(lines)


def size_text(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.1f} MB"


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
    published = info.publication
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


def import_files(
    name: str, files: Sequence[Path], seed: int, progress: Progress, *, replace: bool = False
) -> dict[str, Any]:
    """Read the published files of a task, or of a source, into our store.

    Args:
        replace: Put them in the place of others that were imported before.

    Raises:
        UsageError: There is no such task or source, a file is not as published, or a sweep runs on
            the data that would be replaced.
        StorageFull: The store cannot be written.
    """
    depending = dependents(name) if replace else []
    _check_idle(name, depending)
    before = _content(name)
    with as_usage_errors():
        folder, notes = (_import_proxy if name in PROXIES else _import_task)(
            name, files, seed, progress, replace
        )
    notes = [*notes, *_former(depending)] if before not in (None, _content(name)) else notes
    message = "\n".join([f"{name}: imported into {folder}", *notes])
    kind = "source" if name in PROXIES else "task"
    return {"message": message, kind: name, "folder": str(folder), "notes": notes}


def _import_task(
    name: str, files: Sequence[Path], seed: int, progress: Progress, replace: bool
) -> tuple[Path, list[str]]:
    from trainables.tasks.importing import import_task  # torch, which a plan does not need

    folder = import_task(name, files, home(), seed=seed, replace=replace, progress=progress)
    return folder, list(read_manifest(folder).get("notes", []))


def _import_proxy(
    name: str, files: Sequence[Path], seed: int, progress: Progress, replace: bool
) -> tuple[Path, list[str]]:
    del seed, progress
    from trainables.sources.importing import import_proxy, verify_proxy

    folder = import_proxy(name, files, home(), replace=replace)
    return folder, list(verify_proxy(name, home()).notes)


def _content(name: str) -> str | None:
    """Return the hash of what was imported of a task or source, or None where nothing whole was."""
    try:
        if name not in PROXIES:
            return str(read_manifest(official.folder_of(name, home()))["content_hash"])
        record = home() / "proxies" / name / "imported.json"
        return str(json.loads(record.read_text(encoding="utf-8"))["content_hash"])
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None


def _former(depending: Sequence[Dependent]) -> list[str]:
    if not depending:
        return []
    names = ", ".join(f"{each.sweep} ({each.state})" for each in depending)
    return [f"Begun on the former data, and not to be resumed on these: {names}, in ./sweeps."]


def dependents(name: str) -> list[Dependent]:
    """Return the sweeps in ./sweeps that read a task's data or a source's, and their states.

    One that a launch drives is running, also while the launch looks at its data, before the
    ledger says so.
    """
    from sweeper.planning import sweep_folder as folders

    found = []
    for folder in folders.all_folders():
        if folders.elsewhere(folder) is not None:
            continue
        with suppress(SweeperError), folders.started(folder) as (ledger, record):
            if name in _read_by(record.resolved):
                is_driven = ledger.holder() is not None
                state = "running" if is_driven else folders.living_state(record, ledger)
                found.append(Dependent(record.name, state))
    return found


def _read_by(resolved: Mapping[str, Any]) -> set[str]:
    """Return the tasks and sources that a sweep names, those that it searches included."""
    searched = resolved.get("parameters", {}).get(PROXY, {}).get("values", ())
    return {*resolved.get("tasks", ()), *resolved.get("proxies", {}).values(), *searched}


def _check_idle(name: str, depending: Sequence[Dependent]) -> None:
    for each in depending:
        if each.state == "running":
            raise UsageError(
                f"{name}: sweep {each.sweep} is running on it. Let it finish, or stop it first: "
                f"sweeper stop {each.sweep}"
            )


def deletion(name: str) -> Deletion:
    """Return what deleting the data of a task, or of a source, would free and leave without.

    Raises:
        UsageError: There is no such task or source, nothing of it is here, or a sweep runs on it.
    """
    if name in PROXIES:
        if not PROXIES[name].files:
            raise UsageError(f"{name}: it comes with a package, and nothing of it is kept here.")
        folders = [home() / "proxies" / name]
    else:
        with as_usage_errors():
            place = home() / "data" / task_info(name).name
        folders = [path for path in place.glob("[!.]*") if not path.is_symlink()]
    folders = sorted(path for path in folders if path.is_dir())
    if not folders:
        raise UsageError(f"{name}: there is no data of it in {home()}.")
    depending = dependents(name)
    _check_idle(name, depending)
    size = sum(file.stat().st_size for one in folders for file in one.rglob("*") if file.is_file())
    return Deletion(name, tuple(folders), size, tuple(depending))


def delete(planned: Deletion) -> dict[str, Any]:
    """Delete data; a launch or an import that begins meanwhile finds all of a set or none.

    Raises:
        UsageError: A sweep has begun to run on it since this was planned.
        StorageFull: It cannot be deleted.
    """
    depending = dependents(planned.name)
    _check_idle(planned.name, depending)
    with as_usage_errors():
        for folder in planned.folders:
            with exclusive(folder.with_name(f".{folder.name}.lock")):
                aside = folder.with_name(f".{folder.name}.deleted")
                shutil.rmtree(aside, ignore_errors=True)
                if folder.exists():
                    folder.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
    return {
        "message": f"{planned.name}: deleted {planned.sets}, {size_text(planned.size)} freed",
        "name": planned.name,
        "folders": [str(folder) for folder in planned.folders],
        "bytes": planned.size,
        "sweeps": [each.sweep for each in depending],
    }


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
    from trainables.sources.importing import verify_proxy

    with as_usage_errors():
        found = verify_proxy(name, home())
    text = f"{name}: {found.samples} samples of {found.classes} classes, every one read"
    return {"message": "\n  ".join([text, *found.notes]), "source": name} | asdict(found)


def _sets(task: str) -> list[Path]:
    """Returns the folders of a task's data; a hidden one is being written."""
    found = (home() / "data" / task).glob(f"[!.]*/{MANIFEST}")
    return sorted(manifest.parent for manifest in found)
