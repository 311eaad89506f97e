"""New sweep files: copies of shipped ones, or for some methods and tasks, with two profiles.

The file without a profile is for GPUs (`--profile paper`). The profile `laptop` is for a machine
without one: its samples and epochs follow from the size of the data and from the minutes that a
trial may take.
"""

import json
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sweeper.commands.result import Message
from sweeper.errors import FileFaults, SweeperError, UsageError, unknown, writing
from sweeper.planning import own_tasks
from sweeper.planning.catalog import as_usage_errors, catalog, home
from sweeper.planning.load import Options, missing, read
from sweeper.spec.faults import shown
from sweeper.spec.layers import EXTENDS
from sweeper.spec.reader import parse, read_text, to_yaml
from sweeper.spec.schema import NAME, RULES
from sweeper.spec.shipped import shipped_files
from sweeper.spec.sweep import Sweep
from trainables.distances.registry import OWN
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.loading import describe_data
from trainables.tasks.registry import BUILT_IN, TASKS
from trainables.tasks.task import TaskInfo

PROFILES = ("laptop", "paper")
PASSES_A_MINUTE = 1500  # training samples x epochs, of the laptop's backbones on one CPU core
MIN_EPOCHS, MAX_EPOCHS = 6, 20
MIN_SAMPLES = 40  # to train on

BACKBONES = {"1d": "roberta_base", "2d": "swin_base"}
SOURCES = {
    "paper": {"1d": "conll2003", "2d": "cifar10"},
    "laptop": {"1d": "python_source", "2d": "digits"},
}


@dataclass(frozen=True, kw_only=True)
class NewFile(Message):
    """A sweep file that was written."""

    path: Path
    sweep: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    samples: int | None  # that train in the profile `laptop`; None: all
    epochs: int  # of the same


