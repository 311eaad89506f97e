"""From a task's name to its data: made once, then read in place by every trial of a machine.

    <home>/data/<task>/<key>/        generated; `key` is a hash of all that determines the data
    <home>/data/<task>/official/     imported from the published file

Importing this module loads neither torch nor a solver, so that a plan can be priced with it.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.spec import DataSpec
from trainables.tasks.generation import Generation, Progress, task_info
from trainables.tasks.lock import exclusive
from trainables.tasks.registry import official_file
from trainables.tasks.store import MANIFEST, Store, write_store
from trainables.tasks.task import Task

__all__ = ["describe_data", "is_prepared", "load_task", "prepare_task", "verify_task"]

OFFICIAL = "official"


def prepare_task(
    name: str,
    data: DataSpec,
    home: Path,
    *,
    progress: Progress | None = None,
    workers: int = 1,
) -> Path:
    """Makes a task's data unless they exist, and returns their folder.

    Of processes that ask at once, one generates and the others wait for it.

    Raises:
        ConfigError: There is no such task, or the sizes asked for are impossible.
        DataError: Official data were asked for and are not there, or generated ones not finite.
    """
    folder = _folder(name, data, home)
    if _exists(folder):
        return folder
    with exclusive(folder.with_name(f".{folder.name}.lock")):
        if not _exists(folder):
            for leftover in folder.parent.glob(f".{folder.name}.*/"):
                shutil.rmtree(leftover)
            _generate(Generation.of(name, data), folder, progress, workers)
    return folder


def load_task(name: str, data: DataSpec, home: Path) -> Task:
    """Opens a task's data, memory-mapped; makes them first where this machine has none.

    Raises:
        ConfigError: There is no such task, or the sizes asked for are impossible.
        DataError: The data are missing, cut short, altered, or not what was asked for.
    """
    store = Store(prepare_task(name, data, home))
    _check_request(store, name, data)
    return Task(
        info=task_info(name),
        train=store.train,
        val=store.val,
        test=store.test,
        data_source=store.manifest["data_source"],
        content_hash=store.content_hash,
        baselines=store.manifest["baselines"],
    )


def is_prepared(name: str, data: DataSpec, home: Path) -> bool:
    """Returns whether the data are there.

    Raises:
        ConfigError: There is no such task, or the sizes asked for are impossible.
        DataError: Official data were asked for and are not there.
    """
    return _exists(_folder(name, data, home))


def verify_task(name: str, data: DataSpec, home: Path) -> Path:
    """Reads every byte of a task's data against its manifest, and returns their folder.

    Raises:
        ConfigError: There is no such task, or the sizes asked for are impossible.
        DataError: The data are missing, altered or not finite.
    """
    folder = _folder(name, data, home)
    Store(folder).verify()
    return folder


def describe_data(name: str, data: DataSpec) -> dict[str, Any]:
    """Returns samples, splits, shapes and bytes on disk of the data, which need not exist.

    Raises:
        ConfigError: There is no such task, or the sizes asked for are impossible.
    """
    generation = Generation.of(name, data)
    numbers = sum(int(np.prod(shape)) for shape in generation.shapes.values())
    return {
        "task": name,
        "source": data.source,
        "key": generation.key,
        "samples": generation.num_samples,
        "splits": dict(generation.sizes),
        "resolution": generation.resolution,
        "shapes": {column: list(shape) for column, shape in generation.shapes.items()},
        "bytes": 4 * numbers * generation.num_samples,
        "protocol": generation.info.protocol,
    }


def _folder(name: str, data: DataSpec, home: Path) -> Path:
    generation = Generation.of(name, data)
    root = home / "data" / name
    if data.source != "generated" and _exists(root / OFFICIAL):
        return root / OFFICIAL
    if data.source == "official":
        raise _official_missing(name, root / OFFICIAL)
    return root / generation.key


def _exists(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _official_missing(name: str, folder: Path) -> DataError:
    published = official_file(name)
    if published is None:
        return DataError(
            f"{name}: this variant is ours, and no official file exists. "
            "Set `data.source: generated`, or take the task without `@hard`."
        )
    file, address = published
    return DataError(
        f"{name}: no official data in {folder}, and {file} ({address}) cannot be imported yet: "
        "set `data.source: generated`."
    )


def _check_request(store: Store, name: str, data: DataSpec) -> None:
    manifest = store.manifest
    stored = sum(entry["samples"] for entry in manifest["files"].values())
    if manifest["task"] != name:
        raise DataError(f"{store.folder}: these are data of {manifest['task']}, not of {name}.")
    if data.samples is not None and stored != data.samples:
        raise DataError(
            f"{store.folder}: {stored} samples were imported, but `data.samples` asks for "
            f"{data.samples}. Import that many, or leave `data.samples` out."
        )


def _generate(
    generation: Generation, folder: Path, progress: Progress | None, workers: int
) -> None:
    from trainables.tasks.baselines import trivial_baselines  # torch, which reading does not need

    splits, normalization = generation.make(progress=progress, workers=workers)
    train, test = splits["train"], splits["test"]
    info = generation.info
    description = generation.recipe | {
        "data_source": "generated",
        "protocol": info.protocol,
        "equation": info.equation,
        "metric": info.metric,
        "statistics": {column: _statistics(getattr(train, column)) for column in ("x", "y")},
        "normalization": normalization,
        "baselines": trivial_baselines(train.y, test.x, test.y, metric=info.metric),
    }
    write_store(folder, splits, description)


def _statistics(train: np.ndarray) -> dict[str, list[float]]:
    """Returns statistics of each channel over the training samples."""
    channels = np.moveaxis(train, 1, 0).reshape(train.shape[1], -1)
    return {
        "mean": channels.mean(axis=1, dtype=np.float64).tolist(),
        "std": channels.std(axis=1, dtype=np.float64).tolist(),
        "min": channels.min(axis=1).tolist(),
        "max": channels.max(axis=1).tolist(),
    }
