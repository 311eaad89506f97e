"""The content of a file of evidence, checked before it is read: others may have written it.

To confirm evidence is to launch its settings. So these may be no more than the sections that decide
numbers: no program to run, no address, no profile that could bring either.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweeper.errors import UsageError
from sweeper.results.reproduction.evidence import Machine
from sweeper.spec.schema import NAME, Replicate
from sweeper.text import JsonObject, printable

Section = dict[str, Any]
Name = Annotated[str, Field(pattern=NAME)]  # a part of the names of files


class Body(BaseModel):
    """A backbone."""

    model_config = ConfigDict(extra="allow")

    name: str


class Settings(BaseModel):
    """The sections of a resolved sweep file that decide its numbers."""

    methods: list[str] = []
    tasks: list[str] = []
    task_files: dict[str, Section] = {}
    backbones: dict[str, Body] = {}
    proxies: dict[str, str] = {}
    model: Section = {}
    data: Section = {}
    parameters: dict[str, Section] = {}
    fixed: Section = {}
    stages: dict[str, Section] = {}
    search: Section = {}
    pruning: Section = {}
    replicate: Replicate | None = None
    compare_by: dict[str, list[Any]] | list[Section] = {}
    ladder: dict[str, list[float]] = {}
    base: str | dict[str, Section] = "preset"
    tune: str = "shared"


class Facts(BaseModel):
    """The facts of studies on a task, as far as pages and comparisons read them as text."""

    model_config = ConfigDict(extra="allow")

    title: str | None = None
    dimension: str | None = None
    kind: str | None = None
    metric: str | None = None
    protocol: str | None = None
    data_source: str | None = None
    content_hash: str | None = None
    samples: dict[str, int] = {}
    baselines: dict[str, float | None] = {}
    solver_seconds: float | None = None
    draws: dict[str, Section] = {}
    backbone: str | None = None
    pretrained: str | None = None
    weights_hash: str | None = None
    proxy: str | None = None


class Content(BaseModel):
    """A file of evidence."""

    model_config = ConfigDict(extra="allow")

    sweep: Name
    profile: Name
    config_hash: str
    finished: str
    commit: str | None
    packages: dict[str, str]
    question: Section | None = None
    data: dict[str, str]
    code: dict[str, str] | None
    settings: Settings
    machine: Machine
    facts: list[Facts]
    studies: dict[str, Section]


def check_content(content: JsonObject) -> None:
    """Check the types of what a file of evidence has, and that its settings decide numbers alone.

    Raises:
        UsageError: A setting decides no number, and could name code to run or an address.
        ValueError: A part is of another type, or is missing.
    """
    # The model below ignores unknown keys, but a launch of the settings would obey them.
    for name in content["settings"].keys() - Settings.model_fields:
        raise UsageError(
            f"its settings have `{printable(name)}`, but evidence may name no code to run, no "
            "address and nothing else that decides no number."
        )
    try:
        Content.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
