"""New sweep files: for some methods and tasks, with comments and two profiles.

The file without a profile is for GPUs (`--profile paper`). The profile `laptop` is for a machine
without one: its samples and epochs follow from the size of the data and from the minutes that a
trial may take.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Message
from sweeper.config.faults import shown
from sweeper.config.schema import NAME, RULES
from sweeper.config.sweep import Sweep
from sweeper.errors import FileFaults, StorageFull, UsageError, unknown
from sweeper.planning import own_tasks
from sweeper.planning.catalog import as_usage_errors, catalog, home
from sweeper.planning.load import Options, missing, read
from trainables.distances.registry import OWN
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks import official
from trainables.tasks.loading import describe_data
from trainables.tasks.registry import BUILT_IN, TASKS
from trainables.tasks.task import TaskInfo

PROFILES = ("laptop", "paper")
PASSES_A_MINUTE = 1500  # training samples x epochs, of the laptop's backbones on one CPU core
VAL_SHARE, TEST_SHARE = 0.15, 0.2  # of the samples of the profile; the second of generated data
FEWEST_EPOCHS, MOST_EPOCHS = 6, 20
FEWEST_SAMPLES = 40  # to train on
SEARCH, PRUNING = "bohb", "promote"  # what did best in our benchmark; shipped files have it, too
PAPER_EPOCHS = 60  # of own tasks, which have no published number

BACKBONES = {  # by profile: names, and what is cut for a CPU
    "paper": {"1d": "roberta_base", "2d": "swin_base"},
    "laptop": {
        "1d": "{name: minilm, layers: 2, tokens: 32}",
        "2d": "{name: dinov2_small, layers: 2, tokens: 64}",
    },
}
SOURCES = {
    "paper": {"1d": "conll2003", "2d": "cifar10"},
    "laptop": {"1d": "python_source", "2d": "digits"},
}
LOG = "distribution: log_uniform_values"


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A parameter that a new file searches, in the spelling of sweep files."""

    values: str
    comment: str
    laptop: str | None = None  # what the profile changes; null removes it


RATE = Searched(
    values=f"{{{LOG}, min: 1.0e-6, max: 1.0e-3}}",
    comment="peak rate of fine-tuning",
    laptop="{min: 1.0e-4, max: 3.0e-3}",
)
DECAY = Searched(values=f"{{{LOG}, min: 1.0e-6, max: 0.1}}", comment="of fine-tuning")
SEARCHED = {
    "align.distance": Searched(
        values=f"{{values: [{', '.join(OWN)}]}}",
        comment="between embedded target and source data",
    ),
    "align.epochs": Searched(
        values="{distribution: q_log_uniform_values, min: 5, max: 100, q: 1}",
        comment="passes of alignment before fine-tuning",
        laptop="{min: 5, max: 20}",
    ),
    "align.lr": Searched(
        values=f"{{{LOG}, min: 1.0e-5, max: 3.0e-2}}",
        comment="rate of the embedder's alignment",
        laptop="{min: 1.0e-3, max: 3.0e-2}",
    ),
    "meta.alpha": Searched(
        values=f"{{{LOG}, min: 1.0e-4, max: 1.0}}", comment="rate of the virtual step"
    ),
    "meta.lambda": Searched(
        values=f"{{{LOG}, min: 1.0e-2, max: 10.0}}",
        comment="weight of source separation against target loss",
    ),
    "meta.epochs": Searched(
        values="{values: [1, 2, 5, 10]}",
        comment="passes before fine-tuning",
        laptop="{values: [1, 2, 3]}",
    ),
    "contrast.epochs": Searched(
        values="{distribution: q_log_uniform_values, min: 1, max: 20, q: 1}",
        comment="passes of contrastive training before fine-tuning",
        laptop="{max: 4}",
    ),
    "contrast.lr": Searched(
        values=f"{{{LOG}, min: 1.0e-5, max: 3.0e-2}}",
        comment="rate of the embedder's contrastive training",
        laptop="{min: 1.0e-4}",
    ),
    "match.epochs": Searched(
        values="{distribution: q_log_uniform_values, min: 1, max: 20, q: 1}",
        comment="passes of matching before fine-tuning",
        laptop="{max: 4}",
    ),
    "match.lr": Searched(
        values=f"{{{LOG}, min: 1.0e-6, max: 1.0e-2}}",
        comment="rate of the embedder's matching",
        laptop="{min: 1.0e-4}",
    ),
    "solve.initial_weight": Searched(
        values=f"{{{LOG}, min: 1.0, max: 1.0e+3}}",
        comment="weight of the initial state, beside the residual",
    ),
    **{
        f"{stage}.k0": Searched(
            values="{min: 0.05, max: 1.0}", comment="share of source tokens in a mixture at first"
        )
        for stage in ("replace", "mix")
    },
    **{
        f"{stage}.gamma": Searched(
            values=f"{{{LOG}, min: 0.03, max: 3.0}}", comment="weight of the mixture's loss"
        )
        for stage in ("replace", "mix")
    },
}
FIXED_EARLY = {  # of the profile `laptop`, for stages other than fine-tuning
    "align": {"measure": 128, "source_per_class": 25, "max_samples": 128},
    "meta": {"batch_size": 16, "classes": 4, "per_class": 2, "measure": 128},
    "contrast": {"measure": 128},
    "match": {"measure": 128, "source_per_class": 25},
    "solve": {"width": 20, "layers": 4, "points": 128, "iterations": 500, "val_samples": 4},
}
FIXED_LAST = {"optimizer": "adamw", "batch_size": 16, "warmup_epochs": 1, "clip_norm": 1.0}


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
        most = max(FEWEST_SAMPLES, int(self._passes / FEWEST_EPOCHS / 10) * 10)
        if max(self._trained, default=0) <= most:
            return None
        wanted = min(most, *self._trained)
        return wanted if wanted >= FEWEST_SAMPLES else None

    @property
    def epochs(self) -> int:
        """The epochs of a trial of the profile `laptop`."""
        samples = self.samples or max(self._trained, default=0)
        if not samples:
            return FEWEST_EPOCHS
        return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(self._passes / samples)))

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
    former = path.read_text(encoding="utf-8") if replace and path.is_file() else None
    _write(path, "\n".join(_lines(draft)) + "\n", again, replace=replace)
    try:
        # A file may be for another machine, which has the weights.
        sweeps = [read(path, Options(profile=name), for_cluster=True) for name in PROFILES]
    except FileFaults:
        if former is None:
            path.unlink()
        else:
            path.write_text(former, encoding="utf-8")
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
    try:
        with path.open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        way_out = f"name another file, or replace it, and lose what was changed in it: {again}"
        raise UsageError(f"{path} exists: {way_out}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {path}: {path.parent} is no folder.") from error
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}.") from error


