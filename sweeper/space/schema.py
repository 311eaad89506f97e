"""The sweep file, key by key: types, ranges, defaults, and what each key means.

What depends on methods, tasks and backbones is checked in `check.py`; parameters are read by
`grammar.py`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sweeper.space.faults import holds_secret
from sweeper.space.units import Duration, Size

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
REQUIRED = ("name", "methods", "tasks", "parameters")
ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks")


def whole_or_shared(gpu: float) -> float:
    """Refuses 1.5 GPUs: one GPU is shared, or several are taken whole."""
    if gpu > 1 and gpu != int(gpu):
        raise ValueError("must be 1 or less, or a whole number")
    return gpu


def tracking_uri(uri: str) -> str:
    """Refuses an address without a known scheme or with a password in it."""
    if holds_secret(ENV.sub("", uri)):
        raise ValueError("must hold no password; put it in MLFLOW_TRACKING_PASSWORD")
    if "$" in ENV.sub("", uri):
        raise ValueError("must name environment variables as ${env:NAME}")
    if not ENV.match(uri) and uri.partition(":")[0].partition("+")[0] not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(s + ':' for s in SCHEMES)}")
    return uri


class Section(BaseModel):
    """Base: frozen, strict, and an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Search(Section):
    """How parameters are suggested, and how often."""

    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe: tree-structured Parzen estimator. random: independent draws."
    )
    trials: int = Field(
        32, ge=1, le=100_000, description="Trials a study, the preset and the control included."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the sampler and of every trial.")
    max_concurrent: int | None = Field(
        None, ge=1, le=10_000, description="Trials at a time; null: as many as the cluster holds."
    )
    startup_trials: int = Field(
        10, ge=1, le=10_000, description="Random trials a study before the sampler learns."
    )


class Pruning(Section):
    """When a trial that trails the others is ended early; on epochs that report the objective."""

    type: Literal["asha", "median", "none"] = Field(
        "asha", description="asha: successive halving. median: worse than the median so far."
    )
    min_epochs: int = Field(3, ge=1, le=10_000, description="Epochs that no trial is denied.")
    eta: int = Field(3, ge=2, le=100, description="asha: one trial in eta goes on at each rung.")


class Resources(Section):
    """What one trial is given. A trial that no node can hold is refused at the start."""

    cpu: float = Field(1, gt=0, le=1024, description="CPU cores.")
    gpu: Annotated[float, AfterValidator(whole_or_shared)] = Field(
        0, ge=0, le=64, description="GPUs; 0.5 shares one between two trials."
    )
    memory: Size | None = Field(None, description="Main memory, such as 4GiB; null: not limited.")


class Budget(Section):
    """Limits after which the sweep ends with what it has."""

    wall: Duration | None = Field(
        None, description="Time from the launch, such as 12h; then nothing new is started."
    )


class Checkpoints(Section):
    """What is kept of every trial that has ended, pruned ones included."""

    best: int = Field(1, ge=0, le=1, description="Whether the weights of its best epoch are.")
    last: int = Field(1, ge=0, le=1, description="Whether its last state, with optimiser, is.")


class Failures(Section):
    """How much may go wrong before a trial, or the sweep, is given up."""

    max_attempts: int = Field(3, ge=1, le=100, description="Of one trial, the first included.")
    max_failed_fraction: float = Field(
        0.2, ge=0, le=1, description="Share of the trials that may fail; beyond: exit 3."
    )


class Tracking(Section):
    """Where MLflow listens."""

    uri: Annotated[str, AfterValidator(tracking_uri)] | None = Field(
        None,
        max_length=2048,
        description="MLflow's tracking URI; null: MLFLOW_TRACKING_URI, else MLflow's default. "
        "${env:NAME} is read when the sweep starts, and never logged.",
    )
    required: bool = Field(False, description="Refuse to start while MLflow does not answer.")


class SweepFile(Section):
    """One sweep: methods x tasks are its studies, each searched on its own."""

    name: str = Field("", pattern=NAME, description="Of the sweep, and of its folder in ./sweeps.")
    experiment: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
        description="MLflow experiment, usually the benchmark; null: the sweep's name.",
    )
    methods: list[str] = Field([], min_length=1, description="Methods to tune.")
    tasks: list[str] = Field([], min_length=1, description="Tasks to tune them on.")
    backbones: dict[str, Any] = Field({}, description="Pretrained body, by the task's dimension.")
    proxies: dict[str, str] = Field({}, description="Source data, by the task's dimension.")
    model: dict[str, Any] = Field({}, description="Parts made for the target.")
    data: dict[str, Any] = Field({}, description="Which data of a task, and how many.")
    parameters: dict[str, Any] = Field({}, description="`stage.parameter`: what to search.")
    fixed: dict[str, Any] = Field(
        {}, description="`stage.parameter: value`. Takes the name out of `parameters`."
    )
    search: Search = Search()
    pruning: Pruning = Pruning()
    resources: Resources = Resources()
    budget: Budget = Budget()
    checkpoints: Checkpoints = Checkpoints()
    failures: Failures = Failures()
    tracking: Tracking = Tracking()
