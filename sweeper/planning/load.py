"""Loading of sweep files for a launch, with checks against this machine and the ledger.

This module does not load torch.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sweeper.address import FORM, is_dashboard
from sweeper.errors import UsageError
from sweeper.planning import own_tasks
from sweeper.planning.catalog import catalog, extended, home, with_own_tasks
from sweeper.planning.data.draws import data_of, draws_of
from sweeper.planning.gpus import count_gpus
from sweeper.spec.catalog import Catalog
from sweeper.spec.faults import shown
from sweeper.spec.layers import read_document
from sweeper.spec.loader import load_document
from sweeper.spec.rules.studies import Refusal
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import Sources
from sweeper.text import format_bytes
from trainables.errors import ConfigError, DataError
from trainables.methods.program import BENCHMARK, program_of
from trainables.methods.registry import METHODS
from trainables.models.weights.description import (
    NO_PEFT,
    adapters_fault,
    backbone_faults,
    drop_path_fault,
    local_backbones,
)
from trainables.models.weights.presence import fetch_fault, to_fetch
from trainables.sources.registry import proxy_faults
from trainables.spec import BackboneSpec, DataSpec
from trainables.tasks import official
from trainables.tasks.loading import describe_data, is_prepared
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import MANIFEST, folder_of

FRACTIONS = ("val_fraction", "test_fraction")
READY, TO_MAKE, TO_IMPORT = "ready", "to be made", "to be imported"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command-line options that apply to a sweep file."""

    profile: str = "auto"
    sets: tuple[str, ...] = ()
    trials: int | None = None
    name: str | None = None
    storage: str | None = None
    address: str = "local"
    insecure: bool = False
    include: tuple[Path, ...] = ()  # task files, or folders of them
    function: str | None = None  # that a running program passes, as Ray packs it
    fork_of: str | None = None  # a sweep that is a warm start although it need not be finished
    has_gpu: bool | None = None  # on the nodes of trials; None: as here, and each cluster has some

    def __post_init__(self) -> None:
        check_address(self.address)


def check_address(address: str) -> None:
    """Check that a text is the address of a cluster.

    Raises:
        UsageError: The text is not such an address.
    """
    if not FORM.fullmatch(address):
        raise UsageError(
            f"--address {shown(address)}: not the address of a Ray cluster; write `local`, "
            "HOST:PORT of one that runs, or http://HOST:8265, its dashboard."
        )


def read(file: Path, options: Options, *, for_cluster: bool = False) -> Sweep:
    """Read and validate a sweep file.

    `for_cluster` reads for a cluster, whatever `options.address` is. Then the profile `auto` never
    means `laptop`, and weights that this machine lacks are no fault.

    Raises:
        FileFaults: The file, or a task file, is not valid. The error has all faults.
        UsageError: The URL of the ledger does not name a supported database.
    """
    if options.storage is not None:
        # SQLAlchemy is slow to import, and few files are read with a ledger's URL.
        from sweeper.planning.sweep_folder import check_storage

        check_storage(options.storage)
    here = None if is_dashboard(options.address) else home()
    document = read_document(file)
    own = own_tasks.find(options.include, document)
    return load_document(
        document,
        with_own_tasks(known_here(here), own),
        profile=options.profile,
        sets=options.sets,
        trials=options.trials,
        name=options.name,
        has_gpu=_has_gpu(options, for_cluster=for_cluster),
        environment=os.environ if here else None,  # a job has an environment of its own
        # A job finds those of its own folder.
        sources=partial(_recorded_sweeps, options.fork_of) if here else None,
        refusals=partial(refusals, home=here, lacks_nothing=for_cluster),
    )


def _recorded_sweeps(fork_of: str | None) -> Sources:
    """Return the sweeps in the folder of sweeps. Most files name none: ledgers import slowly."""
    from sweeper.planning.resuming import RecordedSweeps

    return RecordedSweeps(fork_of=fork_of)