def _message(draft: Draft, path: Path, laptop: Sweep, again: str) -> str:
    count = "all samples" if draft.samples is None else f"{draft.samples} training samples"
    lines = [f"wrote {path}; its profile `laptop` has {count} and {draft.epochs} epochs a trial"]
    with as_usage_errors():
        lines += dict.fromkeys(t for study in laptop.studies() for t in missing(study, home()))
    if any(not task.samples for task in draft.tasks):
        lines.append(
            "the size of some data is not known before their import. Write the file again then, "
            f"and the profile fits it: {again}"
        )
    first = draft.tasks[0].name
    lines.append(f"what the data can show, before a network is trained: sweeper audit {first}")
    lines.append(f"next: sweeper plan {path} --profile laptop --calibrate")
    lines.append(f"then: sweeper launch {path} --profile laptop")
    return "\n".join(lines)


# The text of a file


def _lines(draft: Draft) -> Iterator[str]:
    """Yield the lines of a sweep file."""
    yield f"# {', '.join(METHODS[name].title for name in draft.methods)} on {_said(draft.tasks)}."
    yield "#"
    yield "# sweeper validate FILE reports faults, and sweeper plan FILE what a launch would take;"
    yield "# sweeper describe NAME explains methods, tasks and all their settings."
    yield ""
    yield f"name: {draft.name}"
    yield _noted(f"experiment: {draft.name}", "in MLflow")
    if draft.include:
        yield _noted(f"include: {json.dumps(draft.include)}", "the files of own tasks")
    yield f"methods: [{', '.join(draft.methods)}]"
    yield "tasks:"
    yield from (f"  - {task.name}" for task in draft.tasks)
    yield ""
    yield _noted(f"backbones: {_by_dimension(BACKBONES['paper'], draft)}", "pretrained bodies")
    if _needs_source(draft):
        yield _noted(f"proxies: {_by_dimension(SOURCES['paper'], draft)}", "labelled source data")
    yield ""
    yield _noted("parameters:", "searched; the first trial has the method's preset")
    for name, searched in _searched(draft).items():
        yield _noted(f"  {name}:", searched.comment)
        yield f"    {searched.values}"
    if draft.is_own:
        yield "fixed:"
        yield from (f"  {stage}.epochs: {PAPER_EPOCHS}" for stage in _last_stages(draft))
    yield ""
    search = f"search: {{sampler: {SEARCH}, trials: 64, startup_trials: 10}}"
    yield _noted(search, "of each study")
    pruning = f"pruning: {{type: {PRUNING}, min_epochs: {_min_epochs(draft)}, eta: 3}}"
    yield _noted(pruning, "trials pause")
    yield _noted("resources: {cpu: 4, gpu: 0.5}", "of one trial: two share a GPU")
    yield ""
    yield "# To compare methods, train the best configuration and the control on several seeds:"
    yield "# replicate: {top: 1, seeds: 6}"
    yield ""
    yield "profiles:"
    yield f"  # Small: a trial takes about {draft.minutes:g} min on a CPU core. The weights are of"
    yield "  # installed packages. More samples or epochs take longer in proportion."
    yield from (f"  {line}" for line in _laptop(draft))


