"""Refusals of a launch on this machine, found in a sweep file without loading torch."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeper.config.check_studies import Refusal
from sweeper.config.study_spec import StudySpec
from sweeper.planning.data import TO_IMPORT, TO_MAKE, state_of
from sweeper.planning.describe import data_of
from sweeper.text import format_bytes
from trainables.errors import ConfigError
from trainables.models.weights.description import backbone_faults
from trainables.sources.loading import proxy_faults
from trainables.spec import BackboneSpec, DataSpec
from trainables.tasks import official
from trainables.tasks.loading import describe_data
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import MANIFEST

__all__ = ["missing", "refusals"]

FRACTIONS = ("val_fraction", "test_fraction")


def refusals(study: StudySpec, home: Path | None) -> Iterator[Refusal]:
    """Yield what can never be trained: a backbone, sizes of it or of data, a missing source.

    Args:
        home: SWEEPER_HOME; None if the sweep will run on another machine, so that this one's
            folders say nothing.
    """
    dimension = TASKS[study.task].dimension
    backbone = BackboneSpec.model_validate(study.backbone)
    for key, reason in backbone_faults(backbone, dimension, home):
        yield ("backbones", dimension, key), reason
    try:
        describe_data(study.task, data_of(study))
    except ConfigError as error:
        named = re.search(r"data\.([a-z_]+)", str(error))
        yield ("data", *(named.groups() if named else ())), str(error)
    for key in _ignored(study, home):
        told = (
            f"`data.{key}` has no effect on tasks whose splits are as published: set "
            f"`data.samples`, by which they are divided anew, or leave `data.{key}` out."
        )
        yield ("data", key), told
    probe = f"{study.objective_stage}.probe_every"
    if study.preset.get(probe) and study.proxy is None:
        told = f"`{probe}` needs source data, but `proxies.{dimension}` is missing."
        yield ("fixed", probe), told


def missing(study: StudySpec, home: Path) -> Iterator[str]:
    """Yield what is not on this machine and that a launch here needs, with the way to get it."""
    data = data_of(study)
    state = state_of(study.task, data)
    if state == TO_IMPORT:
        yield str(official.missing(study.task, home))
    for proxy in study.proxies:
        if fault := proxy_faults(proxy, home):
            yield fault
    if state == TO_MAKE:
        wanted, free = describe_data(study.task, data)["bytes"], _free_bytes(home)
        if wanted > free:
            yield (
                f"{study.task}: its data take {format_bytes(wanted, 'GiB')}, and {home} has "
                f"{format_bytes(free, 'GiB')} left: lower `data.samples` or `data.resolution`, "
                "or free space."
            )


def _ignored(study: StudySpec, home: Path | None) -> list[str]:
    """Return the fractions that a file sets and that do not decide a task's splits: published data
    have their own, unless fewer samples are asked for than there are."""
    data, default = data_of(study), DataSpec()
    imported = home is not None and (official.folder_of(study.task, home) / MANIFEST).is_file()
    made = official.is_generated(study.task) and (data.source == "generated" or not imported)
    samples = TASKS[study.task].samples
    if made or (data.samples is not None and data.samples < samples):
        return []
    return [key for key in FRACTIONS if getattr(data, key) != getattr(default, key)]


def _free_bytes(folder: Path) -> int:
    """Return the free space of the disk that a folder is on, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
