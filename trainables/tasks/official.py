"""Published data of a task: their folder, their description, and instructions to get them.

    <home>/data/<task>/official/

They have their own splits, each in random order. If `data.samples` is smaller than the training
split, its first samples are used, the first ones of the validation split by `val_fraction`, and all
of the test split unless `test_fraction` is given.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from trainables.errors import ConfigError, DataError
from trainables.spec import DataSpec
from trainables.tasks.generation import scored_sizes
from trainables.tasks.own.benchmark import OWN
from trainables.tasks.registry import benchmark_of, own_benchmark_of, task_info
from trainables.tasks.store.manifest import FOLDER, MANIFEST, folder_of, read_manifest
from trainables.tasks.task import DataDescription, TaskInfo

VAL_SHARE = 0.1  # share of the published training samples for validation
MIN_SCORED = 30  # samples of a validation or test split, if it has so many


def is_generated(name: str) -> bool:
    """Return whether the task has a generator, so that no import is needed.

    Raises:
        ConfigError: The task is unknown.
    """
    return benchmark_of(name).problems is not None


def outdated(name: str, folder: Path) -> str | None:
    """Return the reason why a folder has the data of another definition of an own task, or None.

    Damaged data are not reported: to open them does.
    """
    own = own_benchmark_of(name)
    if own is None or not (folder / MANIFEST).is_file():
        return None
    try:
        entry = read_manifest(folder).get(OWN)
    except DataError:
        return None
    if entry is None or entry["definition_hash"] != own.definitions[name].data_hash:
        return (
            f"{name}: the data in {folder} were imported from another definition of the task. "
            f"Import them again: {own.way_to_replace(name)}"
        )
    return None


def missing(name: str, home: Path) -> DataError:
    """Return the error for missing published data, with instructions to get them."""
    folder = folder_of(name, home)
    if (own := own_benchmark_of(name)) is not None:
        absent = f"{name}: its data are not in {folder}. To import them: {own.way_to_import(name)}"
        return DataError(outdated(name, folder) or absent)
    published = task_info(name).publication
    if published is None:
        return DataError(
            f"{name}: this variant is ours, and no official file exists. "
            f"Set `data.source: generated`, or take `{name.partition('@')[0]}`."
        )
    file, address = published.files, published.address
    if is_generated(name):
        return DataError(
            f"{name}: no official data in {folder}. Set `data.source: generated`, "
            f"or fetch {file} ({address}), and run: sweeper data import {name} {file}"
        )
    return DataError(
        f"{name}: its data are published ones, cannot be generated, and are not in {folder}. "
        f"Fetch {file} ({address}), and run: sweeper data import {name} {file}"
    )


def describe(name: str, data: DataSpec) -> DataDescription:
    """Return samples, splits, shapes and bytes on disk of published data.

    Raises:
        ConfigError: The task is unknown, or the requested sizes are impossible.
        DataError: The data of an own task are not imported, so that nothing is known about them.
    """
    info, own = task_info(name), own_benchmark_of(name)
    x_shape, y_shape, stored = info.input_shape, _output_shape(info), _published_sizes(info)
    sample = np.dtype(info.stored).itemsize * prod(info.packed or x_shape)
    # Labels are stored as int64, all other outputs as float32.
    size = info.samples * (sample + (8 if info.kind == "classification" else 4) * prod(y_shape))
    if own is not None:
        if (facts := own.facts.get(name)) is None:
            raise missing(name, own.home)
        x_shape, y_shape, stored = facts.input_shape, facts.output_shape, dict(facts.splits)
        size = facts.bytes
    return DataDescription(
        task=name,
        key=FOLDER,
        splits=used_sizes(name, stored, data),
        resolution=info.resolution,
        x_shape=x_shape,
        y_shape=y_shape,
        bytes=size,
    )


def used_sizes(name: str, stored: Mapping[str, int], data: DataSpec) -> dict[str, int]:
    """Return the number of samples of each split: all, or those that `data.samples` requests.

    Args:
        name: Name of the task, for messages.
        stored: Number of stored samples by split.
        data: The requested training samples, and the fractions of the other splits.

    Raises:
        ConfigError: There are fewer training samples than requested.
    """
    train = stored["train"]
    if data.samples in (None, train):
        return dict(stored)
    if data.samples > train:
        raise ConfigError(
            f"{name}: `data.samples` asks for {data.samples} training samples, of which there are "
            f"only {train}: ask for fewer, or leave `data.samples` out to have all of them."
        )
    wanted = scored_sizes(data.samples, data.val_fraction, data.test_fraction or 0.0)
    # A test costs one pass a trial, so that its split is thinned on request alone.
    if data.test_fraction is None:
        wanted["test"] = stored["test"]
    # Of a few samples each weighs so much that chance would choose.
    scored = {split: min(stored[split], max(MIN_SCORED, size)) for split, size in wanted.items()}
    return {"train": data.samples, **scored}


def _published_sizes(info: TaskInfo) -> dict[str, int]:
    development = info.samples - info.test_samples
    val = round(VAL_SHARE * development)
    return {"train": development - val, "val": val, "test": info.test_samples}


def _output_shape(info: TaskInfo) -> tuple[int, ...]:
    """Return the shape of one y as it is stored."""
    if info.kind == "classification":
        return ()
    if info.kind in ("multilabel", "regression"):
        return (info.channels[1],)
    return (info.channels[1] + (info.mask is not None), *info.input_shape[1:])
