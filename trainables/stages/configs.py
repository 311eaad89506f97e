"""The hyperparameters of every stage: names, ranges, defaults and what they mean.

Defaults are the papers' where these are public (ORCA's rows for fine-tuning), else ours.
"""

from typing import ClassVar, Literal

from pydantic import Field

from trainables.stages.stage import StageConfig

Finetune = Literal["all", "layernorm", "non_attn", "wv"]
Freeze = Literal["none", "embedder", "body", "embedder+body"]


class RefineConfig(StageConfig):
    """Supervised fine-tuning on the target task (ORCA's third stage, and vanilla fine-tuning)."""

    implementation: ClassVar[str] = "trainables.stages.fine_tuning:FineTuning"
    reports_objective: ClassVar[bool] = True

    epochs: int = Field(60, ge=1, le=10_000, description="Passes over the training set.")
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(1e-4, gt=0, lt=10, description="Peak learning rate.")
    weight_decay: float = Field(1e-5, ge=0, lt=10)
    momentum: float = Field(0.99, ge=0, lt=1, description="SGD only.")
    batch_size: int = Field(4, ge=1, le=65_536, description="Samples a micro-batch.")
    accumulation: int = Field(1, ge=1, le=4096, description="Micro-batches a step (mean gradient).")
    warmup_epochs: float = Field(5.0, ge=0, description="Linear rise of the learning rate from 0.")
    decay_epochs: float | None = Field(
        None, gt=0, description="Linear fall to 0 at this epoch; null: at the last one."
    )
    clip_norm: float | None = Field(None, gt=0, description="Gradient norm cap; null: none.")
    finetune: Finetune = Field("all", description="Which parameters of the body train.")
    freeze: Freeze = Field("none", description="Parts held fixed, for ablations.")


class MetaConfig(StageConfig):
    """MoNA's first stage: the embedder is meta-learned so that one step of fine-tuning keeps
    source knowledge (Algorithm 1; the paper's code is not public, so defaults are ours)."""

    implementation: ClassVar[str] = "trainables.stages.meta_alignment:MetaAlignment"

    epochs: int = Field(2, ge=0, le=1000, description="Passes; 0 is vanilla fine-tuning.")
    alpha: float = Field(0.1, ge=0, lt=100, description="Rate of the virtual inner step.")
    beta: float = Field(1e-3, gt=0, lt=10, description="Rate of the embedder (outer) step.")
    lambda_: float = Field(1.0, ge=0, lt=1e6, alias="lambda", description="Weight of L_outer.")
    meta_grad: Literal["exact", "fd"] = Field(
        "fd", description="exact: double backward. fd: finite-difference Hessian-vector product."
    )
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    weight_decay: float = Field(0.0, ge=0, lt=10)
    batch_size: int = Field(4, ge=1, le=65_536, description="Target samples an iteration.")
    classes: int = Field(8, ge=2, le=1000, description="P: source classes an iteration.")
    per_class: int = Field(8, ge=2, le=1000, description="Q: source samples a class.")
    head_update: Literal["joint", "frozen"] = Field(
        "joint", description="Whether the head follows the gradient of L_inner."
    )
    clip_norm: float | None = Field(1.0, gt=0, description="Cap of the embedder's gradient norm.")
