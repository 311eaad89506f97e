"""The names that a sweep file may use: methods, tasks, backbones, proxies, samplers, pruners.

Callers pass a catalog in, since this package knows names and configs but no method or task itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from sweeper.errors import UsageError
from sweeper.model import Params

Dimension = Literal["1d", "2d"]
Settings = Mapping[str, Any]  # fields of a section or of a stage's config, as in a file
PROXY = "proxy"  # the source data of a trial, a parameter that belongs to no stage
MODEL = "model"  # prefix of settings of the section `model`, such as `model.embedder_init`


T = TypeVar("T")


class Lazy(Mapping[str, T], Generic[T]):
    """A mapping whose values are made at each look-up: plugins are imported when they are named.

    Args:
        names: The names.
        make: A function from a name to its value.
    """

    def __init__(self, names: Mapping[str, Any], make: Callable[[str], T]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def extended(entries: Mapping[str, T], more: Mapping[str, T]) -> Mapping[str, T]:
    """Return entries with others added or replaced, and import none of them."""
    names = {**dict.fromkeys(entries), **dict.fromkeys(more)}
    return Lazy(names, lambda name: more[name] if name in more else entries[name])


def usable(entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries that can be had, without plugins that cannot be imported."""
    found: dict[str, T] = {}
    for name in entries:
        try:
            found[name] = entries[name]
        except UsageError:
            continue
    return found


def fault_of(entries: Mapping[str, object], name: str) -> str | None:
    """Return the reason why a known entry cannot be had, such as a damaged plugin, or None."""
    try:
        entries[name]
    except UsageError as error:
        return str(error)
    return None


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method: its stages in order, each with the type of its config, and its settings."""

    name: str
    stages: Mapping[str, type[BaseModel]]
    objective_stage: str  # the stage whose reports carry the objective
    preset: Params = field(default_factory=dict)
    preset_name: str = "preset"
    published: Mapping[str, Params] = field(default_factory=dict)  # by task
    control: Params = field(default_factory=dict)  # turns it into vanilla fine-tuning
    needs_source: bool = False
    prune_after: float = 0.0  # share of the objective stage's epochs before any pruning
    origin: str = ""  # of a plugin: its file, or its distribution
    has_own_network: bool = False  # it reads no backbone
    backbone: Settings = field(default_factory=dict)  # settings of the backbone that it fixes
    # A function from the settings of all stages to the names of those that several processes share.
    divided: Callable[[Mapping[str, Settings]], tuple[str, ...]] = field(
        default=lambda stages: (), compare=False
    )


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A target task. `recipe` has published settings of the stage that reports the objective.

    `definition` is the content of the task file of an own task, and None for any other task.
    """

    name: str
    dimension: Dimension
    kind: str  # dense, classification, multilabel, regression
    metric: str
    recipe: Settings = field(default_factory=dict)
    definition: Settings | None = None


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All known methods, tasks, backbones, proxies, samplers and pruners by name.

    Attributes:
        sections: The types of the file's `backbone`, `model` and `data`.
        searched_model: The settings of `model` that a study may search.
        published_model: By backbone, its published settings of `model`. No other backbone has these
            settings, except local folders of the same dimension, which are not known here.
        hint: A function from an unknown task to what is known of it here, or None.
    """

    methods: Mapping[str, MethodEntry]
    tasks: Mapping[str, TaskEntry]
    backbones: Mapping[str, Dimension]
    proxies: Mapping[str, Dimension]
    samplers: Mapping[str, str]  # a look-up checks the sampler, and returns its name
    pruners: Mapping[str, str]
    sections: Mapping[Literal["backbone", "model", "data"], type[BaseModel]]
    searched_model: tuple[str, ...] = ()
    published_model: Mapping[str, Settings] = field(default_factory=dict)
    hint: Callable[[str], str | None] = lambda task: None

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
        own = [self.methods[method].has_own_network for method in methods]
        return [
            *(
                f"{stage}.{key}"
                for stage, configs in types.items()
                for key in dict.fromkeys(k for config in configs for k in public_fields(config))
            ),
            *(f"{MODEL}.{key}" for key in self.searched_model if not own or not all(own)),
        ]

    def parameter_types(self, methods: Iterable[str]) -> dict[str, list[type[BaseModel]]]:
        """Return the config types behind the parameters of `methods`, by the owner's name."""
        return {**self.stage_types(methods), MODEL: [self.sections["model"]]}

    def model_of(self, backbone: str, dimension: Dimension) -> Settings:
        """Return the published settings of `model` that are specific to this backbone.

        A setting without a published value is None.
        """
        if backbone in self.backbones:
            return dict(self.published_model.get(backbone, {}))
        return {
            key: None
            for name, settings in self.published_model.items()
            if self.backbones[name] == dimension
            for key in settings
        }

    def is_common(self, key: str) -> bool:
        """Return whether every backbone has this setting of `model`."""
        return not any(key in settings for settings in self.published_model.values())


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
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    return config.model_validate(values, strict=True)