def _noted(text: str, comment: str) -> str:
    """Return a line with a comment, in one column with others if there is room."""
    return f"{text.ljust(34)}  # {comment}"


def _laptop(draft: Draft) -> Iterator[str]:
    """Yield the lines of the profile `laptop`."""
    yield "laptop:"
    yield "  backbones:"
    for dimension in draft.dimensions:
        yield f"    {dimension}: {BACKBONES['laptop'][dimension]}"
    if _needs_source(draft):
        yield f"  proxies: {_by_dimension(SOURCES['laptop'], draft)}"
    yield "  model: {head: linear}"
    if draft.samples is not None:
        data = [f"samples: {draft.samples}, val_fraction: {VAL_SHARE}"]
        # A published or own test split is kept whole: it costs one pass a trial.
        if all(official.is_generated(task.name) for task in draft.tasks):
            data += [f"test_fraction: {TEST_SHARE}", "resolution: {1d: 256, 2d: 32}"]
        yield _noted(f"  data: {{{', '.join(data)}}}", "`samples` train")
    yield "  search: {trials: 8, startup_trials: 3}"
    yield "  pruning: {min_epochs: 2, eta: 2}"
    yield "  resources: {cpu: 1, gpu: 0}"
    changed = {n: s.laptop for n, s in _searched(draft).items() if s.laptop is not None}
    if changed:
        yield "  parameters:"
        yield from (f"    {name}: {values}" for name, values in changed.items())
    yield "  fixed:"
    for stage, name, value in _fixed(draft):
        yield f"    {stage}.{name}: {value}"


def _fixed(draft: Draft) -> Iterator[tuple[str, str, object]]:
    """Yield the settings that the profile `laptop` fixes: stage, parameter, value."""
    entries, searched = catalog().methods, _searched(draft)
    configs = {s: c for m in draft.methods for s, c in entries[m].stages.items()}
    for stage, values in FIXED_EARLY.items():
        if stage in configs:
            yield from ((stage, name, value) for name, value in values.items())
    for stage in _last_stages(draft):
        fields = configs[stage].model_fields
        for name, value in {**FIXED_LAST, "epochs": draft.epochs, "accumulation": 1}.items():
            if name in fields and f"{stage}.{name}" not in searched:
                yield stage, name, value


def _searched(draft: Draft) -> dict[str, Searched]:
    """Return the parameters of the stages of a file's methods, each with what is searched."""
    entries = catalog().methods
    stages = dict.fromkeys(s for m in draft.methods for s in entries[m].stages)
    found = {n: each for n, each in SEARCHED.items() if n.partition(".")[0] in stages}
    configs = {s: c for m in draft.methods for s, c in entries[m].stages.items()}
    for stage in _last_stages(draft):
        found |= {
            f"{stage}.{name}": each
            for name, each in {"lr": RATE, "weight_decay": DECAY}.items()
            if name in configs[stage].model_fields
        }
    return found


def _last_stages(draft: Draft) -> list[str]:
    """Return the stages in which the methods fine-tune."""
    entries = catalog().methods
    return list(dict.fromkeys(entries[method].objective_stage for method in draft.methods))


def _min_epochs(draft: Draft) -> int:
    """Return the epochs after which trials may pause: fewer than any method has."""
    entries = catalog().methods
    configs = (entries[method].stages[entries[method].objective_stage] for method in draft.methods)
    return min(3, *(int(config.model_fields["epochs"].default) - 1 for config in configs))


def _needs_source(draft: Draft) -> bool:
    return any(catalog().methods[method].needs_source for method in draft.methods)


def _by_dimension(names: dict[str, str], draft: Draft) -> str:
    return f"{{{', '.join(f'{each}: {names[each]}' for each in draft.dimensions)}}}"


def _said(tasks: Iterable[TaskInfo]) -> str:
    titles = [task.title for task in tasks]
    return titles[0] if len(titles) == 1 else f"{len(titles)} tasks"
