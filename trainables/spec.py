"""Inputs of a worker: one trial as validated data, and one attempt at it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

Dimension = Literal["1d", "2d"]
BACKBONES: Mapping[str, Dimension] = {  # by name; a local folder is allowed as well
    "roberta_base": "1d",
    "minilm": "1d",
    "gpt2": "1d",
    "swin_base": "2d",
    "dinov2_small": "2d",
}

ORIGINS = ("name", "hub", "timm")  # keys of a backbone's spec, of which it has exactly one
HUB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$"
FOLDER_STARTS = (".", "/", "~")  # of a path, by which it differs from a name on the hub
Bidirectional = Literal["none", "flip", "double"]

# SEARCHED_MODEL lists the settings of `model` that a study may search. PUBLISHED_MODEL lists the
# settings that a backbone was published with. Such a setting applies only to the backbones that
# have it here, and to local folders of their dimension.
SEARCHED_MODEL = ("embedder_init", "drop_path")
PUBLISHED_MODEL: Mapping[str, Mapping[str, Any]] = {"swin_base": {"drop_path": 0.1}}


class Spec(BaseModel):
    """Frozen base of all specs. It refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def hub_origin(value: str) -> str:
    """Return a valid OWNER/NAME of the Hugging Face Hub, or the path of a folder.

    Raises:
        ValueError: It is neither.
    """
    if not value.startswith(FOLDER_STARTS) and not re.fullmatch(HUB_ID, value):
        raise ValueError("must be OWNER/NAME as on the Hugging Face Hub, or a folder, as ./folder")
    return value


