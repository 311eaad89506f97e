"""Settings that stages of several methods share.

The defaults are those of ORCA if these are public (Shen et al., ICML 2023), else this project's.
This module does not import torch.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_serializer

from trainables.stages.stage import StageConfig

Optimizer = Annotated[
    Literal["adam", "adamw", "sgd"],
    Field(description="adamw: weight decay apart from the gradient. adam: in it. sgd: momentum."),
]
WeightDecay = Annotated[
    float, Field(ge=0, lt=10, description="Of all parameters that train, biases and norms too.")
]
Clusters = Annotated[
    int,
    Field(
        ge=2,
        le=1000,
        description="Pseudo-labels (k-means on the targets) where the task has no classes.",
    ),
]
Finetune = Literal["all", "layernorm", "non_attn", "wv", "lora"]
LORA = ("lora_rank", "lora_alpha")
Freeze = Literal["none", "embedder", "body", "embedder+body"]


class RefineConfig(StageConfig):
    """Settings of supervised fine-tuning on the target task: vanilla, and ORCA's third stage."""

    implementation: ClassVar[str] = "trainables.stages.fine_tuning:FineTuning"
    reports_objective: ClassVar[bool] = True
    ranks: ClassVar[Literal["all", "first"]] = "all"
    nesterov: ClassVar[bool] = False  # of the momentum

    epochs: int = Field(60, ge=1, le=10_000, description="Passes over the training set.")
    optimizer: Optimizer = "adamw"
    lr: float = Field(1e-4, gt=0, lt=10, description="Peak learning rate.")
    weight_decay: WeightDecay = 1e-5
    momentum: float = Field(0.99, ge=0, lt=1, description="SGD only.")
    batch_size: int = Field(4, ge=1, le=65_536, description="Samples a micro-batch.")
    accumulation: int = Field(
        1,
        ge=1,
        le=4096,
        description="Micro-batches a step (mean gradient). An epoch's last step has those that are "
        "left (official: dropped).",
    )
    warmup_epochs: float = Field(5.0, ge=0, description="Linear rise of the learning rate from 0.")
    decay_epochs: float | None = Field(
        None, gt=0, description="Linear fall to 0 at this epoch; null: at the last one."
    )
    clip_norm: float | None = Field(None, gt=0, description="Gradient norm cap; null: none.")
    finetune: Finetune = Field(
        "all",
        description="Which parameters of the body train. lora: low-rank adapters of queries and "
        "values, which needs the extra `lora`.",
    )
    lora_rank: int = Field(
        8, ge=1, le=1024, description="`finetune: lora` only: rank of an adapter."
    )
    lora_alpha: float = Field(
        16.0, gt=0, le=65_536, description="`finetune: lora` only: its scale is this by the rank."
    )
    freeze: Freeze = Field("none", description="Parts held fixed, for ablations.")
    probe_every: int = Field(
        0,
        ge=0,
        description="Epochs between linear probes of what the body still knows of the source "
        "(needs a proxy); 0: none. It changes nothing but what is recorded.",
    )
    landscape: int = Field(
        0,
        ge=0,
        le=101,
        description="Points a side of a plane around the best weights, on which the loss is "
        "evaluated after the last epoch (`landscape/curvature`). Odd; 0: none. It "
        "changes nothing but what is recorded.",
    )

    @field_validator("landscape")
    @classmethod
    def _has_a_middle(cls, landscape: int) -> int:
        if landscape and (landscape % 2 == 0 or landscape < 7):
            raise ValueError("must be 0, or odd and 7 or more: the middle, and points around it")
        return landscape

    @property
    def vanilla(self) -> "RefineConfig | None":
        return self if type(self) is RefineConfig else None

    @property
    def micro_batch(self) -> int | None:
        return self.batch_size

    @model_serializer(mode="wrap")
    def _without_idle_settings(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        plain, fields = dump(self), type(self).model_fields
        # What changes nothing is in no hash of a trial, and in no list of its settings.
        idle = LORA if self.finetune != "lora" else ()
        for key in (*idle, "landscape"):
            if plain[key] == fields[key].default:
                del plain[key]
        return plain


class NetworkConfig(RefineConfig):
    """Base of the settings of fine-tuning that trains a network of the method's own.

    Such a network has neither roles nor parts that could be frozen, and no source to probe.
    """

    needs_backbone: ClassVar[bool] = False

    finetune: Literal["all"] = Field("all", description="All parameters train.")
    freeze: Literal["none"] = Field("none", description="No part can be held fixed.")
    probe_every: Literal[0] = Field(0, description="There is no source to probe.")


class EmbedderConfig(StageConfig):
    """Base of settings of stages that train the embedder with a fixed body, by gradient steps."""

    optimizer: Optimizer = "adamw"
    lr: float = Field(1e-3, gt=0, lt=10, description="Constant.")
    weight_decay: WeightDecay = 1e-5
    momentum: float = Field(0.99, ge=0, lt=1, description="SGD only.")
    clip_norm: float | None = Field(None, gt=0, description="Gradient norm cap; null: none.")


class MeasuredConfig(StageConfig):
    """Base of settings of stages that record distances, on the same samples in every epoch."""

    measure: int = Field(
        1000,
        ge=0,
        le=10_000,
        description="Samples of each modality on which the distances are recorded before the first "
        "epoch and after each; 0: none. It changes nothing but what is recorded.",
    )
