"""The names that a sweep file may use: methods, tasks, backbones, proxies, samplers, pruners.

Callers pass a catalog in: the names depend on installed plugins, own tasks and local folders.
"""

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from sweeper.errors import NOT_INSTALLED, UsageError, unknown
from sweeper.model import Params
from sweeper.spec.schema import DataSection
from sweeper.text import printable
from trainables.methods.method import Method
from trainables.spec import PUBLISHED_MODEL, SEARCHED_MODEL, BackboneSpec, Dimension, ModelSpec

if TYPE_CHECKING:
    from trainables.tasks.task import TaskInfo  # NumPy, which loads slowly

Settings = Mapping[str, Any]  # fields of a section or of a stage's config, as in a file
PROXY = "proxy"  # the source data of a trial, a parameter that belongs to no stage
MODEL = "model"  # prefix of settings of the section `model`, such as `model.embedder_init`
SPECS: Mapping[str, type[BaseModel]] = {
    "backbone": BackboneSpec,
    "model": ModelSpec,
    "data": DataSection,
}


T = TypeVar("T")


def usable(entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries that can be had, without plugins that cannot be imported."""
    found: dict[str, T] = {}
    for name in entries:
        try:
            found[name] = entries[name]
        except UsageError:
            continue
    return found


def fault_of(kind: str, name: str, entries: Mapping[str, object]) -> str | None:
    """Return why an entry is unknown or its plugin fails; None if it can be had."""
    if name not in entries:
        return unknown(kind, printable(name), entries) + NOT_INSTALLED
    try:
        entries[name]
    except UsageError as error:
        return str(error)
    return None


def of_dimension(name: str, entries: Mapping[str, Dimension], dimension: str) -> str | None:
    """Return the reason why a known entry is not for tasks of a dimension, or None."""
    if entries[name] == dimension:
        return None
    fits = ", ".join(sorted(n for n, d in usable(entries).items() if d == dimension))
    return f"`{name}` is for {entries[name]} tasks. For {dimension}: {fits}."


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All known methods, tasks, backbones, proxies, samplers and pruners by name.

    A look-up imports a plugin. It raises UsageError for one that cannot be had.

    Attributes:
        hint: A function from an unknown task to what is known of it here, or None.
        definition: A function from a task to the content of its task file; None: not an own task.
        origin: A function from a method to the plugin that offers it; "": none does.
        register: Makes the method and the task of a program known to this process.
    """

    methods: Mapping[str, Method]
    tasks: "Mapping[str, TaskInfo]"
    backbones: Mapping[str, Dimension]
    proxies: Mapping[str, Dimension]
    samplers: Mapping[str, object]
    pruners: Mapping[str, object]
    hint: Callable[[str], str | None] = lambda task: None
    definition: Callable[[str], Settings | None] = lambda task: None
    origin: Callable[[str], str] = lambda method: ""
    register: "Callable[[Method, TaskInfo], None]" = lambda method, task: None

    def with_programs(self, methods: Sequence[Method], tasks: "Sequence[TaskInfo]") -> "Catalog":
        """Return a catalog with the methods and the tasks that programs of a user stand for."""
        for each in product(methods, tasks):
            self.register(*each)
        return replace(
            self,
            methods=ChainMap({each.name: each for each in methods}, cast(Any, self.methods)),
            tasks=ChainMap({each.name: each for each in tasks}, cast(Any, self.tasks)),
        )

    @property
    def usable_methods(self) -> list[str]:
        """The names of all methods, but for plugins that cannot be imported."""
        return list(usable(self.methods))

    def stage_types(self, methods: Iterable[str]) -> dict[str, list[type[BaseModel]]]:
        """Return the config types that each stage name has among `methods`."""
        types: dict[str, list[type[BaseModel]]] = {}
        for method in methods:
            for stage, config in self.methods[method].stages.items():
                if config not in types.setdefault(stage, []):
                    types[stage].append(config)
        return types

    def parameters(self, methods: Iterable[str]) -> list[str]:
        """Return every `stage.parameter` of `methods`, and every `model.setting` to search.

        Settings of the model are those of models with a backbone.
        """
        methods = list(methods)
        types = self.stage_types(methods)
        own = [self.methods[method].network is not None for method in methods]
        return [
            *(
                f"{stage}.{key}"
                for stage, configs in types.items()
                for key in dict.fromkeys(k for config in configs for k in public_fields(config))
            ),
            *(f"{MODEL}.{key}" for key in SEARCHED_MODEL if not own or not all(own)),
        ]

    def model_of(self, backbone: str, dimension: Dimension) -> Settings:
        """Return the published settings of `model` that are specific to this backbone.

        A setting without a published value is None.
        """
        if backbone in self.backbones:
            return dict(PUBLISHED_MODEL.get(backbone, {}))
        # A local folder may hold any network, so that the settings of all backbones of its
        # dimension apply.
        return {
            key: None
            for name, settings in PUBLISHED_MODEL.items()
            if self.backbones[name] == dimension
            for key in settings
        }


def model_settings(params: Params) -> dict[str, Any]:
    """Return the settings of `model` among a trial's parameters, by the section's keys."""
    owner = f"{MODEL}."
    return {k.removeprefix(owner): v for k, v in params.items() if k.startswith(owner)}


def public_fields(config: type[BaseModel]) -> list[str]:
    """Return the names of a config's fields in a file."""
    return [field.alias or name for name, field in config.model_fields.items()]


def validated(config: type[BaseModel], given: Settings) -> BaseModel:
    """Return a validated config with the values of a file. Lists become tuples.

    Raises:
        ValidationError: A value has the wrong type or range, or two values contradict each other.
    """
    # Strict validation takes no list for a tuple, and a file has lists alone.
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    return config.model_validate(values, strict=True)