@dataclass(frozen=True, kw_only=True)
class CopiedFile(Message):
    """A copy of a shipped sweep file."""

    path: Path
    sweep: str
    base: Path | None  # the file that it extends, which was copied with it


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The content of a new file."""

    name: str
    methods: Sequence[str]
    tasks: Sequence[TaskInfo]
    include: Sequence[str]  # task files, relative to the new file
    minutes: float

    @property
    def dimensions(self) -> list[str]:
        return sorted({task.dimension for task in self.tasks})

    @property
    def is_own(self) -> bool:
        """True if all tasks are described by task files."""
        return all(task.benchmark not in BUILT_IN for task in self.tasks)

    @property
    def samples(self) -> int | None:
        """The training samples of the profile `laptop`; None: as many as the data have."""
        most = max(MIN_SAMPLES, int(self._passes / MIN_EPOCHS / 10) * 10)
        if max(self._trained, default=0) <= most:
            return None
        # One number holds for all tasks, so that the smallest one bounds it.
        wanted = min(most, *self._trained)
        # A task with fewer than that needs all of its samples, so no task is thinned.
        return wanted if wanted >= MIN_SAMPLES else None

    @property
    def epochs(self) -> int:
        """The epochs of a trial of the profile `laptop`."""
        samples = self.samples or max(self._trained, default=0)
        if not samples:
            return MIN_EPOCHS
        return min(MAX_EPOCHS, max(MIN_EPOCHS, round(self._passes / samples)))

    @property
    def _trained(self) -> list[int]:
        """The training samples of each task whose data are known."""
        known = (task.name for task in self.tasks if task.samples)
        return [describe_data(name, DataSpec()).splits["train"] for name in known]

    @property
    def _passes(self) -> float:
        return PASSES_A_MINUTE * self.minutes


def init(
    file: Path | None,
    *,
    methods: Sequence[str],
    tasks: Sequence[str] = (),
    task_files: Sequence[Path] = (),
    minutes: float = 1.0,
    replace: bool = False,
) -> NewFile:
    """Write a new sweep file, and check that it is valid in both profiles.

    Args:
        file: The file; None: NAME.yaml in the current folder, with a name after the tasks.
        methods: Names of methods.
        tasks: Names of tasks: of the package, of SWEEPER_HOME/tasks, or of `task_files`.
        task_files: Files of own tasks, whose tasks are in the sweep.
        minutes: What a trial of the profile `laptop` may take, about.
        replace: Replace the file if it exists.

    Raises:
        UsageError: There is no such method or task, none was given, or the file exists and is not
            to be replaced.
        FileFaults: A task file has a fault, or a method cannot do a task.
        StorageFull: The file cannot be written.
    """
    draft, path = _draft(file, methods, tasks, task_files, minutes)
    again = _command(path, draft, task_files)
    former = path.read_bytes() if replace and path.is_file() else None
    _write(path, _text(draft), again, replace=replace)
    try:
        # A file may be for another machine, which has the weights.
        sweeps = [read(path, Options(profile=name), for_cluster=True) for name in PROFILES]
    except FileFaults:
        # A file with faults is not left behind, nor in place of a former one.
        if former is None:
            path.unlink()
        else:
            path.write_bytes(former)
        raise
    return NewFile(
        message=_message(draft, path, sweeps[0], again),
        path=path,
        sweep=draft.name,
        methods=tuple(draft.methods),
        tasks=tuple(task.name for task in draft.tasks),
        samples=draft.samples,
        epochs=draft.epochs,
    )


def copy(shipped: str, file: Path | None = None, *, replace: bool = False) -> CopiedFile:
    """Copy a shipped sweep file with the file that it extends, to change the copy.

    Args:
        shipped: The name of the shipped file, such as mona_pdebench.
        file: The file to write, after which the sweep is named; None: one of the same name in the
            current folder.
        replace: Replace files that exist.

    Raises:
        UsageError: No such file is shipped, or a file exists and is not to be replaced.
        StorageFull: A file cannot be written.
    """
    known = {each.stem: each for each in shipped_files()}
    source = known.get(Path(shipped).stem)
    if source is None:
        raise UsageError(f"{unknown('file', shipped, known)} All of them: sweeper ls --shipped")
    path = Path(source.name) if file is None else file
    name, text = _name(path, ()), read_text(source)
    again = shlex.join(["sweeper", "init", str(path), "--from", source.stem, "--replace"])
    extended = parse(text, str(source)).child(EXTENDS).value
    base = None if extended is None else path.parent / str(extended)
    if base is not None:
        common = read_text(source.parent / str(extended))
        # Sweeps and questions extend files of one name, of which a folder has one.
        if base.is_file() and read_text(base) != common:
            others = [each.name for each in sorted(path.parent.glob("*.yaml"))
                      if each != path and _extends(each, base)]  # fmt: skip
            if others:
                raise UsageError(
                    f"{base} exists, with other text, and is a part of {', '.join(others)}: name "
                    "another folder"
                )
            if not replace:
                raise UsageError(
                    f"{base} exists, with other text: name another folder, or replace it: {again}"
                )
    named = to_yaml({"name": name}).strip()  # quoted if YAML would read a number or null
    # The text is changed in place, because a file that is written anew has no comments.
    _write(path, re.sub(r"(?m)^name: \S+", named, text, count=1), again, replace=replace)
    if base is not None:
        with suppress(OSError):  # the next line reports it
            base.parent.mkdir(exist_ok=True)
        # The base is the same text or may be replaced, as was checked above.
        _write(base, common, again, replace=True)
    written = f"wrote {path}" if base is None else f"wrote {path}, and {base}, which it extends"
    return CopiedFile(
        message=f"{written}\nnext: sweeper plan {path}", path=path, sweep=name, base=base
    )


def _extends(file: Path, base: Path) -> bool:
    with suppress(SweeperError):  # it is of no sweep
        value = parse(read_text(file), str(file)).child(EXTENDS).value
        return value is not None and file.parent / str(value) == base
    return False


def _draft(
    file: Path | None,
    methods: Sequence[str],
    tasks: Sequence[str],
    task_files: Sequence[Path],
    minutes: float,
) -> tuple[Draft, Path]:
    """Return the content of a new file, and its path."""
    known = catalog().methods
    for method in methods:
        if method not in known:
            raise UsageError(unknown("method", method, known))
    own_tasks.find(task_files)
    names = dict.fromkeys([*(own_tasks.read_one(each) for each in task_files), *tasks])
    for task in names:
        if task not in TASKS:
            raise UsageError(f"{unknown('task', task, TASKS)} Own tasks: --task-file FILE.")
    if not methods or not names:
        raise UsageError("a sweep has at least one method (--methods) and one task (--tasks).")
    if not 0 < minutes < 10_000:
        raise UsageError(f"--minutes {minutes:g}: must be above 0, and below 10000.")
    infos = [TASKS[task] for task in names]
    name = _name(file, infos)
    path = Path(f"{name}.yaml") if file is None else file
    base = path.absolute().parent
    include = [os.path.relpath(each.absolute(), base) for each in task_files]
    draft = Draft(
        name=name,
        methods=list(dict.fromkeys(methods)),
        tasks=infos,
        include=include,
        minutes=minutes,
    )
    return draft, path


def _name(file: Path | None, tasks: Sequence[TaskInfo]) -> str:
    """Return the name of the sweep: after its file, or after its tasks.

    Raises:
        UsageError: No sweep can be named after the file.
    """
    if file is not None:
        if not re.fullmatch(NAME, file.stem) or file.suffix not in (".yaml", ".yml"):
            raise UsageError(
                f"{shown(str(file))}: a sweep file is NAME.yaml, and the name {RULES[NAME]}."
            )
        return file.stem
    benchmark, _, task = tasks[0].name.partition("/")
    return re.sub("[^a-z0-9_-]", "_", (task if len(tasks) == 1 else benchmark).lower())[:63]


def _command(path: Path, draft: Draft, task_files: Sequence[Path]) -> str:
    """Return the command that writes the file again."""
    of_files = {own_tasks.read_one(each) for each in task_files}
    named = [task.name for task in draft.tasks if task.name not in of_files]
    words = ["sweeper", "init", str(path), "--methods", ",".join(draft.methods)]
    words += ["--tasks", ",".join(named)] if named else []
    for each in task_files:
        words += ["--task-file", str(each)]
    words += ["--minutes", f"{draft.minutes:g}"] if draft.minutes != 1 else []
    return shlex.join([*words, "--replace"])


def _write(path: Path, text: str, again: str, *, replace: bool) -> None:
    """Write a file, which must not exist yet unless it is to be replaced.

    Raises:
        UsageError: It exists, or its folder does not.
        StorageFull: It cannot be written.
    """
    with writing(path):
        try:
            with path.open("w" if replace else "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            hint = f"name another file, or replace it, and lose what was changed in it: {again}"
            raise UsageError(f"{path} exists: {hint}") from error


def _message(draft: Draft, path: Path, laptop: Sweep, again: str) -> str:
    count = "all samples" if draft.samples is None else f"{draft.samples} training samples"
    lines = [f"wrote {path}; its profile `laptop` has {count} and {draft.epochs} epochs a trial"]
    with as_usage_errors():
        lines += dict.fromkeys(missing(laptop, home()))
    if any(not task.samples for task in draft.tasks):
        lines.append(
            "the size of some data is not known before their import. Write the file again then, "
            f"and the profile fits it: {again}"
        )
    if (first := draft.tasks[0]).samples:
        lines.append(f"what the data can show, before any training: sweeper audit {first.name}")
    own = shlex.quote(str(path))
    lines.append(f"next: sweeper plan {own} --profile laptop --calibrate")
    lines.append(f"then: sweeper launch {own} --profile laptop")
    return "\n".join(lines)


def _text(draft: Draft) -> str:
    """Return the text of a sweep file."""
    entries = [catalog().methods[name] for name in draft.methods]
    last = {entry.objective_stage: entry.stages[entry.objective_stage] for entry in entries}
    return _template().render(
        titles=", ".join(METHODS[name].title for name in draft.methods),
        said=draft.tasks[0].title if len(draft.tasks) == 1 else f"{len(draft.tasks)} tasks",
        name=to_yaml({"name": draft.name}).strip().removeprefix("name: "),
        include=json.dumps(draft.include) if draft.include else "",
        methods=draft.methods,
        tasks=[task.name for task in draft.tasks],
        dimensions=draft.dimensions,
        paper_backbones=_by_dimension(BACKBONES, draft),
        needs_source=any(entry.needs_source for entry in entries),
        paper_proxies=_by_dimension(SOURCES["paper"], draft),
        laptop_proxies=_by_dimension(SOURCES["laptop"], draft),
        stages={stage for entry in entries for stage in entry.stages},
        last={stage: config.model_fields for stage, config in last.items()},
        distances=OWN,
        is_own=draft.is_own,
        # Trials may pause after fewer epochs than any method has.
        min_epochs=min(
            3, *(int(each.model_fields["epochs"].default) - 1 for each in last.values())
        ),
        minutes=f"{draft.minutes:g}",
        samples=draft.samples,
        epochs=draft.epochs,
        is_generated=all(official.is_generated(task.name) for task in draft.tasks),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("sweeper.commands", ""),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # YAML; all values are names, numbers or titles of our own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pad"] = lambda text: text.ljust(34)  # comments begin in one column
    return environment.get_template("new_sweep.yaml.j2")


def _by_dimension(names: dict[str, str], draft: Draft) -> str:
    return f"{{{', '.join(f'{each}: {names[each]}' for each in draft.dimensions)}}}"