def _has_gpu(options: Options, *, for_cluster: bool) -> bool:
    """Return whether trials may have a GPU, which decides the profile `auto`."""
    if options.has_gpu is not None:
        return options.has_gpu
    return for_cluster or options.address != "local" or count_gpus() > 0


def known_here(home: Path | None) -> Catalog:
    """Return the catalog, extended by the backbones in `home/weights` and hints on own tasks."""
    known = catalog()
    if home is None:
        return known
    backbones = extended(known.backbones, local_backbones(home))
    return replace(known, backbones=backbones, hint=own_tasks.imported_elsewhere)


def refusals(
    study: StudySpec, home: Path | None, *, lacks_nothing: bool = False
) -> Iterator[Refusal]:
    """Yield the settings of a study that can never be trained, each with the reason.

    Args:
        study: The study.
        home: SWEEPER_HOME; None if the sweep will run on another machine. Then local folders are
            not checked.
        lacks_nothing: Weights that are not here, and cannot be fetched, are no fault.
    """
    # A program brings data and a network of its own, of which nothing is known here.
    if program_of(study.entry) is not None:
        return
    dimension = TASKS[study.task].dimension
    yield from _network_faults(study, home)
    backbone = study.backbone_spec
    if backbone is not None:
        faults = list(_backbone_faults(study, backbone, home))
        place = ("backbones", dimension, backbone.origin)
        # What is misspelt cannot be fetched either: one mistake makes one message.
        if home is not None and not lacks_nothing and place not in dict(faults):
            fault = fetch_fault(backbone, home)
            faults += [(place, fault)] if fault else []
        yield from faults
    try:
        describe_data(study.task, data_of(study))
        for key in _ignored(study, home):
            reason = (
                f"`data.{key}` has no effect on published or own splits that are used whole: lower "
                f"`data.samples` below their training samples, or leave `data.{key}` out."
            )
            yield ("data", key), reason
    # The key, by which the fault gets its line, is in the message alone.
    except ConfigError as error:
        named = re.search(r"data\.([a-z_]+)", str(error))
        yield ("data", *(named.groups() if named else ())), str(error)
    except DataError:  # of an own task that is not imported yet
        return
    probe = f"{study.objective_stage}.probe_every"
    if study.preset.get(probe) and study.proxy is None:
        reason = f"`{probe}` needs source data, but `proxies.{dimension}` is missing."
        yield ("fixed", probe), reason


def _network_faults(study: StudySpec, home: Path | None) -> Iterator[Refusal]:
    """Yield the reasons why the method's own network cannot be trained, if it has one."""
    method = METHODS.get(study.method)
    network = None if method is None else method.network
    if network is None:
        return
    if fault := network.fault_on(TASKS[study.task]):
        yield ("methods",), fault
    if home is not None and (fault := network.fault_here()):
        yield ("methods",), fault


def _backbone_faults(
    study: StudySpec, backbone: BackboneSpec, home: Path | None
) -> Iterator[Refusal]:
    """Yield the settings that the backbone of a study cannot honour."""
    task = TASKS[study.task]
    dimension = task.dimension
    for key, reason in backbone_faults(backbone, dimension, home):
        yield ("backbones", dimension, key), reason
    for setting in adapter_keys(study):
        if fault := adapters_fault(backbone, home):
            yield setting, fault
        if home is not None and find_spec("peft") is None:
            yield setting, NO_PEFT
    rate = study.preset.get("model.drop_path", study.model.get("drop_path"))
    if isinstance(rate, float) and (fault := drop_path_fault(backbone, rate, home)):
        yield ("model", "drop_path"), fault
    if task.kind == "dense" and dimension == "1d" and study.model["head"] == "orca_pool":
        for section, name in _asking(study, "freeze", "embedder+body"):
            reason = (
                f"`{name}: embedder+body` leaves nothing to train on dense tasks in 1D, where the "
                "predictor of `model.head: orca_pool` has no parameters. Set `model.head: linear`."
            )
            yield (section, name), reason


