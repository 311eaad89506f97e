"""The loader of sweep files, which returns a validated `Sweep` or every fault at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Unpack

from sweeper.errors import FileFaults
from sweeper.model import Params
from sweeper.spec.arms import factors
from sweeper.spec.catalog import Catalog, Settings
from sweeper.spec.distributions import ParameterReader
from sweeper.spec.faults import Faults
from sweeper.spec.layers import LayerOptions, check_keys, lay_over
from sweeper.spec.node import Node
from sweeper.spec.parameters import Takers, read_parameters
from sweeper.spec.reader import parse
from sweeper.spec.rules.arms import check_ablation_keys, check_compare_by
from sweeper.spec.rules.file import (
    check_compilation,
    check_dimensions,
    check_environment,
    check_notify,
    check_resources,
    check_search,
    check_secrets,
    read_backbones,
    read_names,
    read_proxies,
    read_section,
    read_settings,
)
from sweeper.spec.rules.goals import check_goals
from sweeper.spec.rules.ladder import read_ladder
from sweeper.spec.rules.program import PROGRAM, PROGRAMS, read_programs, staged, with_defaults
from sweeper.spec.rules.stages import check_stages
from sweeper.spec.rules.studies import Refusals, check_studies
from sweeper.spec.schema import DataSection, SweepFile
from sweeper.spec.study import DECAY, EPOCHS, following
from sweeper.spec.sweep import ABLATION, SECTIONS, Sweep
from sweeper.spec.warm_start import Sources, check_names, read_warm_start
from sweeper.text import printable
from trainables.spec import ModelSpec

FURTHER = (PROGRAM, PROGRAMS, "stages", "ladder", "question")


class LoadOptions(LayerOptions, total=False):
    """The options of a command that override or complete a sweep file."""

    environment: Mapping[str, str] | None  # None: variables are not checked
    sources: Callable[[], Sources] | None  # of `search.warm_start`; None: they are not read
    refusals: Refusals  # yields the reasons why a study can never be trained


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
        return load_document(parse(source, where), catalog, **options)
    # JSON is YAML too, so that the same reader limits and checks it.
    resolved = parse(json.dumps(source, ensure_ascii=False), where)
    return load_document(resolved, catalog, is_resolved=True, **options)


def load_document(
    document: Node,
    catalog: Catalog,
    *,
    is_resolved: bool = False,
    **options: Unpack[LoadOptions],
) -> Sweep:
    """Load a sweep file that was read, with a catalog that has its own tasks.

    A resolved sweep was checked when it began. Therefore its studies are not checked again, and its
    limits and schedules stay unchanged.

    Raises:
        FileFaults: The file has faults.
    """
    faults, environment = Faults(), options.get("environment")
    check_keys(document, faults)
    document = staged(document)
    # A resolved form has its profile applied already.
    own: LoadOptions = {**options, "profile": "paper"} if is_resolved else options
    profile = lay_over(document, catalog, faults, own, partial(staged, of=document))
    try:
        catalog = read_programs(faults, catalog, is_resolved=is_resolved)
    except FileFaults:
        _check_rest(catalog, faults)
        raise
    # Each part is read even if another part has a fault, so that all faults are found at once.
    sweep = _read(read_settings(faults), catalog, faults, None if is_resolved else document)
    sweep = with_defaults(sweep)
    sweep = replace(sweep, search=read_warm_start(sweep, options.get("sources"), faults))
    check_secrets(faults)
    check_notify(sweep.notify, environment, faults, document=document)
    if environment is not None:
        check_environment(sweep.tracking.uri, environment, faults)
    faults.stop()
    if is_resolved:
        return replace(sweep, profile=options.get("profile", "auto"))
    fixed = {**sweep.fixed, **_followed(sweep)}
    sweep = replace(sweep, profile=profile, fixed=fixed)
    check_studies(sweep, faults, options.get("refusals", lambda study: ()))
    faults.stop()
    return replace(sweep, notes=tuple(faults.notes))


def _read(settings: SweepFile, catalog: Catalog, faults: Faults, document: Node | None) -> Sweep:
    """Return the sweep of a merged file; what has a fault is left out.

    Args:
        settings: The typed settings of the file.
        catalog: The known names.
        faults: The faults so far; new ones are added.
        document: The file without profile and command line; None: it was checked when it began.
    """
    methods = read_names("methods", settings.methods, catalog.methods, faults)
    tasks = read_names("tasks", settings.tasks, catalog.tasks, faults, catalog.hint)
    backbones = read_backbones(settings, catalog, faults)
    proxies = read_proxies(settings, catalog, faults)
    model = read_section(("model",), ModelSpec, faults, settings.model) or {}
    data = read_section(("data",), DataSection, faults, settings.data) or {}
    # If a method is misspelt, its parameters are looked up among all methods: each would be unknown
    # otherwise.
    are_sound = methods and len(methods) == len(settings.methods)
    takers = Takers(methods if are_sound else catalog.usable_methods, catalog, faults)
    parameters = read_parameters(takers, document)
    check_compare_by(settings, takers)
    if document is not None:  # the arms of a resolved sweep are on its ladder already
        settings = read_ladder(settings, takers)
    check_stages(settings.stages, takers.methods, catalog, faults)
    check_dimensions(methods, tasks, catalog, faults)
    check_search(catalog, faults)
    if document is not None:
        check_ablation_keys(settings.compare_by, parameters.searched, faults)
        check_goals(settings, [catalog.tasks[task] for task in tasks], faults)
        check_names(settings.search, faults)
        check_resources(settings.resources, faults)
        check_compilation(model, settings.resources, faults)
    return Sweep(
        name=settings.name,
        experiment=settings.experiment or settings.name,
        methods=tuple(methods),
        tasks=tuple(tasks),
        backbones=backbones,
        proxies=proxies,
        model=model,
        data=data,
        parameters=parameters.searched,
        fixed=parameters.fixed,
        notify=tuple(settings.notify),
        catalog=catalog,
        **{name: getattr(settings, name) for name in (*SECTIONS, *ABLATION, *FURTHER)},
    )


def _check_rest(catalog: Catalog, faults: Faults) -> None:
    """Raise the faults of a program, and those of all that is read without it."""
    read_settings(faults, apart_from=(PROGRAM, PROGRAMS, "methods", "tasks"))
    for name, node in faults.tree.child("parameters").children().items():
        ParameterReader(printable(name), node, faults).read()
    check_search(catalog, faults)
    faults.stop()


def _followed(sweep: Sweep) -> Params:
    """Return the schedules that follow the epochs of a file. A resolved sweep has them already."""
    known = sweep.catalog.parameters(sweep.methods)
    # The schedule of an arm that pins epochs follows its own.
    pinned = {name.replace(f".{EPOCHS}", f".{DECAY}") for name in factors(sweep.compare_by)}
    followed = following(known, sweep.drawn, sweep.fixed)
    return {name: value for name, value in followed.items() if name not in pinned}
