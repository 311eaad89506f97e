"""The plugins that a sweep uses: what the ledger and MLflow record, and what a resume compares."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sweeper.errors import UsageError
from sweeper.ledger import SweepRecord
from sweeper.planning.catalog import as_usage_errors
from sweeper.planning.plugin_path import copy_of, path_of
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import JsonObject
from trainables.code_hash import plugin_version
from trainables.plugins import Offer, offers, plugins_of
from trainables.tasks.registry import TASKS

PLUGINS = "plugins"  # key of a sweep's provenance
MAX_SHOWN = 12  # characters of a hash in messages


@dataclass(frozen=True, kw_only=True)
class PluginUse:
    """A plugin, and the objects of it that a sweep uses."""

    distribution: str
    version: str
    objects: tuple[str, ...]  # "sweeper.methods:mine"
    code: str  # hash of its code
    path: str | None = None  # of `--plugin PATH`; None: the distribution is installed
    copy: str | None = None  # name of the copy in SWEEPER_HOME/cache/plugins


def plugins_in(studies: Sequence[StudySpec]) -> tuple[PluginUse, ...]:
    """Return the plugins that studies use; empty if all that they use is built in.

    Raises:
        UsageError: A module of a plugin is not valid Python.
    """
    return _plugins_among(_names(studies))


def _plugins_among(names: Mapping[str, Sequence[str]]) -> tuple[PluginUse, ...]:
    # `groupby` joins neighbours alone.
    used = sorted(plugins_of(names), key=lambda each: (each.distribution, each.group))
    return tuple(
        _use(distribution, tuple(found))
        for distribution, found in groupby(used, key=lambda each: each.distribution)
    )


def record_of(sweep: Sweep) -> dict[str, Any]:
    """Return the part of a sweep's provenance that names its plugins; empty without any."""
    search = {"sweeper.samplers": [sweep.search.sampler], "sweeper.pruners": [sweep.pruning.type]}
    found = _plugins_among({**_names(sweep.studies), **search})
    return {PLUGINS: [asdict(each) for each in found]} if found else {}


def check_installed(record: SweepRecord, study: str | None = None) -> None:
    """Check that the plugins of a recorded sweep are there.

    Args:
        record: What the ledger has of the sweep.
        study: The name of a study, of which a model is wanted; then its plugins are enough.

    Raises:
        UsageError: One is missing. The message has the command that names it, or installs it.
    """
    needed = None if study is None else _of_model(record, study)
    for plugin in _recorded(record.provenance):
        for text in plugin.objects:
            group, _, name = text.partition(":")
            if name in offers(group) or (needed is not None and name not in needed.get(group, ())):
                continue
            kind = group.removeprefix("sweeper.").removesuffix("s")
            if plugin.path is not None:
                path = shlex.quote(plugin.path)
                raise UsageError(
                    f"sweep `{record.name}` uses {kind} `{name}` of the plugin {path}, which only "
                    f"a command line names: sweeper resume {record.name} --plugin {path}"
                )
            raise UsageError(
                f"sweep `{record.name}` uses {kind} `{name}` of {plugin.distribution} "
                f"{plugin.version}, which is not installed here: "
                f"pip install {plugin.distribution}=={plugin.version}"
            )


def _of_model(record: SweepRecord, study: str) -> dict[str, list[str]]:
    """Return the names that a trained model of a study uses, by group."""
    # The name is METHOD/BENCHMARK/TASK, and of an arm METHOD/BENCHMARK/TASK/FACTOR=VALUE.
    method, benchmark, rest = study.split("/", 2)
    info = TASKS.get(f"{benchmark}/{rest.partition('/')[0]}")  # None: of a plugin that is missing
    backbones = record.resolved.get("backbones") or {}
    return {
        "sweeper.methods": [method],
        "sweeper.tasks": [benchmark],
        "sweeper.metrics": [] if info is None else list(info.metrics),
        "sweeper.backbones": [
            str(spec.get("name"))
            for dimension, spec in backbones.items()
            if info is None or info.dimension == dimension
        ],
    }


def copies_of(record: SweepRecord) -> set[str]:
    """Return the names of the copies of plugins that a recorded sweep ran with."""
    return {each.copy for each in _recorded(record.provenance) if each.copy is not None}


def changes(before: JsonObject, after: JsonObject) -> list[str]:
    """Return a line for each plugin whose code differs between two provenances of one sweep."""
    former = {each.distribution: each for each in _recorded(before)}
    return [
        f"the code of plugin {new.distribution} is another one than before: {old.version} "
        f"({old.code[:MAX_SHOWN]}) -> {new.version} ({new.code[:MAX_SHOWN]}); later trials use the "
        "new one."
        for new in _recorded(after)
        if (old := former.get(new.distribution)) is not None and old.code != new.code
    ]


def _recorded(provenance: JsonObject) -> list[PluginUse]:
    found = provenance.get(PLUGINS) or []
    return [PluginUse(**{**each, "objects": tuple(each["objects"])}) for each in found]


def _names(studies: Iterable[StudySpec]) -> dict[str, list[str]]:
    """Return the names that studies use, by group."""
    tasks = [TASKS[study.task] for study in studies]
    return {
        "sweeper.methods": [study.method for study in studies],
        "sweeper.tasks": [info.benchmark for info in tasks],
        "sweeper.metrics": [metric for info in tasks for metric in info.metrics],
        "sweeper.predictors": list(offers("sweeper.predictors")),  # all of them make the floors
        "sweeper.backbones": [
            str(study.backbone.get("name")) for study in studies if study.backbone is not None
        ],
        "sweeper.sources": [proxy for study in studies for proxy in study.proxies],
        "sweeper.distances": [each for study in studies for each in study.distances],
    }


def _use(distribution: str, found: tuple[Offer, ...]) -> PluginUse:
    with as_usage_errors():
        code = plugin_version(found)
    return PluginUse(
        distribution=distribution,
        version=found[0].version,
        objects=tuple(f"{each.group}:{each.name}" for each in found),
        code=code,
        path=path_of(found[0]),
        copy=copy_of(found[0]),
    )
