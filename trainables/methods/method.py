"""A method: a paper's recipe as ordered stages, and the trials that every study starts with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.stages.stage import StageConfig


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method is its stages. All else about it is in the stages' configs and code."""

    name: str  # "mona"
    title: str  # "MoNA", as printed
    citation: str
    stages: Mapping[str, type[StageConfig]]  # in the order in which they run
    control: Mapping[str, Any]  # settings that turn the method into vanilla fine-tuning
    preset_name: str = "preset"  # "default" where the paper's settings are not public
    preset: Mapping[str, Any] = field(default_factory=dict)
    needs_source: bool = False  # whether a stage reads the proxy
