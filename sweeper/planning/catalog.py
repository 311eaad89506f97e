"""What the science has to offer, as names and config types that a sweep file is checked against.

Reads registries and configs only: torch is not imported.
"""

import os
import tempfile
from functools import cache
from pathlib import Path

from sweeper.config.catalog import Catalog, MethodEntry, TaskEntry
from sweeper.config.faults import shown
from sweeper.errors import StorageFull, UsageError
from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.sources.registry import PROXIES
from trainables.spec import (
    BACKBONES,
    PUBLISHED_MODEL,
    SEARCHED_MODEL,
    BackboneSpec,
    DataSpec,
    ModelSpec,
)
from trainables.tasks.registry import TASKS


def home() -> Path:
    """Return the folder of data, weights and caches: SWEEPER_HOME, else the user's cache folder.

    Raises:
        UsageError: It names the home folder of a user that there is not.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"
    given = Path(os.environ.get("SWEEPER_HOME") or default)
    try:
        return given.expanduser().resolve()
    except RuntimeError as error:
        raise UsageError(f"SWEEPER_HOME={shown(str(given))}: {error}") from error


def usable_home() -> Path:
    """Return `home()`, which is made if need be, for a command that writes into it.

    Raises:
        UsageError: It is no folder, or lies in none.
        StorageFull: It cannot be made, or nothing can be written into it.
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


@cache
def catalog() -> Catalog:
    """Returns every method, task, backbone and proxy by name."""
    return Catalog(
        methods={name: _method(method) for name, method in METHODS.items()},
        tasks={
            name: TaskEntry(
                name=name,
                dimension=info.dimension,
                kind=info.kind,
                metric=info.metric,
                recipe=info.recipe,
            )
            for name, info in TASKS.items()
        },
        backbones=BACKBONES,
        proxies={name: entry.dimension for name, entry in PROXIES.items()},
        sections={"backbone": BackboneSpec, "model": ModelSpec, "data": DataSpec},
        searched_model=SEARCHED_MODEL,
        published_model=PUBLISHED_MODEL,
    )


def _method(method: Method) -> MethodEntry:
    (objective_stage,) = [n for n, config in method.stages.items() if config.reports_objective]
    return MethodEntry(
        name=method.name,
        stages=method.stages,
        objective_stage=objective_stage,
        preset=method.preset,
        published={name: method.published(info) for name, info in TASKS.items()},
        preset_name=method.preset_name,
        control=method.control,
        needs_source=method.needs_source,
        prune_after=method.prune_after,
    )
