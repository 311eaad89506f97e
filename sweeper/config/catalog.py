"""What a sweep file may name: methods, tasks, backbones, proxies. Handed in, since this package
knows names and configs but not the science behind them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Dimension = Literal["1d", "2d"]
PROXY = "proxy"  # a parameter that is of no stage: which source data a trial reads
MODEL = "model"  # owner of the others, `model.embedder_init`: settings of the model section


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method: its stages in the order in which they run, each with the type of its config."""

    name: str
    stages: Mapping[str, type[BaseModel]]
    objective_stage: str  # the stage whose reports carry the objective
    preset: Mapping[str, Any] = field(default_factory=dict)  # "stage.parameter" -> value
    preset_name: str = "preset"
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by task, over it
    control: Mapping[str, Any] = field(default_factory=dict)  # makes it vanilla fine-tuning
    needs_source: bool = False
    prune_after: float = 0.0  # share of the objective stage's epochs that no pruner may cut


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A target task; `recipe` holds published settings of the stage that reports the objective."""

    name: str
    dimension: Dimension
    kind: str  # dense, classification, multilabel
    metric: str
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything known, by name. `sections` types the file's `backbone`, `model` and `data`.

    Of the settings of `model`, a study may search those in `searched_model`. `published_model`
    holds, by backbone, those with which it was published; other backbones do not have them, but
    for local folders of the same dimension, of which nothing is known here.
    """

    methods: Mapping[str, MethodEntry]
    tasks: Mapping[str, TaskEntry]
    backbones: Mapping[str, Dimension]
    proxies: Mapping[str, Dimension]
    sections: Mapping[Literal["backbone", "model", "data"], type[BaseModel]]
    searched_model: tuple[str, ...] = ()
    published_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stage_types(self, methods: Iterable[str]) -> dict[str, list[type[BaseModel]]]:
        """Returns the config types that each stage name has among `methods`."""
        types: dict[str, list[type[BaseModel]]] = {}
        for method in methods:
            for stage, config in self.methods[method].stages.items():
                if config not in types.setdefault(stage, []):
                    types[stage].append(config)
        return types

    def parameters(self, methods: Iterable[str]) -> list[str]:
        """Returns every `stage.parameter` of `methods`, and what may be searched of `model`."""
        types = self.stage_types(methods)
        return [
            *(
                f"{stage}.{key}"
                for stage, configs in types.items()
                for key in dict.fromkeys(k for config in configs for k in public_fields(config))
            ),
            *(f"{MODEL}.{key}" for key in self.searched_model),
        ]

    def parameter_types(self, methods: Iterable[str]) -> dict[str, list[type[BaseModel]]]:
        """Returns the config types behind the parameters of `methods`, by the owner's name."""
        return {**self.stage_types(methods), MODEL: [self.sections["model"]]}

    def model_of(self, backbone: str, dimension: Dimension) -> dict[str, Any]:
        """Returns the settings of `model` that not every backbone has and this one does, each with
        the value that it was published with; None: with none."""
        if backbone in self.backbones:
            return dict(self.published_model.get(backbone, {}))
        return {
            key: None
            for name, settings in self.published_model.items()
            if self.backbones[name] == dimension
            for key in settings
        }

    def is_common(self, key: str) -> bool:
        """Returns whether every backbone has this setting of `model`."""
        return not any(key in settings for settings in self.published_model.values())


def model_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a trial's parameters say of `model`, by the section's keys."""
    owner = f"{MODEL}."
    return {k.removeprefix(owner): v for k, v in params.items() if k.startswith(owner)}


def public_fields(config: type[BaseModel]) -> list[str]:
    """Returns the names under which a config's fields are written in a file."""
    return [field.alias or name for name, field in config.model_fields.items()]


def validated(config: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    """Returns the config that a file's values make; a list stands for a tuple, which YAML lacks.

    Raises:
        ValidationError: A value is of the wrong type or range, or two contradict each other.
    """
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    return config.model_validate(values, strict=True)
