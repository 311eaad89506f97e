"""The data of a task, generated or imported once and then mapped by every trial of a machine.

    <home>/data/<task>/<key>/        generated data; `key` is a hash of their description
    <home>/data/<task>/official/     data imported from the published files
    <home>/data/<task>/.<key>.partial/    samples of a running or killed generation
    <home>/cache/solver/<task>/<key>.json    the processor time of a generated sample

If `data.samples` is smaller than the imported training split, a split is a view of its first
samples (`official.used_sizes`). The baselines remain those of the whole data set.

Importing this module loads neither torch nor a solver, because the cost estimate of a plan uses it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.storage.atomic import new_file, read_or_make
from trainables.tasks import official
from trainables.tasks.chunks import seconds_a_sample
from trainables.tasks.generation import Generation, Progress
from trainables.tasks.registry import own_benchmark_of, task_info
from trainables.tasks.store.manifest import MANIFEST, folder_of
from trainables.tasks.store.split import SPLITS
from trainables.tasks.store.store import Store
from trainables.tasks.task import DataDescription, Task

if TYPE_CHECKING:
    from trainables.tasks.own.redividing import Redivided


def prepare_task(
    name: str,
    data: DataSpec,
    home: Path,
    *,
    progress: Progress | None = None,
    workers: int = 1,
) -> Path:
    """Generate the data of a task unless they exist, and return their folder.

    Of several concurrent processes, one generates the data and the others wait. The samples of a
    killed process are kept.

    Args:
        name: Name of the task.
        data: Source, number and resolution of the data.
        home: SWEEPER_HOME.
        progress: Called with the task, the number of finished samples and the total.
        workers: Number of processes that generate samples.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: Official data are needed but missing, generated data are not finite, or the data
            of an own task were imported from another definition.
    """
    folder = _folder(name, data, home)
    scratch = folder.with_name(f".{folder.name}.partial")
    if official.outdated(name, folder):
        raise official.missing(name, home)
    if _exists(folder):
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed before its end
        return folder
    if not official.is_generated(name):
        raise official.missing(name, home)

    def make() -> None:
        from trainables.tasks.building import build

        for leftover in folder.parent.glob(f".{folder.name}.*/"):  # of processes that were killed
            if leftover != scratch:  # which has samples to go on from
                shutil.rmtree(leftover)
        build(Generation.of(name, data), folder, scratch, progress=progress, workers=workers)
        if (seconds := seconds_a_sample(scratch)) is not None:
            with new_file(_solver_time(folder, home)) as aside:
                aside.write_text(json.dumps({"core_seconds_a_sample": seconds}))

    lock = folder.with_name(f".{folder.name}.lock")
    read_or_make(lock, lambda: folder if _exists(folder) else None, make)
    shutil.rmtree(scratch, ignore_errors=True)
    return folder


def solver_seconds(name: str, data: DataSpec, home: Path) -> float | None:
    """Return the core-seconds in which the numerical solver made a sample of these data.

    They were measured when the data were generated. The result is None for other data, and for data
    that were copied from another machine.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: The data that `data.source` asks for are missing.
    """
    try:
        measured = json.loads(_solver_time(_folder(name, data, home), home).read_text("utf-8"))
        return float(measured["core_seconds_a_sample"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _solver_time(folder: Path, home: Path) -> Path:
    return home / "cache" / "solver" / folder.relative_to(home / "data").with_suffix(".json")


def load_task(name: str, data: DataSpec, home: Path) -> Task:
    """Open the data of a task, memory-mapped. Generate them first if this machine has none.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: The data are missing, truncated or altered, or they belong to another task.
    """
    store = Store(prepare_task(name, data, home))
    if store.manifest["task"] != name:
        task = store.manifest["task"]
        raise DataError(f"{store.folder}: these are data of {task}, not of {name}.")
    drawn = _redivided(name, store, data)
    found = _stored_sizes(store) if drawn is None else drawn.sizes
    sizes: Mapping[str, int] = found
    if store.manifest["data_source"] != "generated":
        sizes = official.used_sizes(name, found, data)
    # Stage keys and cached scores contain this hash: other samples of the same store need another
    # one.
    part = "" if drawn is None else f"-{drawn.digest}"
    part += "" if sizes == found else "-" + "-".join(map(str, sizes.values()))
    return Task(
        info=task_info(name),
        **{split: (drawn or store).head(split, size) for split, size in sizes.items()},
        data_source=store.manifest["data_source"],
        content_hash=store.content_hash + part,
        # Stored baselines are of the stored division alone.
        baselines=store.manifest["baselines"] if drawn is None else {},
        manifest=store.manifest,
    )


def split_sizes(name: str, data: DataSpec, home: Path) -> dict[str, int]:
    """Return the number of samples of each split that `data.samples` is taken from.

    Raises:
        DataError: The data are missing, or cannot be divided with this `data.seed`.
    """
    store = Store(prepare_task(name, data, home))
    drawn = _redivided(name, store, data)
    return _stored_sizes(store) if drawn is None else drawn.sizes


def _stored_sizes(store: Store) -> dict[str, int]:
    return {split: store.manifest["files"][f"{split}.arrow"]["samples"] for split in SPLITS}


def _redivided(name: str, store: Store, data: DataSpec) -> "Redivided | None":
    """Return the division that `data.seed` asks for, or None: the data are used as they are."""
    own = own_benchmark_of(name)
    if own is None or not data.seed or not own.definitions[name].splits.shares:
        return None
    from trainables.tasks.own.redividing import redivide

    return redivide(store, own.definitions[name], data.seed)


def has_draws(name: str, data: DataSpec, home: Path) -> bool:
    """Return whether another `data.seed` gives other data on this machine.

    It does for generated data, and for own tasks that divide some of their samples by shares.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: `data.source` asks for data that are missing.
    """
    if (own := own_benchmark_of(name)) is not None:
        return bool(own.definitions[name].splits.shares)
    return _folder(name, data, home) != folder_of(name, home)


def is_prepared(name: str, data: DataSpec, home: Path) -> bool:
    """Return whether the data exist on this machine.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: `data.source` is `official` but the data are missing, or it is `generated` but
            the task has no generator.
    """
    folder = _folder(name, data, home)
    return _exists(folder) and official.outdated(name, folder) is None


def describe_data(name: str, data: DataSpec) -> DataDescription:
    """Return samples, splits, shapes and bytes on disk of the data, which need not exist.

    For imported data these are the published numbers.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: The data of an own task are not imported, so that nothing is known about them.
    """
    if not official.is_generated(name):
        return official.describe(name, data)
    generation = Generation.of(name, data)
    numbers = sum(int(np.prod(shape)) for shape in generation.shapes.values())
    return DataDescription(
        task=name,
        key=generation.key,
        splits=dict(generation.sizes),
        resolution=generation.resolution,
        x_shape=generation.shapes["x"],
        y_shape=generation.shapes["y"],
        bytes=4 * numbers * generation.num_samples,
    )


def _folder(name: str, data: DataSpec, home: Path) -> Path:
    imported = folder_of(name, home)
    if official.is_generated(name):
        generated = imported.with_name(Generation.of(name, data).key)
        if data.source == "generated" or (data.source == "auto" and not _exists(imported)):
            return generated
    elif data.source == "generated":
        raise official.missing(name, home)
    if data.source == "official" and not _exists(imported):
        raise official.missing(name, home)
    return imported


def _exists(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
