"""The reference of one method, task, backbone, distance, sampler or pruner, with all settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import getdoc
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeper.commands.result import Result
from sweeper.errors import NOT_INSTALLED, NotFound, unknown
from sweeper.planning import own_tasks
from sweeper.planning.catalog import as_usage_errors, home
from sweeper.planning.load import known_here, state_of
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.spec.catalog import SPECS
from sweeper.spec.json_schema import inlined
from sweeper.spec.rules.file import is_elsewhere
from sweeper.spec.schema import DataSection, Pruning, Search, StageSearch, SweepFile
from sweeper.text import JsonObject
from trainables.distances.registry import DISTANCES, DistanceEntry
from trainables.errors import ConfigError
from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.models.backbones.families import family_of
from trainables.models.weights.description import (
    BACKBONES,
    folder_of,
    folder_of_spec,
    read_config,
)
from trainables.plugins import Registry
from trainables.spec import SEARCHED_MODEL, BackboneSpec, DataSpec, ModelSpec
from trainables.tasks.kinds import KINDS
from trainables.tasks.loading import describe_data
from trainables.tasks.own.benchmark import OwnBenchmark
from trainables.tasks.registry import TASKS, own_benchmark_of, published_numbers
from trainables.tasks.task import TaskInfo


@dataclass(frozen=True, kw_only=True)
class Parameter(Result):
    """One setting."""

    name: str  # as in a sweep file
    meaning: str
    default: object
    limits: str


@dataclass(frozen=True, kw_only=True)
class Reference(Result):
    """Everything about one name."""

    kind: str  # method, task, backbone, distance, sampler, pruner
    name: str
    title: str
    facts: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...] = ()


def reference(name: str | None, include: Sequence[Path] = ()) -> Reference:
    """Return the reference of a name.

    Args:
        name: A method, a task, a backbone, a sampler or a pruner; None: the keys of sweep files.
        include: Task files of own tasks, or folders of them.

    Raises:
        NotFound: There is nothing of that name.
        UsageError: It is of a plugin that cannot be imported.
        FileFaults: A task file has a fault.
    """
    if name is None:
        return _sweep_file()
    own_tasks.find(include)
    own_tasks.find_stored()
    with as_usage_errors():
        if name in METHODS:
            return _method(METHODS[name])
        if name in TASKS:
            return _task(TASKS[name])
        if name in SAMPLERS:
            return _of_search(SAMPLERS, name, Search, "search.sampler")
        if name in PRUNERS:
            return _of_search(PRUNERS, name, Pruning, "pruning.type")
        if name in DISTANCES:
            return _distance(DISTANCES[name])
    backbones = known_here(home()).backbones
    if name in backbones:
        return _backbone(name, backbones[name])
    if is_elsewhere(name) and (folder := _folder_of(name)) is not None:
        return _backbone(name, None, folder)
    known = [*METHODS, *TASKS, *SAMPLERS, *PRUNERS, *DISTANCES, *backbones]
    message = unknown("method, task, backbone, distance, sampler or pruner", name, known)
    raise NotFound(message + NOT_INSTALLED)


def _sweep_file() -> Reference:
    """Return the reference of the keys of a sweep file, with those of its sections."""
    parameters: list[Parameter] = []
    # Sections of these sorts are plain mappings in the schema of the file.
    sections: dict[str, tuple[str, type[BaseModel]]] = {
        "backbones": ("backbones.DIMENSION", SPECS["backbone"]),
        "model": ("model", SPECS["model"]),
        "data": ("data", SPECS["data"]),
        "stages": ("stages.STAGE", StageSearch),
    }
    for each in _parameters(SweepFile, prefix=""):
        parameters.append(each)
        if each.name in sections:
            key, section = sections[each.name]
            parameters += _parameters(section, prefix=f"{key}.")
    return Reference(
        kind="format",
        name="keys",
        title="all keys of a sweep file",
        facts={},
        parameters=tuple(parameters),
        notes=(
            "`sweeper describe METHOD` has the keys of `parameters` and `fixed`.",
            "A file may also have `extends`, `include`, `task_files` and `profiles`.",
        ),
    )


def _method(method: Method) -> Reference:
    parameters = [
        _with_default(each, method.preset)
        for stage, config in method.stages.items()
        for each in _parameters(config, prefix=f"{stage}.")
    ]
    of_model = {each.name: each for each in _parameters(ModelSpec, prefix="model.")}
    if method.network is None:
        parameters += [of_model[f"model.{key}"] for key in SEARCHED_MODEL]
    facts = {}
    if (network := method.network) is not None:
        facts["network"] = f"{network.title}, for {' and '.join(network.kinds)} tasks"
        facts["package"] = network.fault_here() or network.package or "none"
    vanilla = "none: it is vanilla fine-tuning itself"
    if method.network is not None or method.backbone:
        vanilla = "none: it is a baseline"
    control = ", ".join(f"{key}: {value}" for key, value in method.control.items())
    return Reference(
        kind="method",
        name=method.name,
        title=method.title,
        facts={
            **({"citation": method.citation} if method.citation else {}),
            "stages": ", ".join(method.stages),
            "source data": "read" if method.needs_source else "not read",
            "control": control or vanilla,
            "several GPUs": _on_several_gpus(method),
            **facts,
        },
        parameters=tuple(parameters),
        notes=(
            "Published settings of a task come before these defaults: `sweeper describe TASK` "
            "shows them. A sweep file's `fixed` and `parameters` come before both.",
        ),
    )


def _on_several_gpus(method: Method) -> str:
    """Return which stages train on all GPUs of a trial, and which on the first one."""
    configs = method.configs({})
    shared = [name for name, config in configs.items() if config.divides_batches]
    alone = [name for name in configs if name not in shared]
    if not shared:
        return "none of its stages with these defaults"
    first = f"; {', '.join(alone)} on the first one" if alone else ""
    return ", ".join(shared) + first


def _task(info: TaskInfo) -> Reference:
    own = own_benchmark_of(info.name)
    is_known = info.samples > 0  # what an own task has is known once its data are imported
    shape = " x ".join(map(str, info.input_shape))
    numbers = sorted(published_numbers(info.name).values(), key=lambda number: number.value)
    facts = {
        "kind": f"{info.dimension} {info.kind}",
        "input": shape if is_known else "",
        "output": f"{info.channels[1]} {KINDS[info.kind].counted}" if is_known else "",
        "metric": f"{info.metric}, lower is better",
        "samples": f"{info.samples:,}" if is_known else "",
        "protocol": info.protocol,
        "equation": info.equation,
        "data here": state_of(info.name, DataSpec()),
        **({} if own is None else _own_facts(info.name, own)),
        "published": ", ".join(f"{number.method} {number.value:.4g}" for number in numbers),
    }
    defaults = {}
    if own is None:  # of an own task they are all samples, as they are
        trained = describe_data(info.name, DataSpec()).splits["train"]
        defaults = {"data.resolution": info.resolution, "data.samples": trained}
    parameters = (
        _with_default(each, defaults) for each in _parameters(DataSection, prefix="data.")
    )
    return Reference(
        kind="task",
        name=info.name,
        title=info.title,
        facts={key: value for key, value in facts.items() if value},
        parameters=(*parameters, *_published(info)),
        notes=("Settings of methods are those published for this task, and their presets.",),
    )


def _own_facts(name: str, own: OwnBenchmark) -> dict[str, str]:
    """Return what the task file of an own task says, and its classes once they are imported."""
    definition, facts, file = own.definitions[name], own.facts.get(name), own.files.get(name)
    return {
        "classes": ", ".join(facts.classes) if facts else "",
        "import": own.way_to_import(name),
        "task file": "" if file is None else str(file),
        "licence": definition.licence,
        "citation": definition.citation,
    }


def _published(info: TaskInfo) -> Iterator[Parameter]:
    """Yield the settings of each method that are published for a task."""
    for method in METHODS.usable().values():
        recipe = {f"{method.objective_stage}.{key}": value for key, value in info.recipe.items()}
        settings = {**recipe, **method.preset, **method.published(info)}
        for stage, config in method.stages.items():
            for each in _parameters(config, prefix=f"{stage}."):
                if each.name in settings:
                    name = f"{method.name}: {each.name}"
                    yield replace(_with_default(each, settings), name=name)


def _folder_of(name: str) -> Path | None:
    """Return the folder of a backbone that is a path or in the hub's cache, or None."""
    from trainables.models.weights.hub import cached_config  # its client takes a while to import

    try:
        return folder_of_spec(spec := BackboneSpec(hub=name), home()) or (
            None if spec.hub_id is None else cached_config(spec.hub_id)
        )
    # It is neither a path nor an id of the hub, so the caller reports an unknown name.
    except (ConfigError, ValidationError):
        return None


