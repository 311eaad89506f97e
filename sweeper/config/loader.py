"""The loader of sweep files, which returns a validated `Sweep` or every fault at once."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TypedDict, Unpack

from sweeper.config.arms import check_ablation_keys, check_compare_by, factors
from sweeper.config.catalog import SPECS, Catalog, Settings
from sweeper.config.check import (
    check_compilation,
    check_dimensions,
    check_environment,
    check_notify,
    check_resources,
    check_search,
    check_secrets,
    check_stages,
    read_backbones,
    read_names,
    read_proxies,
    read_section,
    read_settings,
)
from sweeper.config.check_studies import Refusals, check_studies
from sweeper.config.faults import Faults
from sweeper.config.merge import check_keys, lay_over, read_document
from sweeper.config.node import Node
from sweeper.config.parameters import read_parameters
from sweeper.config.search.check_goals import check_goals
from sweeper.config.search.warm_start import Sources, check_names, read_warm_start
from sweeper.config.study_spec import DECAY, EPOCHS, following
from sweeper.config.sweep import ABLATION, SECTIONS, Sweep
from sweeper.config.yaml_reader import parse
from sweeper.model import Params


class LoadOptions(TypedDict, total=False):
    """The options of a command that override or complete a sweep file."""

    profile: str  # default: auto
    sets: Iterable[str]  # KEY=VALUE
    trials: int | None
    name: str | None
    has_gpu: bool  # decides the profile `auto`
    environment: Mapping[str, str] | None  # None: variables are not checked
    sources: Sources | None  # sweeps for `search.warm_start`
    refusals: Refusals | None  # yields the reasons why a study can never be trained


def load_sweep(path: Path | str, catalog: Catalog, **options: Unpack[LoadOptions]) -> Sweep:
    """Load the sweep file at `path`, and apply the profile and the command line.

    Raises:
        FileFaults: The file has faults, each with its file and line or its option.
    """
    return load_document(read_document(Path(path)), catalog, **options)


def load_document(document: Node, catalog: Catalog, **options: Unpack[LoadOptions]) -> Sweep:
    """Load a sweep file that was read, with a catalog that has its own tasks.

    Raises:
        FileFaults: The file has faults.
    """
    return _checked(document, catalog, options)


def loads_sweep(
    source: str | Settings,
    catalog: Catalog,
    *,
    where: str = "sweep.yaml",
    **options: Unpack[LoadOptions],
) -> Sweep:
    """Load a sweep from the text of a file, or from a mapping that is a sweep's `resolved`.

    Args:
        source: The text or the mapping. A mapping has its profile applied already.
        catalog: The known names.
        where: The name of the source in messages.
        **options: The options of a command.

    Raises:
        FileFaults: The source has faults.
    """
    if isinstance(source, str):
        return _checked(parse(source, where), catalog, options)
    resolved = parse(json.dumps(source, ensure_ascii=False), where)
    return _checked(resolved, catalog, options, is_resolved=True)


def _checked(
    document: Node, catalog: Catalog, options: LoadOptions, *, is_resolved: bool = False
) -> Sweep:
    """Return the sweep of a document.

    A resolved sweep was checked when it began. Therefore its studies are not checked again, and its
    limits and schedules stay unchanged.
    """
    faults = Faults()
    profile, environment = options.get("profile", "auto"), options.get("environment")
    check_keys(document, faults)
    merged = lay_over(
        document,
        catalog,
        faults,
        profile="paper" if is_resolved else profile,
        sets=options.get("sets", ()),
        trials=options.get("trials"),
        name=options.get("name"),
        has_gpu=options.get("has_gpu", False),
    )
    faults.tree = merged.tree

    # Each part is read even if another part has a fault, so that all faults are found at once.
    settings = read_settings(faults)
    methods = read_names("methods", settings.methods, catalog.methods, faults)
    tasks = read_names("tasks", settings.tasks, catalog.tasks, faults, catalog.hint)
    backbones = read_backbones(settings, catalog, faults)
    proxies = read_proxies(settings, catalog, faults)
    sections = {
        key: read_section((key,), SPECS[key], faults, getattr(settings, key))
        for key in ("model", "data")
    }
    are_sound = methods and len(methods) == len(settings.methods)
    takers = methods if are_sound else catalog.usable_methods
    parameters = read_parameters(
        takers, catalog, faults, document=None if is_resolved else document
    )
    check_compare_by(settings.compare_by, takers, catalog, faults, max_arms=settings.max_arms)
    if not is_resolved:
        check_ablation_keys(settings.compare_by, parameters.searched, faults)
    check_stages(settings.stages, takers, catalog, faults)
    check_dimensions(methods, tasks, catalog, faults)
    check_search(catalog, faults)
    goal_notes: list[str] = []
    if not is_resolved:
        entries = [catalog.tasks[task] for task in tasks]
        goal_notes = check_goals(settings, entries, faults)
        check_names(settings.search, faults)
        check_resources(settings.resources, faults)
        check_compilation(sections["model"] or {}, settings.resources, faults)
    search = read_warm_start(
        settings.search,
        settings.name,
        product(methods, tasks),
        parameters.searched,
        options.get("sources"),
        faults,
    )
    check_secrets(faults)
    check_notify(settings.notify, environment, faults, document=document)
    if environment is not None:
        check_environment(settings.tracking.uri, environment, faults)
    faults.stop()

    # A resolved sweep has its derived schedules in `fixed` already.
    followed: Params = {}
    if not is_resolved:
        followed = following(catalog.parameters(methods), parameters.searched, parameters.fixed)
        # The schedule of an arm that pins epochs follows its own.
        pinned = {name.replace(f".{EPOCHS}", f".{DECAY}") for name in factors(settings.compare_by)}
        followed = {name: value for name, value in followed.items() if name not in pinned}

    sweep = Sweep(
        name=settings.name,
        experiment=settings.experiment or settings.name,
        profile=profile if is_resolved else merged.profile,
        methods=tuple(methods),
        tasks=tuple(tasks),
        backbones=backbones,
        proxies=proxies,
        model=sections["model"] or {},
        data=sections["data"] or {},
        parameters=parameters.searched,
        fixed={**parameters.fixed, **followed},
        stages=settings.stages,
        question=settings.question,
        notify=tuple(settings.notify),
        **{name: getattr(settings, name) for name in ABLATION},
        **{name: getattr(settings, name) for name in SECTIONS} | {"search": search},
        catalog=catalog,
    )
    if is_resolved:
        return sweep
    notes = check_studies(sweep, faults, options.get("refusals"))
    faults.stop()
    return replace(sweep, notes=(*merged.notes, *parameters.notes, *goal_notes, *notes))
