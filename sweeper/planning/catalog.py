"""The service's view of `trainables`: its names, its configs, its home folder and its errors.

It reads registries and configs only, and does not import torch.
"""

import os
import tempfile
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from sweeper.errors import NOT_TAKEN, StorageFull, UsageError
from sweeper.planning.plugin_path import path_of
from sweeper.planning.samplers import PRUNERS, SAMPLERS, check_pruner, check_sampler
from sweeper.spec.catalog import Catalog, Settings
from sweeper.spec.faults import shown
from trainables.errors import TrainableError
from trainables.methods.method import Method
from trainables.methods.program import program_of, register_task
from trainables.methods.registry import METHODS
from trainables.models.weights.description import BACKBONES
from trainables.plugins import plugins_of, with_sources
from trainables.sources.registry import PROXIES
from trainables.tasks.own.benchmark import describe
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import TASKS, own_benchmark_of
from trainables.tasks.task import TaskInfo

T = TypeVar("T")


def home() -> Path:
    """Return the folder of data, weights and caches: SWEEPER_HOME, else the user's cache folder.

    Raises:
        UsageError: SWEEPER_HOME contains `~USER`, and that user does not exist.
    """
    # As for XDG's variables, an empty value counts as unset.
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"
    given = Path(os.environ.get("SWEEPER_HOME") or default)
    try:
        return given.expanduser().resolve()
    except RuntimeError as error:
        raise UsageError(f"SWEEPER_HOME={shown(str(given))}: {error}") from error


def usable_home() -> Path:
    """Return `home()` for a command that writes into it; create the folder if necessary.

    Raises:
        UsageError: The path, or its parent, is not a folder.
        StorageFull: The folder cannot be created or written to.
    """
    folder = home()
    hint = "Set SWEEPER_HOME to a folder that can be written."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell whether a file can be created: the file system may be read-only.
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"SWEEPER_HOME: {folder} is no folder. {hint}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageFull(f"SWEEPER_HOME: {folder}: {reason}. {hint}") from error


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Convert errors of `trainables` and of disks into errors of commands.

    Raises:
        UsageError: The data or settings are not usable.
        StorageFull: The disk of SWEEPER_HOME is full or read-only.
    """
    try:
        yield
    except TrainableError as error:
        raise UsageError(with_sources(str(error))) from error
    except OSError as error:
        raise _refusal(error) from error


def _refusal(error: OSError) -> StorageFull | UsageError:
    named = isinstance(error.filename, str | os.PathLike)
    place = Path(error.filename) if named else home()
    reason = error.strerror or str(error) or type(error).__name__
    # Another SWEEPER_HOME helps only against a full or read-only disk that it is on.
    if error.errno in NOT_TAKEN and place.is_relative_to(home()):
        hint = "Free space, or set SWEEPER_HOME to another folder that can be written"
        return StorageFull(f"{place}: {reason}. {hint}.")
    return UsageError(f"{place}: {reason}. See that it is there and can be read, and try again.")


class _Checked(Mapping[str, T]):
    """The names of a registry. A look-up imports a plugin, and raises the faults of commands.

    Args:
        names: The registry.
        make: A function from a name to its value.
    """

    def __init__(self, names: Mapping[str, Any], make: Callable[[str], T]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> T:
        # An unknown name stays a KeyError, as readers of a mapping expect; only a plugin's own
        # faults are converted.
        if name not in self._names:
            raise KeyError(name)
        with as_usage_errors():
            return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@cache
def catalog() -> Catalog:
    """Return every method, task, backbone, proxy, sampler and pruner by name.

    Plugins are imported when they are looked up. One that cannot be imported is a UsageError.
    """
    return Catalog(
        methods=_Checked(METHODS, _method),
        tasks=_Checked(TASKS, lambda name: TASKS[name]),
        backbones=_Checked(BACKBONES, lambda name: BACKBONES[name].dimension),
        proxies=_Checked(PROXIES, lambda name: PROXIES[name].dimension),
        samplers=_Checked(SAMPLERS, check_sampler),
        pruners=_Checked(PRUNERS, check_pruner),
        definition=_definition,
        origin=_origin,
        register=_register,
    )


def extended(entries: Mapping[str, T], more: Mapping[str, T]) -> Mapping[str, T]:
    """Return entries with others added or replaced, and import none of them."""
    # A dict of both would read every value, and so import every plugin.
    return ChainMap(cast(MutableMapping[str, T], more), cast(MutableMapping[str, T], entries))


def with_own_tasks(known: Catalog, own: Mapping[str, TaskDefinition]) -> Catalog:
    """Return a catalog in which these own tasks, by name, come before registered ones."""
    if not own:
        return known
    tasks = {name: describe(each) for name, each in own.items()}
    return replace(
        known,
        tasks=extended(known.tasks, tasks),
        definition=lambda name: own[name].content if name in own else known.definition(name),
    )


def _method(name: str) -> Method:
    method = METHODS[name]
    # Best epochs, pruning and comparisons follow the objective of one stage.
    count = sum(config.reports_objective for config in method.stages.values())
    if count != 1:
        raise UsageError(
            f"method `{name}`: {count} of its stages report the objective, but one must. "
            'End it with a stage of fine-tuning, such as `"refine": RefineConfig`.'
        )
    return method


def _definition(task: str) -> Settings | None:
    own = own_benchmark_of(task)
    return None if own is None else own.definitions[task].content


def _register(method: Method, task: TaskInfo) -> None:
    METHODS.hold(method.name, method)
    register_task(task)


def _origin(method: str) -> str:
    if program_of(METHODS[method]) is not None:
        return ""
    return ", ".join(
        path_of(offer) or f"`{offer.value}` of {offer.origin}"
        for offer in plugins_of({"sweeper.methods": [method]})
    )