def _backbone(name: str, dimension: str | None, folder: Path | None = None) -> Reference:
    """Return the reference of a backbone.

    Args:
        name: Its name, or that of a model of a library.
        dimension: `1d` or `2d`; None: that of its config.
        folder: The folder of one that is neither built in nor in `SWEEPER_HOME/weights`.

    Raises:
        UsageError: Its config cannot be read.
    """
    named = BACKBONES.get(name)
    local = folder or home() / "weights" / name
    places: list[str] = [str(local)] if local.exists() else []
    config: Mapping[str, object]
    if named is None:
        with as_usage_errors():
            config = read_config(local if folder else folder_of(name, home()))
    else:
        config = named.config
        places += [f"hub: {each}" for each in named.origin.hub_ids]
        places += [f"package: {named.origin.package}"] if named.origin.package else []
    family = family_of(config)
    dimension = dimension or (family.dimension if family else None)
    layers = _first(config, ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depths"))
    facts = {
        "tasks": dimension or "shown by `sweeper plan`, as the architecture is not known here",
        "architecture": str(config.get("model_type") or config.get("architecture")),
        "layers": layers,
        "width": _first(config, ("hidden_size", "embed_dim", "n_embd", "d_model", "dim")),
        "weights": "; ".join(places),
    }
    place = f"backbones.{dimension or 'DIMENSION'}."
    defaults = {f"{place}{'hub' if folder else 'name'}": name}
    parameters = _parameters(BackboneSpec, prefix=place)
    return Reference(
        kind="backbone",
        name=name,
        title=name,
        facts={key: value for key, value in facts.items() if value},
        parameters=tuple(_with_default(each, defaults) for each in parameters),
    )


def _first(config: Mapping[str, object], keys: Sequence[str]) -> str:
    """Return the value of the first of some keys that a config has, or an empty text."""
    return next((str(config[key]) for key in keys if config.get(key) is not None), "")


def _of_search(registry: Registry[Any], name: str, section: type[BaseModel], key: str) -> Reference:
    """Return the reference of a sampler or a pruner.

    `key` is the key of a sweep file that names it.
    """
    parameters = _parameters(section, prefix=f"{key.partition('.')[0]}.")
    return Reference(
        kind=registry.kind,
        name=name,
        title=(getdoc(registry[name]) or name).splitlines()[0],
        facts={"from": registry.origins(name)},
        parameters=tuple(_with_default(each, {key: name}) for each in parameters),
    )


def _distance(entry: DistanceEntry) -> Reference:
    """Return the reference of a distance: the settings of ORCA's alignment that it takes."""
    taken = {f"align.{setting}" for setting in ("distance", *entry.settings.values())}
    settings = _parameters(METHODS["orca"].stages["align"], prefix="align.")
    return Reference(
        kind="distance",
        name=entry.name,
        title=entry.title,
        facts={"from": DISTANCES.origins(entry.name), "minimised by": "the stage `align`"},
        parameters=tuple(
            _with_default(each, {"align.distance": entry.name})
            for each in settings
            if each.name in taken
        ),
    )


def _parameters(config: type[BaseModel], *, prefix: str) -> Iterator[Parameter]:
    """Yield the settings of a model, and below each section those of the section."""
    yield from _of_schema(inlined(config), prefix)


def _of_schema(schema: JsonObject, prefix: str) -> Iterator[Parameter]:
    required = schema.get("required", ())
    for key, value in schema["properties"].items():
        is_section = "properties" in value
        yield Parameter(
            name=prefix + key,
            meaning=str(value.get("description", "")).strip(),
            default=None if is_section else value.get("default"),
            limits=limits(value) + (", required" if key in required else ""),
        )
        # A section may be optional (null), or the item of a list.
        for option in (value, *value.get("anyOf", ())):
            below = option.get("items", option)
            if isinstance(below, dict) and "properties" in below:
                yield from _of_schema(below, f"{prefix}{key}.")


def _with_default(parameter: Parameter, settings: Mapping[str, object]) -> Parameter:
    """Return a parameter with its default replaced by that of `settings`, if they have one."""
    default = settings.get(parameter.name, parameter.default)
    return replace(parameter, default=default)


def limits(schema: JsonObject) -> str:
    """Return the values that a JSON Schema allows, in words: `integer, 1 to 1000`."""
    if "anyOf" in schema:
        return " or ".join(limits(option) for option in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        *others, last = map(str, schema["enum"])
        return f"{', '.join(others)} or {last}" if others else last
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        return f"list of {limits(schema['items'])}s" if "items" in schema else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        if not isinstance(values, dict) or values.get("type") == "object":
            return "mapping"
        return f"mapping of names to {limits(values)}"
    if kind in ("boolean", "null", "string"):
        return {"boolean": "true or false", "string": "text"}.get(kind, kind)
    # Ten digits have a seed's bound, 2^32, in full.
    told = {
        key: f"{schema[key]:.10g}"
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        if schema.get(key) is not None
    }
    low, high = told.get("minimum"), told.get("maximum")
    over, under = told.get("exclusiveMinimum"), told.get("exclusiveMaximum")
    bounds = [
        f"{low} to {high}" if low and high else None,
        f"{low} or more" if low and not high else None,
        f"over {over}" if over else None,
        f"{high} or less" if high and not low else None,
        f"under {under}" if under else None,
    ]
    return ", ".join([kind, *(bound for bound in bounds if bound)])
