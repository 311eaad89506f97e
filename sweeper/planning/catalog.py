"""The service's view of `trainables`: its names, its configs, its home folder and its errors.

It reads registries and configs only, and does not import torch.
"""

import os
import tempfile
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field

from sweeper.config.catalog import Catalog, Lazy, MethodEntry, Settings, TaskEntry
from sweeper.config.faults import shown
from sweeper.errors import NOT_TAKEN, StorageFull, UsageError
from sweeper.planning.plugin_path import path_of
from sweeper.planning.samplers import PRUNERS, SAMPLERS, check_pruner, check_sampler
from trainables.errors import TrainableError
from trainables.methods.registry import METHODS
from trainables.models.weights.description import BACKBONES
from trainables.plugins import plugins_of, with_sources
from trainables.sources.registry import PROXIES
from trainables.spec import (
    PUBLISHED_MODEL,
    SEARCHED_MODEL,
    BackboneSpec,
    DataSpec,
    Dimension,
    ModelSpec,
)
from trainables.tasks.own.benchmark import describe
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import TASKS, own_benchmark_of
from trainables.tasks.task import TaskInfo


class DataSection(DataSpec):
    """The section `data` of a sweep file, whose seed may be one for each replicate."""

    seed: Annotated[int, Field(ge=0)] | Literal["replicate"] = Field(  # type: ignore[assignment]
        0,
        description=f"{DataSpec.model_fields['seed'].description} replicate: each seed of "
        "`replicate` has its own draw, the same for all methods, arms and controls.",
    )


def home() -> Path:
    """Return the folder of data, weights and caches: SWEEPER_HOME, else the user's cache folder.

    Raises:
        UsageError: SWEEPER_HOME contains `~USER`, and that user does not exist.
    """
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
    way_out = "Set SWEEPER_HOME to a folder that can be written."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"SWEEPER_HOME: {folder} is no folder. {way_out}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageFull(f"SWEEPER_HOME: {folder}: {reason}. {way_out}") from error


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
    if error.errno in NOT_TAKEN and place.is_relative_to(home()):
        way_out = "Free space, or set SWEEPER_HOME to another folder that can be written"
        return StorageFull(f"{place}: {reason}. {way_out}.")
    return UsageError(f"{place}: {reason}. See that it is there and can be read, and try again.")


@cache
def catalog() -> Catalog:
    """Return every method, task, backbone, proxy, sampler and pruner by name.

    Plugins are imported when they are looked up. One that cannot be imported is a UsageError.
    """
    return Catalog(
        methods=Lazy(METHODS, _method),
        tasks=Lazy(TASKS, _task),
        backbones=Lazy(BACKBONES, _backbone),
        proxies=Lazy(PROXIES, _proxy),
        samplers=Lazy(SAMPLERS, _sampler),
        pruners=Lazy(PRUNERS, _pruner),
        sections={"backbone": BackboneSpec, "model": ModelSpec, "data": DataSection},
        searched_model=SEARCHED_MODEL,
        published_model=PUBLISHED_MODEL,
    )


def with_own_tasks(known: Catalog, own: Mapping[str, TaskDefinition]) -> Catalog:
    """Return a catalog in which these own tasks, by name, come before registered ones."""
    if not own:
        return known
    tasks = {name: _entry(describe(each), each.content) for name, each in own.items()}
    others = cast(MutableMapping[str, TaskEntry], known.tasks)
    return replace(known, tasks=ChainMap(tasks, others))


def _method(name: str) -> MethodEntry:
    with as_usage_errors():
        method = METHODS[name]
    ends = [n for n, config in method.stages.items() if config.reports_objective]
    if len(ends) != 1:
        raise UsageError(
            f"method `{name}`: {len(ends)} of its stages report the objective, but one must. "
            'End it with a stage of fine-tuning, such as `"refine": RefineConfig`.'
        )
    return MethodEntry(
        name=method.name,
        stages=method.stages,
        objective_stage=ends[0],
        preset=method.preset,
        published=Lazy(TASKS, lambda task: method.published(TASKS[task])),
        preset_name=method.preset_name,
        control=method.control,
        needs_source=method.needs_source,
        prune_after=method.prune_after,
        has_own_network=method.network is not None,
        backbone=method.backbone,
        divided=lambda stages: tuple(
            name for name, config in method.configs(stages).items() if config.divides_batches
        ),
        origin=", ".join(
            path_of(offer) or f"`{offer.value}` of {offer.origin}"
            for offer in plugins_of({"sweeper.methods": [name]})
        ),
    )


def _task(name: str) -> TaskEntry:
    with as_usage_errors():
        info, own = TASKS[name], own_benchmark_of(name)
    return _entry(info, None if own is None else own.definitions[name].content)


def _entry(info: TaskInfo, definition: Settings | None) -> TaskEntry:
    return TaskEntry(
        name=info.name,
        dimension=info.dimension,
        kind=info.kind,
        metric=info.metric,
        recipe=info.recipe,
        definition=definition,
    )


def _backbone(name: str) -> Dimension:
    with as_usage_errors():
        return BACKBONES[name].dimension


def _proxy(name: str) -> Dimension:
    with as_usage_errors():
        return PROXIES[name].dimension


def _sampler(name: str) -> str:
    with as_usage_errors():
        check_sampler(name)
        return name


def _pruner(name: str) -> str:
    with as_usage_errors():
        check_pruner(name)
        return name