def adapter_keys(study: StudySpec) -> Iterator[tuple[str, str]]:
    """Yield the settings of a study by which a trial may ask for adapters (`finetune: lora`)."""
    return _asking(study, "finetune", "lora")


def _asking(study: StudySpec, key: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a study by which a stage may have this value of a key."""
    for stage in study.entry.stages:
        name = f"{stage}.{key}"
        searched = study.parameters.get(name)
        # One value of those that are searched suffices.
        values = searched.examples() if searched is not None else [study.preset.get(name)]
        if value in values:
            is_pinned = study.arm is not None and name in study.arm.pinned
            section = "compare_by" if is_pinned else "fixed" if searched is None else "parameters"
            yield section, name


def fetches(sweep: Sweep, home: Path) -> tuple[str, ...]:
    """Return a note about what a launch on this machine fetches from the hub, or nothing."""
    specs = filter(None, (study.backbone_spec for study in sweep.studies))
    found = dict.fromkeys(what for spec in specs if (what := to_fetch(spec, home)))
    return (f"a launch fetches from the Hugging Face Hub: {', '.join(found)}.",) if found else ()


def missing(sweep: Sweep, home: Path) -> Iterator[str]:
    """Yield the missing data of a launch on this machine, each with the way to get them."""
    for task in sweep.program.floor_tasks if sweep.program else ():
        if state_of(task, DataSpec()) == TO_IMPORT:
            yield str(official.missing(task, home))
    for study in sweep.studies:
        yield from _missing(study, draws_of(sweep, study, home).values(), home)


def _missing(study: StudySpec, seeds: Iterable[int], home: Path) -> Iterator[str]:
    if program_of(study.entry) is not None:
        return
    data = data_of(study)
    state = state_of(study.task, data)
    if state == TO_IMPORT:
        yield str(official.missing(study.task, home))
    for proxy in study.proxies:
        if fault := proxy_faults(proxy, home):
            yield fault
    # Each generated draw of a replicate is a data set of its own on the disk.
    draws = [data, *(data_of(study, seed) for seed in seeds)]
    if to_make := sum(state_of(study.task, each) == TO_MAKE for each in draws):
        wanted, free = to_make * describe_data(study.task, data).bytes, free_bytes(home)
        if wanted > free:
            yield (
                f"{study.task}: its data take {format_bytes(wanted, 'GiB')}, and {home} has "
                f"{format_bytes(free, 'GiB')} left: lower `data.samples` or `data.resolution`, "
                "or free space."
            )


def check_imported(sweep: Sweep) -> None:
    """Check that the data of all own tasks are imported: before, their shapes are unknown.

    Raises:
        UsageError: Some are not, with the commands that import them.
    """
    lacking = [
        f"{task}: {TO_IMPORT}. {official.missing(task, home())}"
        for task in sweep.task_files
        if state_of(task, DataSpec()) == TO_IMPORT
    ]
    if lacking:
        raise UsageError("\n".join(lacking))


def state_of(task: str, data: DataSpec) -> str:
    """Return the state of a task's data: `READY`, `TO_MAKE` by a launch, or `TO_IMPORT`."""
    if task.partition("/")[0] == BENCHMARK:  # a program has its own data
        return READY
    try:
        if is_prepared(task, data, home()):
            return READY
    except DataError:
        return TO_IMPORT
    return TO_MAKE if official.is_generated(task) else TO_IMPORT


def _ignored(study: StudySpec, home: Path | None) -> list[str]:
    """Return the names of fractions in a file that have no effect on a task's splits.

    Published data have fixed splits, unless the file asks for fewer training samples.
    """
    data, default = data_of(study), DataSpec()
    imported = home is not None and (folder_of(study.task, home) / MANIFEST).is_file()
    made = official.is_generated(study.task) and (data.source == "generated" or not imported)
    whole = describe_data(study.task, default).splits["train"]
    if made or (data.samples is not None and data.samples < whole):
        return []
    return [key for key in FRACTIONS if getattr(data, key) != getattr(default, key)]


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk of a folder, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
