"""Loading of sweep files for a launch, with checks against this machine and the ledger.

This module does not load torch.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sweeper.address import is_address, is_dashboard
from sweeper.core.budget import StudyBudget
from sweeper.core.ranking import ranked
from sweeper.errors import UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.planning import own_tasks
from sweeper.planning.catalog import catalog, extended, home, with_own_tasks
from sweeper.planning.data.draws import data_of, draws_of
from sweeper.planning.gpus import count_gpus
from sweeper.planning.plugins import check_installed, record_of
from sweeper.planning.sweep_folder import (
    check_storage,
    existing,
    folder_of,
    has_ledger,
    started,
)
from sweeper.planning.trials import backbone_of
from sweeper.spec.catalog import Catalog
from sweeper.spec.faults import shown
from sweeper.spec.layers import read_document
from sweeper.spec.loader import load_document, loads_sweep
from sweeper.spec.rules.file import is_elsewhere
from sweeper.spec.rules.studies import Refusal
from sweeper.spec.schema import Claim
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import KEPT, Studies, WarmStart
from sweeper.text import JsonObject, differences, format_bytes
from trainables.errors import ConfigError, DataError
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
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import MANIFEST

MAX_SHOWN = 10  # differences that a message lists
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
    has_gpu: bool | None = None  # on the nodes of trials; None: as here, and each cluster has some

    def __post_init__(self) -> None:
        check_address(self.address)


def check_address(address: str) -> None:
    """Check that a text is the address of a cluster.

    Raises:
        UsageError: The text is not such an address.
    """
    if not is_address(address):
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
        sources=RecordedSweeps() if here else None,  # a job finds those of its own folder
        refusals=partial(refusals, home=here, lacks_nothing=for_cluster),
    )


def _has_gpu(options: Options, *, for_cluster: bool) -> bool:
    """Return whether trials may have a GPU, which decides the profile `auto`."""
    if options.has_gpu is not None:
        return options.has_gpu
    return for_cluster or options.address != "local" or count_gpus() > 0


class RecordedSweeps:
    """The sweeps in the folder of sweeps, as `config.warm_start.Sources`."""

    def begun_with(self, sweep: str, names: Sequence[str]) -> WarmStart | None:
        """Return what `sweep` has of these sweeps in its ledger; None: it has not begun.

        A begun sweep goes on with it, whatever has become of the other sweeps since.

        Raises:
            SweeperError: The ledger cannot be read.
        """
        folder = folder_of(sweep)
        if not has_ledger(folder):
            return None
        with started(folder) as (_, record):
            recorded: WarmStart = record.resolved["search"].get("warm_start") or {}
            is_same = record.state != "new" and list(recorded) == list(names)
            return recorded if is_same else None

    def best_of(self, name: str) -> Studies:
        """Return the best configurations of each study of a sweep, by METHOD/TASK.

        Raises:
            SweeperError: There is no such sweep, or it is not finished.
        """
        with started(existing(name)) as (ledger, record):
            if record.state != "finished":
                raise UsageError(
                    f"sweep `{name}` is {record.state}, but only a finished one can be a warm "
                    f"start: sweeper resume {name}"
                )
            studies = [study for study in ledger.studies() if study.arm is None]
            return {
                f"{study.method}/{study.task}": [
                    trial.params for trial in ranked(ledger.trials(study.name))[:KEPT]
                ]
                for study in studies
            }


def known_here(home: Path | None) -> Catalog:
    """Return the catalog, extended by the backbones in `home/weights` and hints on own tasks."""
    known = catalog()
    if home is None:
        return known
    backbones = extended(known.backbones, local_backbones(home))
    return replace(known, backbones=backbones, hint=own_tasks.imported_elsewhere)


def from_record(record: SweepRecord) -> Sweep:
    """Return the sweep of a ledger's record, and register its own tasks.

    Raises:
        UsageError: The sweep uses a plugin that is not there.
    """
    check_installed(record)
    return from_resolved(record.resolved, name=record.name, profile=record.profile)


def from_resolved(resolved: JsonObject, *, name: str, profile: str) -> Sweep:
    """Return the sweep with this resolved form, and register its own tasks."""
    own = own_tasks.of_resolved(resolved, name=name)
    own_tasks.use(own)
    return _resolved(resolved, own, name=name, profile=profile)


def as_read_now(resolved: JsonObject, *, name: str, profile: str) -> JsonObject:
    """Return a resolved form with the defaults of this version where it lacks settings.

    Raises:
        UsageError: This version knows no such sweep.
    """
    own = own_tasks.of_resolved(resolved, name=name)
    return _resolved(resolved, own, name=name, profile=profile).resolved


def _resolved(
    resolved: JsonObject, own: Mapping[str, TaskDefinition], *, name: str, profile: str
) -> Sweep:
    named = {
        str(spec["name"]): dimension
        for dimension, spec in resolved.get("backbones", {}).items()
        if isinstance(spec, Mapping) and not is_elsewhere(str(spec["name"]))
    }
    known = catalog()  # the loading of a deleted backbone reports it
    others = {name: of for name, of in named.items() if name not in known.backbones}
    known = replace(known, backbones=extended(known.backbones, others))
    known = with_own_tasks(known, own)
    return loads_sweep(resolved, known, where=f"sweeps/{name}", profile=profile)


def match(ledger: Ledger, sweep: Sweep, text: str) -> Sweep:
    """Write a new sweep into the ledger, or match it with the recorded one; return the result.

    The same sweep is resumed. A sweep with more trials, or with other replicates or another budget,
    extends the recorded one. A sweep that never started is replaced. The ledger keeps the titles,
    licences and citations that own tasks had when the sweep began: a change of them is no
    difference. The claims of a question are fixed when a sweep begins; its other texts may change.

    Raises:
        UsageError: The ledger has another sweep of this name. The message lists the differences.
    """
    record = ledger.sweep()
    if record is None or record.state == "new":
        ledger.create(
            SweepRecord(
                name=sweep.name,
                experiment=sweep.experiment,
                resolved=sweep.resolved,
                config_hash=sweep.config_hash,
                profile=sweep.profile,
                text=text,
                provenance=record_of(sweep),
            )
        )
        return sweep
    own = own_tasks.of_resolved(record.resolved, name=record.name)
    begun = _resolved(record.resolved, own, name=record.name, profile=record.profile)
    sweep = _as_described(sweep, own)
    changed = differences(begun.resolved, sweep.resolved)
    as_begun = replace(_at_former_store(sweep, record), budget=begun.budget)
    same = begun.config_hash == as_begun.config_hash and _claims(begun) == _claims(sweep)
    if changed and same and sweep.search.trials >= begun.search.trials:
        # With another budget, paused trials may be promoted after the end.
        is_other = StudyBudget.of(begun.resolved) != StudyBudget.of(sweep.resolved)
        reopens = is_other and record.state == "finished"
        ledger.extend(sweep.resolved, config_hash=sweep.config_hash, reopens=reopens)
    elif changed:
        lines = [f"  {line}" for line in changed[:MAX_SHOWN]]
        more = f"\n  and {len(changed) - MAX_SHOWN} more" if len(changed) > MAX_SHOWN else ""
        raise UsageError(
            f"sweep `{sweep.name}` was launched with other settings; only more trials, replicates "
            "and another budget can be given to it. Go on with it as it began by `sweeper resume "
            f"{sweep.name}`, launch under another --name, or undo:\n" + "\n".join(lines) + more
        )
    return sweep


def _as_described(sweep: Sweep, recorded: Mapping[str, TaskDefinition]) -> Sweep:
    """Return a sweep whose own tasks have their recorded titles, licences and citations."""
    definitions = {
        name: TaskDefinition.model_validate(content).described_as(recorded[name])
        for name, content in sweep.task_files.items()
        if name in recorded
    }
    own_tasks.use(definitions)  # trials have the definition of the ledger, too
    return replace(sweep, catalog=with_own_tasks(sweep.catalog, definitions))


def _claims(sweep: Sweep) -> tuple[Claim, ...]:
    """Return the claims of a sweep, which are fixed before it runs."""
    return () if sweep.question is None else tuple(sweep.question.claims)


def _at_former_store(sweep: Sweep, record: SweepRecord) -> Sweep:
    """Return the sweep with the store of checkpoints that the ledger records."""
    former = (record.resolved.get("checkpoints") or {}).get("store")
    if former is None or sweep.checkpoints.store is None:
        return sweep
    checkpoints = sweep.checkpoints.model_copy(update={"store": former})
    return replace(sweep, checkpoints=checkpoints)


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
    dimension = TASKS[study.task].dimension
    yield from _network_faults(study, home)
    backbone = backbone_of(study)
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
    dimension = TASKS[study.task].dimension
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


def adapter_keys(study: StudySpec) -> Iterator[tuple[str, str]]:
    """Yield the settings of a study by which a trial may ask for adapters (`finetune: lora`)."""
    for stage in study.entry.stages:
        name = f"{stage}.finetune"
        searched = study.parameters.get(name)
        values = searched.examples() if searched is not None else [study.preset.get(name)]
        if "lora" in values:
            yield "fixed" if searched is None else "parameters", name


def fetches(sweep: Sweep, home: Path) -> tuple[str, ...]:
    """Return a note about what a launch on this machine fetches from the hub, or nothing."""
    specs = filter(None, map(backbone_of, sweep.studies))
    found = dict.fromkeys(what for spec in specs if (what := to_fetch(spec, home)))
    return (f"a launch fetches from the Hugging Face Hub: {', '.join(found)}.",) if found else ()


def missing(sweep: Sweep, home: Path) -> Iterator[str]:
    """Yield the missing data of a launch on this machine, each with the way to get them."""
    for study in sweep.studies:
        yield from _missing(study, draws_of(sweep, study, home).values(), home)


def _missing(study: StudySpec, seeds: Iterable[int], home: Path) -> Iterator[str]:
    data = data_of(study)
    state = state_of(study.task, data)
    if state == TO_IMPORT:
        yield str(official.missing(study.task, home))
    for proxy in study.proxies:
        if fault := proxy_faults(proxy, home):
            yield fault
    draws = [data, *(data_of(study, seed) for seed in seeds)]
    if to_make := sum(state_of(study.task, each) == TO_MAKE for each in draws):
        wanted, free = to_make * describe_data(study.task, data).bytes, _free_bytes(home)
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
    imported = home is not None and (official.folder_of(study.task, home) / MANIFEST).is_file()
    made = official.is_generated(study.task) and (data.source == "generated" or not imported)
    whole = describe_data(study.task, default).splits["train"]
    if made or (data.samples is not None and data.samples < whole):
        return []
    return [key for key in FRACTIONS if getattr(data, key) != getattr(default, key)]


def _free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk of a folder, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
