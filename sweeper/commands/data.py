"""The data of tasks and sources on this machine: list, import, generate, verify and delete."""

import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sweeper.commands.result import Message, Result
from sweeper.errors import Fault, FileFaults, SweeperError, UsageError
from sweeper.planning import own_tasks
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.results.prose import FEW
from sweeper.spec.arms import arms_of
from sweeper.spec.catalog import PROXY
from sweeper.spec.schema import tasks_of_floor
from sweeper.text import JsonObject, format_bytes, visible
from trainables.errors import DataError, TaskDataError
from trainables.sources.registry import (
    PROXIES,
    RECORD,
    ProxyEntry,
    data_of,
    proxy_faults,
    proxy_folder,
)
from trainables.spec import DataSpec
from trainables.storage.atomic import exclusive
from trainables.tasks import official
from trainables.tasks.generation import Progress
from trainables.tasks.loading import prepare_task
from trainables.tasks.own.benchmark import OwnBenchmark
from trainables.tasks.registry import TASKS, own_benchmark_of, task_info
from trainables.tasks.store.manifest import (
    FOLDER,
    MANIFEST,
    data_folder,
    folder_of,
    read_manifest,
)
from trainables.tasks.task import Publication, TaskInfo

OURS = "Apache-2.0"  # the licence of generated data


@dataclass(frozen=True, kw_only=True)
class DataHere(Result):
    """The data sets of a task that are on this machine."""

    official: bool
    generated: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TaskData(Result):
    """The data of one task."""

    name: str
    title: str
    source: str | None
    published: Publication | None
    licence: str
    samples: int
    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    bytes: int
    kind: str
    metric: str
    compat_metric: str | None
    protocol: str
    here: DataHere
    obtain: str | None  # a command
    import_: str | None  # a command


@dataclass(frozen=True, kw_only=True)
class SourceData(Result):
    """The data of one source."""

    name: str
    title: str
    dimension: str
    classes: int
    dense: bool
    contents: str
    licence: str
    present: bool
    obtain: str
    import_: str | None  # a command


@dataclass(frozen=True, kw_only=True)
class DataList(Result):
    """All tasks and sources."""

    tasks: tuple[TaskData, ...]
    proxies: tuple[SourceData, ...]


