"""Inputs of a worker: one trial as validated data, and one attempt at it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer

Dimension = Literal["1d", "2d"]
BACKBONES: Mapping[str, Dimension] = {  # by name; a local folder is allowed as well
    "roberta_base": "1d",
    "minilm": "1d",
    "swin_base": "2d",
    "dinov2_small": "2d",
}

# SEARCHED_MODEL lists the settings of `model` that a study may search. PUBLISHED_MODEL lists the
# settings that a backbone was published with. Such a setting applies only to the backbones that
# have it here, and to local folders of their dimension.
SEARCHED_MODEL = ("embedder_init", "drop_path")
PUBLISHED_MODEL: Mapping[str, Mapping[str, Any]] = {"swin_base": {"drop_path": 0.1}}


class Spec(BaseModel):
    """Frozen base of all specs. It refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class BackboneSpec(Spec):
    """A pretrained transformer and the part of it that is used."""

    name: str = Field(
        description="roberta_base, swin_base, minilm, dinov2_small, or the path of a local folder "
        "in transformers' format (config.json and model.safetensors)."
    )
    layers: int | None = Field(None, ge=1, description="Keep the first N layers; null keeps all.")
    tokens: int | None = Field(
        None,
        ge=1,
        description="Target tokens a sample (1D: at most; 2D: a square number). null: the paper's.",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="`random` has to be written out, and is tagged."
    )


class ModelSpec(Spec):
    """The parts of the model that are specific to the target: embedder and predictor."""

    embedder_init: Literal["pretrained_copy", "random"] = Field(
        "pretrained_copy",
        description="How the target embedder starts, in every method and control. The official "
        "fine-tuning without alignment starts from `random` in 2D. In 1D the convolution is drawn "
        "in both, and the norm copied or the identity.",
    )
    head: Literal["orca_pool", "linear"] = Field(
        "orca_pool",
        description="Dense predictor: `orca_pool` has no parameters in 1D; `linear` learns a map "
        "from each token to its stretch of the output, in units of the training targets.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Autocast of supervised training; meta-gradients are always fp32."
    )
    drop_path: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Of a Swin, while it trains: the share of samples that skip the attention of "
        "the last block; in the blocks before it the share rises from 0 to that. null: as "
        "published, 0.1 for swin_base, and 0 for a local folder. If memory runs out and "
        "micro-batches are halved, other samples skip: the result is as likely, but not the same.",
    )


class DataSpec(Spec):
    """The data of a task: their source, number and resolution."""

    source: Literal["auto", "official", "generated"] = Field(
        "auto", description="auto: the official files where imported, else our generators (PDEs)."
    )
    samples: int | None = Field(None, ge=8, description="In all splits; null: as published.")
    val_fraction: float = Field(0.09, gt=0, lt=0.5, description="Share of samples for validation.")
    test_fraction: float = Field(0.1, gt=0, lt=0.5, description="Share of samples for the test.")
    resolution: Mapping[Dimension, int] | int | None = Field(
        None, description="Grid points a side, by dimension; null: as the papers use it."
    )
    seed: int = Field(0, ge=0, description="Of the generators: the data's, not the trial's.")

    def of(self, dimension: Dimension) -> "DataSpec":
        """Return a copy with the resolution of one dimension."""
        if not isinstance(self.resolution, Mapping):
            return self
        return self.model_copy(update={"resolution": self.resolution.get(dimension)})


class TrialSpec(Spec):
    """A complete trial. The same spec gives the same bits on the same CPU."""

    method: str
    task: str
    backbone: BackboneSpec
    proxy: str | None = None
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    stages: Mapping[str, Mapping[str, Any]]  # stage name -> its config's fields
    seed: int = 0
    halvings: int = Field(0, ge=0, le=16, description="Of micro-batches, after out of memory.")
    home: Path  # where data, weights and caches live (SWEEPER_HOME)
    definition: Mapping[str, Any] | None = None  # content of the file of an own task

    @model_serializer(mode="wrap")
    def _without_absent_definition(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        plain = dump(self)
        if self.definition is None:  # keep the form of specs before there were own tasks
            plain.pop("definition", None)
        return plain


@dataclass(frozen=True, kw_only=True)
class AttemptConfig:
    """One attempt at a trial, as the input of a worker."""

    spec: Mapping[str, Any]  # a TrialSpec as plain data; the attempt validates it
    label: str  # sweep, study and trial, for display
    folder: str  # for checkpoints and `log.txt`; a scratch folder if `store` is set
    resume: tuple[str, ...] = ()  # checkpoints to resume from, newest first: folders or URLs
    threads: int = 1  # CPU threads
    name: str = ""  # SWEEP/STUDY/NUMBER
    content_hash: str | None = None  # expected hash of the task's data; None: not checked
    store: str | None = None  # URL of this attempt's folder in an artifact store
    store_timeout_s: float | None = None  # for a response of the store; None: the default
    memory_bytes: int | None = None  # limit of the process; above it, it exits with code 137
    stage_store: str | None = None  # folder or URL of the stage store to read from and add to
    stage_pin: str | None = None  # the sweep that keeps the stage results until it ends

    def to_plain(self) -> dict[str, Any]:
        """Return the config as plain data for Ray Tune."""
        return {**asdict(self), "resume": list(self.resume)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "AttemptConfig":
        """Return the config that `to_plain` wrote, without the keys that Ray Tune added."""
        known = {each.name: plain[each.name] for each in fields(cls) if each.name in plain}
        return cls(**{**known, "resume": tuple(plain["resume"])})