class BackboneSpec(Spec):
    """A pretrained transformer and the part of it that is used.

    Exactly one of `name`, `hub` and `timm` is given. With `hub` and `timm`, `name` follows from it.
    """

    name: str = Field(
        "",
        description="roberta_base, swin_base, minilm, dinov2_small, gpt2, or the path of a local "
        "folder in transformers' format (config.json and weights).",
    )
    hub: Annotated[str, AfterValidator(hub_origin)] | None = Field(
        None,
        max_length=4096,
        description="An encoder of the Hugging Face Hub, such as FacebookAI/roberta-large, or the "
        "path of a local folder, such as ./folder.",
    )
    timm: str | None = Field(
        None,
        pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$",
        max_length=200,
        description="An encoder of timm by its name there, such as vit_small_patch16_224.",
    )
    revision: str | None = Field(
        None,
        pattern=REVISION,
        max_length=200,
        description="Commit, tag or branch on the hub; null: the latest one. Only a commit is the "
        "same for ever.",
    )
    layers: int | None = Field(None, ge=1, description="Keep the first N layers; null keeps all.")
    tokens: int | None = Field(
        None,
        ge=1,
        description="Target tokens a sample (1D: at most; 2D: a square number). null: the paper's.",
    )
    weights: Literal["pretrained", "random", "shuffled"] = Field(
        "pretrained",
        description="`random` has to be written out, and is tagged. shuffled: the pretrained "
        "values in another order within each tensor, as a control for pretraining.",
    )
    pretrained_layers: int | None = Field(
        None,
        ge=0,
        description="The first N layers are pretrained and the others random; null: all are "
        "pretrained. 0 is `weights: random`; above 0 the embedder is pretrained, too.",
    )
    bidirectional: Bidirectional = Field(
        "none",
        description="Of a causal decoder, whose tokens see the earlier ones alone. flip: it also "
        "reads the sequence in reverse. double: it reads the sequence twice in a row "
        "(arXiv 2510.05278).",
    )

    @model_validator(mode="before")
    @classmethod
    def _derive_name(cls, given: Any) -> Any:
        """Add the name that follows from `hub` or `timm`. Other faults are left to the fields."""
        if not isinstance(given, Mapping) or given.get("name"):
            return given
        hub, timm = given.get("hub"), given.get("timm")
        if isinstance(hub, str) and timm is None:
            return {**given, "name": hub}
        if isinstance(timm, str) and hub is None:
            return {**given, "name": f"timm/{timm}"}
        return given

    @model_validator(mode="after")
    def _has_one_origin(self) -> "BackboneSpec":
        derived = self.hub if self.timm is None else f"timm/{self.timm}"
        given = [key for key in ORIGINS if getattr(self, key)]
        # A form that is read back has the derived name beside the key that it is derived from.
        if derived is not None and self.name == derived:
            given.remove("name")
        if len(given) != 1:
            but = f", but has {' and '.join(f'`{key}`' for key in given)}" if given else ""
            raise ValueError(f"must have one of `name`, `hub` and `timm`{but}")
        if self.revision is not None and self.hub_id is None and self.timm is None:
            raise ValueError("must have `hub: OWNER/NAME` or `timm` with `revision`, which is the "
                             "version on the hub")  # fmt: skip
        if self.pretrained_layers is not None and self.weights != "pretrained":
            raise ValueError("must have `weights: pretrained` with `pretrained_layers`")
        return self

    @property
    def reads_weights(self) -> bool:
        """True if pretrained weights are needed, and not the architecture alone."""
        return self.weights != "random"

    @property
    def origin(self) -> str:
        """The key that says where the backbone is from: `name`, `hub` or `timm`."""
        return "timm" if self.timm else "hub" if self.hub else "name"

    @property
    def hub_id(self) -> str | None:
        """OWNER/NAME on the hub, or None for a name, a folder, and timm's names."""
        is_folder = self.hub is None or self.hub.startswith(FOLDER_STARTS)
        return None if is_folder else self.hub


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
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        "auto",
        description="Of the body in supervised training and evaluation. tf32: matrix products on a "
        "GPU in TF32, fp32 where there is none. bf16: autocast. auto: on a GPU tf32 for small "
        "micro-batches and bf16 for large ones, as far as it has them; on a CPU fp32, or bf16 if "
        "the processor has it and the sweep's first two epochs of a task were 1.3 times as fast "
        "with training losses within 5 %. Embedder, predictor, distances and meta-gradients are "
        "always fp32.",
    )
    products: Literal["auto", "plain", "onednn"] = Field(
        "auto",
        description="Of the float32 matrix products of linear layers on a CPU. plain: those of "
        "torch. onednn: those of oneDNN, which add in another order. auto: chosen when a sweep "
        "begins, and kept by it; onednn on a processor of another vendor than Intel where it is "
        "at least 1.3 times as fast at the body's width, else plain.",
    )
    compile: Literal["off", "graphs", "inductor"] = Field(
        "off",
        description="Of the body in supervised training and evaluation. graphs: as CUDA graphs, on "
        "a GPU only. inductor: by torch.compile, which needs a C++ compiler, and on a GPU Triton. "
        "The first steps of each shape take up to minutes. Results are equal except for rounding.",
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


UNCHOSEN = {"precision": "auto", "products": "plain"}  # of a trial for which no sweep chooses


def leaves(model: Mapping[str, Any], key: str) -> bool:
    """Return whether a model that is not compiled leaves `precision` or `products` to its sweep."""
    return (model.get(key, "auto"), model.get("compile", "off")) == ("auto", "off")


def with_choices(model: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a model with the choices of its sweep for those that are `auto`."""
    found = {
        key: (leaves(model, key) and choices.get(key)) or otherwise
        for key, otherwise in UNCHOSEN.items()
        if model.get(key, "auto") == "auto"
    }
    return {**model, **found}


class DataSpec(Spec):
    """The data of a task: their source, number and resolution."""

    source: Literal["auto", "official", "generated"] = Field(
        "auto", description="auto: the official files where imported, else our generators (PDEs)."
    )
    samples: int | None = Field(
        None,
        ge=8,
        description="Training samples alone; null: as published. Those for validation and test are "
        "more.",
    )
    val_fraction: float = Field(
        0.09,
        gt=0,
        lt=0.5,
        description="Share of the samples of all splits for validation; of published and own "
        "splits 30 at least, or all there are.",
    )
    test_fraction: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="Share of the samples of all splits for the test; null: all of a published or "
        "own test split, and 0.1 of generated data.",
    )
    resolution: Mapping[Dimension, int] | int | None = Field(
        None, description="Grid points a side, by dimension; null: as the papers use it."
    )
    seed: int = Field(
        0,
        ge=0,
        description="Of the data, not of the trial: of generated ones, and of the division of an "
        "own task's samples by shares; 0: as they were imported.",
    )

    def of(self, dimension: Dimension) -> "DataSpec":
        """Return a copy with the resolution of one dimension."""
        if not isinstance(self.resolution, Mapping):
            return self
        return self.model_copy(update={"resolution": self.resolution.get(dimension)})


class TrialSpec(Spec):
    """A complete trial. The same spec gives the same bits on the same CPU."""

    method: str
    task: str
    backbone: BackboneSpec | None = None  # None: the method has a network of its own
    proxy: str | None = None
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    stages: Mapping[str, Mapping[str, Any]]  # stage name -> its config's fields
    seed: int = 0
    halvings: int = Field(0, ge=0, le=16, description="Of micro-batches, after out of memory.")
    home: Path  # where data, weights and caches live (SWEEPER_HOME)
    definition: Mapping[str, Any] | None = None  # content of the file of an own task

    def with_model(self, **settings: Any) -> "TrialSpec":
        """Return the trial with these settings of its model."""
        return self.model_copy(update={"model": self.model.model_copy(update=settings)})


MAX_STEPS = 10_000  # reports of a trial of a program


RUNS = "mlflow"  # results of a program that are its own runs


class ProgramSpec(Spec):
    """A training program of a user: a function or a command, and the metric that it reports."""

    name: str
    function: str | None = None  # "module:name"; "name" of one that a running program passes
    command: tuple[str, ...] = ()
    results: str | None = None  # file to which a command appends its reports, or `mlflow`
    metric: str
    goal: Literal["minimize", "maximize"] = "minimize"
    steps: int | None = None  # reports of a trial; None: as many as it makes
    folder: str = ""  # of the module, and of the command's files
    code: str = ""  # hash of its text; "": it is installed
    travels: bool = False  # its folder is of this machine alone, so that a job takes it along

    @property
    def writes_runs(self) -> bool:
        """Return whether its reports are those that it logs to MLflow."""
        return self.results == RUNS

    @property
    def objective(self) -> str:
        """The name of the value that is minimised: `loss`, or `neg_accuracy` of `accuracy`."""
        return self.metric if self.goal == "minimize" else f"neg_{self.metric}"


class ProgramTrial(Spec):
    """A complete trial of a program."""

    program: ProgramSpec
    params: Mapping[str, Any]  # by their names in the program
    data: str = ""  # name of the data set; "": the program has one of its own
    seed: int
    pauses_at: int | None = None  # the first step after which the trial may pause
    environment: Mapping[str, str] = {}  # further variables of a command
    reporter: tuple[str, ...] = ()  # another command, which prints the reports of the first


@dataclass(frozen=True, kw_only=True)
class AttemptConfig:
    """One attempt at a trial, as the input of a worker."""

    spec: Mapping[str, Any]  # a TrialSpec as JSON, or a ProgramTrial; the attempt validates it
    label: str  # sweep, study and trial, for display
    folder: str  # for checkpoints and `log.txt`; a scratch folder if `store` is set
    resume: tuple[str, ...] = ()  # checkpoints to resume from, newest first: folders or URLs
    checkpoint_every: int = 1  # epochs
    judged: tuple[int, ...] = ()  # epochs with an objective after which the trial may stop
    threads: int = 1  # CPU threads of each process
    gpu: float = 0.0  # GPUs that the trial asks for; 0: it trains on the CPU
    processes: int = 1  # that train the trial, each on a GPU of its own if there are GPUs
    name: str = ""  # SWEEP/STUDY/NUMBER
    content_hash: str | None = None  # expected hash of the task's data; None: not checked
    store: str | None = None  # URL of this attempt's folder in an artifact store
    store_timeout_s: float | None = None  # for a response of the store; None: the default
    memory_bytes: int | None = None  # limit of all processes; above it, they exit with code 137
    stage_store: str | None = None  # folder or URL of the stage store to read from and add to
    stage_pin: str | None = None  # the sweep that keeps the stage results until it ends
    is_program: bool = False  # `spec` is a ProgramTrial
    passed: bytes | None = None  # the function that a running program passes, as Ray packs it
