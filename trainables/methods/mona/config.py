"""Settings of MoNA's first stage. The paper's code is not public: the defaults are ours."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from trainables.stages.configs import MeasuredConfig, Optimizer, WeightDecay


class MetaConfig(MeasuredConfig):
    """Settings of `meta`, which meta-learns the embedder (Ma et al., ICML 2024, Algorithm 1).

    One step of fine-tuning is to preserve the knowledge of the source.
    """

    implementation: ClassVar[str] = "trainables.methods.mona.meta_alignment:MetaAlignment"

    epochs: int = Field(2, ge=0, le=1000, description="Passes; 0 is vanilla fine-tuning.")
    alpha: float = Field(0.1, ge=0, lt=100, description="Rate of the virtual inner step.")
    beta: float = Field(1e-3, gt=0, lt=10, description="Rate of the embedder (outer) step.")
    lambda_: float = Field(1.0, ge=0, lt=1e6, alias="lambda", description="Weight of L_outer.")
    meta_grad: Literal["exact", "fd"] = Field(
        "fd", description="exact: double backward. fd: finite-difference Hessian-vector product."
    )
    inner_params: Literal["all", "attention", "layernorm"] = Field(
        "all", description="Parameters of the body that the virtual step moves."
    )
    inner_steps: int = Field(
        1, ge=1, le=10, description="Virtual steps; more than one needs `meta_grad: exact`."
    )
    optimizer: Optimizer = "adamw"
    weight_decay: WeightDecay = 0.0
    batch_size: int = Field(4, ge=1, le=65_536, description="Target samples an iteration.")
    classes: int = Field(8, ge=2, le=1000, description="P: source classes an iteration.")
    per_class: int = Field(8, ge=2, le=1000, description="Q: source samples a class.")
    head_update: Literal["joint", "frozen"] = Field(
        "joint", description="Whether the head follows the gradient of L_inner."
    )
    clip_norm: float | None = Field(1.0, gt=0, description="Cap of the embedder's gradient norm.")

    @model_validator(mode="after")
    def _several_steps_need_their_graph(self) -> "MetaConfig":
        if self.inner_steps > 1 and self.meta_grad == "fd":
            raise ValueError(
                f"inner_steps {self.inner_steps} needs meta_grad exact: finite differences support "
                "only one step"
            )
        return self
