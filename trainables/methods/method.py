"""A method: a paper's recipe as ordered stages, with the first trials of every study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.stages.stage import StageConfig
from trainables.tasks.task import TaskInfo

Settings = Mapping[str, Any]  # by "stage.parameter"


def _nothing(info: TaskInfo) -> Settings:
    del info
    return {}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method as an ordered mapping of stages. All other behaviour is in the stages' configs and
    code."""

    name: str  # "mona"
    title: str  # "MoNA", as printed
    citation: str
    stages: Mapping[str, type[StageConfig]]  # in the order in which they run
    control: Settings  # settings that turn the method into vanilla fine-tuning
    preset_name: str = "preset"  # "default" if the paper's settings are not public
    preset: Settings = field(default_factory=dict)  # settings of the first trial on every task
    published: Callable[[TaskInfo], Settings] = _nothing  # overrides of the preset on one task
    needs_source: bool = False  # whether a stage reads the proxy
    prune_after: float = 0.0  # share of the last stage's epochs before which no trial is pruned
