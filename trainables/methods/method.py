"""A method: a paper's recipe as ordered stages, with the first trials of every study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from trainables.errors import ConfigError
from trainables.plugins import install
from trainables.stages.stage import StageConfig
from trainables.tasks.kinds import KINDS, Kind

if TYPE_CHECKING:
    from trainables.tasks.task import TaskInfo  # NumPy, which loads slowly

Settings = Mapping[str, Any]  # by "stage.parameter"


def _fits(info: "TaskInfo") -> str | None:
    return None


def _nothing(info: "TaskInfo") -> Settings:
    return {}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of a method's own, in place of a backbone or in front of the target's embedder."""

    title: str  # "FNO", shown where others show their backbone
    build: str  # "module:function"; `trainables/models/own_network.py` states its contract
    settings: tuple[str, ...] = ()  # "stage.parameter" of those that the function takes
    kinds: tuple[Kind, ...] = tuple(KINDS)  # of tasks that it can learn
    package: str = ""  # distribution that it needs
    extra: str = ""  # of this package, which installs it
    unfit: Callable[["TaskInfo"], str | None] = _fits  # why it cannot learn a task of its kinds

    def fault_here(self) -> str | None:
        """Return what this machine lacks to build the network, with the way out; None if nothing.

        No package is imported.
        """
        if not self.package:
            return None
        try:
            version(self.package)
        except PackageNotFoundError:
            return f"{self.title} needs the package {self.package}: {install(self.extra)}."
        return None

    def fault_on(self, info: "TaskInfo") -> str | None:
        """Return the reason why the network cannot learn a task, or None."""
        if info.kind in self.kinds:
            return self.unfit(info)
        return (
            f"{self.title} learns {' and '.join(self.kinds)} tasks, but {info.name} is a "
            f"{info.kind} task: take it or the method out."
        )


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: an ordered mapping of stages, whose configs and code have all other behaviour."""

    name: str  # "mona"
    title: str  # "MoNA", as printed
    citation: str
    stages: Mapping[str, type[StageConfig]]  # in the order in which they run
    control: Settings  # settings that turn the method into vanilla fine-tuning
    preset_name: str = "preset"  # "default" if the paper's settings are not public
    preset: Settings = field(default_factory=dict)  # settings of the first trial on every task
    published: Callable[["TaskInfo"], Settings] = _nothing  # overrides of the preset on one task
    needs_source: bool = False  # whether a stage reads the proxy
    prune_after: float = 0.0  # share of the last stage's epochs before which no trial is pruned
    network: Network | None = None  # None: the model has a backbone
    features: Network | None = None  # in front of the embedder, if all stages it names have epochs
    backbone: Settings = field(default_factory=dict)  # settings of the backbone, as in a sweep file

    def __post_init__(self) -> None:
        """Check that a network of its own is in no stage that needs a backbone.

        Raises:
            ConfigError: A stage works on tokens of a backbone or on source data.
        """
        if self.network is None:
            return
        lacking = [name for name, config in self.stages.items() if config.needs_backbone]
        if lacking or self.needs_source:
            stages = ", ".join(f"`{name}`" for name in lacking) or "a stage"
            raise ConfigError(
                f"method `{self.name}`: {stages} needs a pretrained backbone, which embeds source "
                f"data, but {self.network.title} is a network of its own. Derive the configs of "
                "stages that train it from `NetworkConfig`, or leave `network` out."
            )

    @property
    def objective_stage(self) -> str:
        """The name of the stage whose reports carry the objective."""
        return next(name for name, config in self.stages.items() if config.reports_objective)

    def divided(self, stages: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Return the names of the stages whose batches several processes of a trial divide."""
        configs = self.configs(stages).items()
        return tuple(name for name, config in configs if config.divides_batches)

    def network_settings(self, stages: Mapping[str, StageConfig]) -> dict[str, Any] | None:
        """Return the settings of the method's own network by name, given the configs of stages.

        None: the model has no such network.
        """
        network = self.network or self.features
        if network is None:
            return None
        places = [name.partition(".")[::2] for name in network.settings]
        # The control, without epochs of these stages, is vanilla fine-tuning: it has no features.
        if self.features and not all(stages[stage].epochs for stage, _ in places):
            return None
        return {parameter: getattr(stages[stage], parameter) for stage, parameter in places}

    def configs(self, stages: Mapping[str, Mapping[str, Any]]) -> dict[str, StageConfig]:
        """Return the configs of all stages, given the settings of some of them."""
        return {name: config(**stages.get(name, {})) for name, config in self.stages.items()}
