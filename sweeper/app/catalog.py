"""What the science has to offer, as names and config types that a sweep file is checked against.

Reads registries and configs only: torch is not imported.
"""

import os
from functools import cache
from pathlib import Path

from sweeper.space.catalog import Catalog, MethodEntry, TaskEntry
from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.proxies.registry import PROXIES
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
    """Where data, weights and caches live: SWEEPER_HOME, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sweeper"
    return Path(os.environ.get("SWEEPER_HOME", default)).expanduser().resolve()


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