@dataclass(frozen=True, kw_only=True)
class Imported(Message):
    """The data of a task, or of a source, that were imported."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"task", "source"})

    task: str | None = None
    source: str | None = None
    folder: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Proposed(Message):
    """A task file that was written to start from."""

    file: Path


@dataclass(frozen=True, kw_only=True)
class Generated(Message):
    """The data of a task that were generated."""

    task: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class VerifiedSet(Result):
    """One data set without faults."""

    set: str
    folder: Path
    faults: tuple[object, ...]
    findings: tuple[str, ...]
    samples: Mapping[str, int]  # by split
    nearest: Mapping[str, Mapping[str, int | float]]


@dataclass(frozen=True, kw_only=True)
class VerifiedTask(Message):
    """All data sets of a task, without faults."""

    task: str
    sets: tuple[VerifiedSet, ...]


@dataclass(frozen=True, kw_only=True)
class VerifiedSource(Message):
    """A source without faults."""

    source: str
    samples: int
    classes: int
    content_hash: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DeletedData(Message):
    """The data of a task, or of a source, that were deleted."""

    name: str
    folders: tuple[Path, ...]
    bytes: int
    sweeps: tuple[str, ...]  # that read them


@dataclass(frozen=True)
class Deletion:
    """A deletion of the data of a task, or of a source, before it is confirmed."""

    name: str
    folders: tuple[Path, ...]
    size: int  # bytes
    sweeps: Mapping[str, str]  # states of those in ./sweeps that read the data

    @property
    def sets(self) -> str:
        """The names of the data sets."""
        return ", ".join(folder.name for folder in self.folders)

    @property
    def consequences(self) -> str:
        """The bytes that the deletion frees, and the sweeps that read the data."""
        size = format_bytes(self.size)
        lines = [f"{self.name}: {self.sets}, {size}, in {self.folders[0].parent}."]
        if self.sweeps:
            named = _named_sweeps(self.sweeps)
            lines.append(f"Sweeps in ./sweeps that read it, and could not be resumed: {named}.")
        return "\n".join(lines)


def everything(include: Sequence[Path] = ()) -> DataList:
    """Return all tasks and sources: what they are, whether they are here, and how to get them.

    Args:
        include: Task files of own tasks, or folders of them.

    Raises:
        FileFaults: A task file has a fault.
    """
    find_own(include)
    return DataList(
        tasks=tuple(map(_task, TASKS.values())),
        proxies=tuple(_proxy(name, entry) for name, entry in PROXIES.usable().items()),
    )


def find_own(include: Sequence[Path] = ()) -> None:
    """Register own tasks: of task files, and of data that were imported.

    Raises:
        FileFaults: A task file has a fault.
    """
    own_tasks.find(include)
    own_tasks.find_stored()


def _own_task(info: TaskInfo, own: OwnBenchmark) -> TaskData:
    facts, file = own.facts.get(info.name), own.files.get(info.name)
    return TaskData.of(
        info,
        source=None if file is None else str(file),
        published=None,
        licence=own.definitions[info.name].licence,
        shape=facts.input_shape if facts else (),
        output_shape=facts.output_shape if facts else (),
        bytes=facts.bytes if facts else 0,
        compat_metric=None,
        here=DataHere(official=facts is not None, generated=()),
        obtain=own.way_to_import(info.name),
        import_=None,
    )


def _task(info: TaskInfo) -> TaskData:
    if (own := own_benchmark_of(info.name)) is not None:
        return _own_task(info, own)
    published = info.publication
    fetch = f"sweeper data import {info.name} {published.files}" if published else None
    made = official.is_generated(info.name)
    stored = official.describe(info.name, DataSpec())
    sets = [folder.name for folder in sets_of(info.name)]
    return TaskData.of(
        info,
        source="our generator" if made else published.address if published else None,
        published=published,
        licence=published.licence if published and not made else OURS,
        shape=stored.x_shape,
        output_shape=stored.y_shape,
        bytes=stored.bytes,
        here=DataHere(
            official=FOLDER in sets,
            generated=tuple(key for key in sets if key != FOLDER),
        ),
        obtain=f"sweeper data generate {info.name}" if made else fetch,
        import_=fetch,
    )


def _proxy(name: str, entry: ProxyEntry) -> SourceData:
    return SourceData.of(
        entry,
        name=name,
        present=proxy_faults(name, home()) is None,
        import_=f"sweeper data import {name} {entry.files}" if entry.files else None,
    )


def import_files(
    name: str,
    files: Sequence[Path],
    seed: int,
    progress: Progress,
    *,
    replace: bool = False,
    include: Sequence[Path] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Imported:
    """Read the published files of a task, or of a source, into the data folder.

    Args:
        name: A task, a source, or the path of the task file of an own task.
        files: The published files, or folders that hold them; none for an own task.
        seed: The seed of the validation split.
        progress: Called with the name, the finished steps and the total.
        replace: Replace files that were imported before.
        include: Task files of own tasks, or folders of them.
        say: Called with each change of an own task's data, before they are stored.

    Raises:
        UsageError: There is no such task or source, a file is not as published, or a sweep that
            reads the data is running.
        FileFaults: A task file has a fault.
        StorageFull: The data folder cannot be written.
    """
    name = named(name, include)
    _check_arguments(name, files, seed)
    depending = dependents(name) if replace else {}
    _check_idle(name, depending)
    before, is_source = _content(name), name in PROXIES
    with as_usage_errors():
        if is_source:
            folder, notes = _import_proxy(name, files, replace)
        else:
            folder, notes = _import_task(name, files, seed, progress, replace, say)
    # The same files imported again, or a repair of damaged ones, change nothing for sweeps.
    if depending and before not in (None, _content(name)):
        begun = "Sweeps in ./sweeps that began on the former data, and cannot be resumed"
        notes.append(f"{begun}: {_named_sweeps(depending)}.")
    hint = f"what it can show, before a network is trained: sweeper audit {name}"
    look = [] if is_source else [hint]
    message = "\n".join([f"{name}: imported into {folder}", *notes, *look])
    return Imported(
        message=message,
        task=None if is_source else name,
        source=name if is_source else None,
        folder=folder,
        notes=tuple(notes),
    )


def _check_arguments(name: str, files: Sequence[Path], seed: int) -> None:
    """Check that files are given for a published task or a source, and for no own task."""
    is_own = name in TASKS and own_benchmark_of(name) is not None
    if is_own and files:
        raise UsageError(
            f"{name} is an own task: its task file names its files, so that none is given here. "
            f"Leave out {', '.join(map(str, files))}."
        )
    if is_own and seed:
        raise UsageError(f"{name}: the seed of its splits is `splits.seed` of its task file.")
    # A misspelt name is the fault that helps, and not the lack of files.
    if not is_own and not files and name not in PROXIES:
        with as_usage_errors():
            task_info(name)
    if name in PROXIES and not PROXIES[name].files:
        raise UsageError(f"{name}: there is nothing to import. {PROXIES[name].obtain}.")
    if not is_own and not files:
        raise UsageError(f"{name}: name its published files, or a folder that holds them.")


def propose_task(path: Path) -> Proposed:
    """Write a task file for a file or folder of data beside it, and never over another file.

    Raises:
        UsageError: There is nothing to read, or the task file exists.
    """
    from trainables.tasks.own.proposal import propose

    target = path.absolute().parent / f"{path.absolute().stem}.task.yaml"
    taken = UsageError(
        f"{target}: it exists already, and is never overwritten. Edit it, or rename it first."
    )
    if target.exists():
        raise taken
    with as_usage_errors():
        text = propose(path, enough=FEW)
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        hint = "no text can hold its name, or one in it: rename it"
        raise UsageError(f"{visible(str(path))}: {hint}.") from error
    # Another process may have written the file since it was looked for.
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise taken from None
    except OSError as error:
        raise UsageError(f"{target}: it cannot be written ({error.strerror}).") from error
    found = [line[2:] for line in text.partition("\nname:")[0].splitlines()[1:]]
    way_on = (
        f"{target}: written. Check it, and then run: sweeper data import {shlex.quote(str(target))}"
    )
    return Proposed(message="\n".join([*found, way_on]), file=target)


def _import_task(
    name: str,
    files: Sequence[Path],
    seed: int,
    progress: Progress,
    replace: bool,
    say: Callable[[str], None],
) -> tuple[Path, list[str]]:
    from trainables.tasks.importing import import_own, import_task  # torch, unlike a plan

    own = own_benchmark_of(name) if name in TASKS else None
    if own is None:
        folder = import_task(name, files, home(), seed=seed, replace=replace, progress=progress)
    else:
        try:
            folder = import_own(name, home(), replace=replace, progress=progress, say=say)
        except TaskDataError as error:
            raise own_tasks.fault_of(own.files[name], error) from error
    return folder, list(read_manifest(folder).get("notes", []))


def _import_proxy(name: str, files: Sequence[Path], replace: bool) -> tuple[Path, list[str]]:
    from trainables.sources.importing import import_proxy, verify_proxy

    folder = import_proxy(name, files, home(), replace=replace)
    return folder, list(verify_proxy(name, home()).notes)


def _content(name: str) -> str | None:
    """Return the hash of the imported files of a task or source, or None if they are not whole."""
    try:
        if name not in PROXIES:
            return str(read_manifest(folder_of(name, home()))["content_hash"])
        record = proxy_folder(name, home()) / RECORD
        return str(json.loads(record.read_text(encoding="utf-8"))["content_hash"])
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None


def _named_sweeps(states: Mapping[str, str]) -> str:
    return ", ".join(f"{sweep} ({state})" for sweep, state in states.items())


def dependents(name: str) -> dict[str, str]:
    """Return the sweeps in ./sweeps that read a task's data or a source's, and their states.

    A sweep counts as running as soon as a launch holds its lease, before its ledger says so.
    """
    from sweeper.planning import sweep_folder as folders

    found = {}
    for folder in folders.all_folders():
        # Its ledger is on a cluster, which has data of its own.
        if folders.remote_of(folder) is not None:
            continue
        with suppress(SweeperError), folders.started(folder, checked=None) as (ledger, record):
            if name in _read_by(record.resolved):
                is_driven = ledger.holder() is not None
                state = "running" if is_driven else folders.living_state(record, ledger)
                found[record.name] = state
    return found


def _read_by(resolved: JsonObject) -> set[str]:
    """Return the tasks and sources of a sweep, including sources that it searches or compares."""
    searched = resolved.get("parameters", {}).get(PROXY, {}).get("values", ())
    arms = arms_of(resolved.get("compare_by") or {})
    pinned = [arm.pinned[PROXY] for arm in arms if PROXY in arm.pinned]
    sources = [*resolved.get("proxies", {}).values(), *searched, *pinned]
    tasks = {
        *resolved.get("tasks", ()),
        *tasks_of_floor((resolved.get("program") or {}).get("floor")),
    }
    return tasks | {data_of(name) for name in sources if name in PROXIES}


def _check_idle(name: str, depending: Mapping[str, str]) -> None:
    for sweep, state in depending.items():
        if state == "running":
            raise UsageError(
                f"{name}: sweep {sweep} is running on it. Let it finish, or stop it first: "
                f"sweeper stop {sweep}"
            )


def deletion(name: str, include: Sequence[Path] = ()) -> Deletion:
    """Return what a deletion of the data of a task, or of a source, would free and affect.

    Args:
        name: A task, a source, or the path of the task file of an own task.
        include: Task files of own tasks, or folders of them.

    Raises:
        UsageError: There is no such task or source, none of its data are here, or a sweep
            that reads them is running.
    """
    if name in PROXIES:
        if data_of(name) != name:
            raise UsageError(f"{name}: its data are those of {data_of(name)}: name that one.")
        if not PROXIES[name].files:
            raise UsageError(f"{name}: it comes with a package; there is nothing to delete here.")
        folders = [proxy_folder(name, home())]
    else:
        name = named(name, include)
        with as_usage_errors():
            place = data_folder(task_info(name).name, home())
        # Hidden folders are of an import, a generation or a deletion that has not ended.
        folders = [path for path in place.glob("[!.]*") if not path.is_symlink()]
    folders = sorted(path for path in folders if path.is_dir())
    if not folders:
        raise UsageError(f"{name}: there is no data of it in {home()}.")
    depending = dependents(name)
    _check_idle(name, depending)
    size = sum(file.stat().st_size for one in folders for file in one.rglob("*") if file.is_file())
    return Deletion(name, tuple(folders), size, depending)


def delete(planned: Deletion) -> DeletedData:
    """Delete data; a launch or an import that begins meanwhile finds a whole data set or none.

    Raises:
        UsageError: A sweep that reads them has begun meanwhile.
        StorageFull: They cannot be deleted.
    """
    depending = dependents(planned.name)
    _check_idle(planned.name, depending)
    with as_usage_errors():
        for folder in planned.folders:
            with exclusive(folder.with_name(f".{folder.name}.lock")):
                aside = folder.with_name(f".{folder.name}.deleted")
                # An interrupted deletion may have left it.
                shutil.rmtree(aside, ignore_errors=True)
                if folder.exists():
                    folder.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
    size = format_bytes(planned.size)
    return DeletedData.of(
        planned,
        message=f"{planned.name}: deleted {planned.sets}, {size} freed",
        bytes=planned.size,
        sweeps=tuple(depending),
    )


def generate(
    task: str,
    variant: str | None,
    sizes: Mapping[str, int | None],
    workers: int,
    progress: Progress,
) -> Generated:
    """Generate the data of a task that has a generator, unless they are there.

    Args:
        task: Name of the task.
        variant: Name of its generator's variant; None: that of the task's name.
        sizes: `samples`, `resolution` and `seed`, as in `DataSpec`.
        workers: The number of processes.
        progress: Called with the task, the number of finished samples and the total.

    Raises:
        UsageError: There is no such task, it has no generator, the sizes are impossible, or
            `variant` contradicts the task's name.
        StorageFull: The data folder cannot be written.
    """
    task = _named(task, variant)
    data = DataSpec.model_validate({"source": "generated", **sizes})
    with as_usage_errors():
        folder = prepare_task(task, data, home(), progress=progress, workers=workers)
    return Generated(message=f"{task}: in {folder}", task=task, folder=folder)


def named(task: str, include: Sequence[Path] = ()) -> str:
    """Return the name of a task that is given by name or by its task file; register own tasks.

    Raises:
        FileFaults: A task file has a fault.
    """
    if task.endswith((".yaml", ".yml")):
        return own_tasks.read_one(Path(task), include)
    find_own(include)
    return task


def _named(task: str, variant: str | None) -> str:
    """Return the name of a variant of a task."""
    published, _, suffix = task.partition("@")
    if variant and suffix and variant != suffix:
        raise UsageError(f"{task} is one variant, and --variant {variant} another: leave one out.")
    return task if variant in (None, "compat") else f"{published}@{variant}"


def verify(name: str, include: Sequence[Path] = ()) -> VerifiedTask | VerifiedSource:
    """Read every byte of all data sets of a task, or of a source, and check them.

    Args:
        name: A task, a source, or the path of the task file of an own task.
        include: Task files of own tasks, or folders of them.

    Raises:
        FileFaults: Data are altered or not finite, a label is out of range, or a sample is in
            two splits.
        UsageError: There is no such task or source, none of its data are here, or the source is
            damaged.
    """
    if name in PROXIES:
        return _verify_proxy(name)
    from trainables.tasks.verification import verify_folder

    name = named(name, include)
    with as_usage_errors():
        found = [verify_folder(folder, name) for folder in usable_sets(name)]
    if faults := [fault for one in found for fault in one.faults]:
        raise FileFaults(Fault(fault.where, None, fault.text) for fault in faults)
    sets = (VerifiedSet(set=one.folder.name, **vars(one)) for one in found)
    lines = [f"  {one.folder.name}: {finding}" for one in found for finding in one.findings]
    lines += [f"  {remark}" for remark in [own_tasks.change_since_import(name)] if remark]
    text = (
        f"{name}: {len(found)} data sets, every byte as their manifests say, every number finite, "
        "labels in range, no sample in two splits"
    )
    return VerifiedTask(message="\n".join([text, *lines]), task=name, sets=tuple(sets))


def _verify_proxy(name: str) -> VerifiedSource:
    from trainables.sources.importing import verify_proxy

    with as_usage_errors():
        found = verify_proxy(name, home())
    text = f"{name}: {found.samples} samples of {found.classes} classes, every one read"
    return VerifiedSource(message="\n  ".join([text, *found.notes]), source=name, **vars(found))


def sets_of(task: str) -> list[Path]:
    """Return the folders of a task's data sets; hidden folders are unfinished."""
    found = data_folder(task, home()).glob(f"[!.]*/{MANIFEST}")
    return sorted(manifest.parent for manifest in found)


def usable_sets(task: str) -> list[Path]:
    """Return the folders of a task's data sets.

    Raises:
        UsageError: There is none, or the data are those of another task file.
        ConfigError: There is no such task.
    """
    found = sets_of(task_info(task).name)
    if reason := official.outdated(task, folder_of(task, home())):
        raise UsageError(reason)
    if not found:
        way = _task(TASKS[task]).obtain
        raise UsageError(f"{task}: no data in {home() / 'data' / task}. To have some: {way}")
    return found
