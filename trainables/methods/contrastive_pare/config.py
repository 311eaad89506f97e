"""Settings of the contrastive training of the embedder under noise, the method's first stage."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from trainables.stages.configs import Clusters, EmbedderConfig, MeasuredConfig


class ContrastConfig(MeasuredConfig, EmbedderConfig):
    """Settings of `contrast`, contrastive training on noisy views of target samples.

    Views attract each other within a class (or pseudo-class) and repel each other between classes,
    more strongly between less correlated ones.
    """

    implementation: ClassVar[str] = "trainables.methods.contrastive_pare.contrast:Contrast"

    epochs: int = Field(20, ge=0, le=1000, description="0 is fine-tuning with replacement alone.")
    clip_norm: float | None = Field(1.0, gt=0, description="Gradient norm cap; null: none.")
    classes: int = Field(8, ge=2, le=1000, description="P: target classes a step, at most.")
    per_class: int = Field(8, ge=2, le=1000, description="Q: noisy views a class, at most.")
    clusters: Clusters = 10
    # noise
    num_scales: int = Field(3, ge=1, le=16, description="K: from sigma_min to sigma_max.")
    sigma_min: float = Field(0.05, gt=0, lt=1, description="The finest scale of noise.")
    sigma_max: float = Field(0.2, gt=0, lt=1, description="The coarsest; geometric in between.")
    noise_steps: int = Field(4, ge=1, le=64, description="T: states of each scale's chain.")
    include_clean: bool = Field(False, description="Whether samples without noise are views too.")
    noise_space: Literal["input", "tokens"] = Field(
        "input",
        description="input: in units of the training set, by channel. tokens: behind the embedder, "
        "in units of the batch, by feature.",
    )
    # loss
    form: Literal["exp", "supcon_out", "align_uniform", "affine", "task"] = Field(
        "exp",
        description="Of the loss; affine is the closest to the printed ratio of cosines. "
        "align_uniform takes no temperature and no weights of pairs. task: no contrast, but the "
        "task's own loss in as many steps, as a control (a warm-up; ours).",
    )
    temperature: float = Field(0.1, gt=0, le=100, description="Of exp and supcon_out.")
    label_correlation: Literal["prototype", "none"] = Field(
        "prototype", description="Whether classes that are less alike are pushed apart harder."
    )
    lambda_mean: float = Field(
        2.0,
        ge=1,
        le=1e3,
        description="Mean weight of negative pairs. At 1, the least that a pair can weigh, each "
        "weighs 1, however its classes are correlated.",
    )
    lambda_max: float = Field(10.0, ge=1, le=1e4, description="Largest weight of one.")
    epsilon: float = Field(0.01, gt=0, le=1, description="Softens weights of unlike classes.")
    include_source: bool = Field(
        False, description="Whether P x Q source samples join a step, as classes of their own."
    )

    @model_validator(mode="after")
    def _noise_leaves_the_signal(self) -> "ContrastConfig":
        if self.sigma_min > self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} is over sigma_max {self.sigma_max}")
        # a_k^T of the coarsest scale: the lowest correlation of any view with its sample.
        left = (1 - self.sigma_max**2) ** (self.noise_steps / 2)
        if left < 0.5:
            raise ValueError(
                f"sigma_max {self.sigma_max} over {self.noise_steps} noise_steps leaves a "
                f"correlation of {left:.2f} with the sample, under 0.5: too little to learn from"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_ordered(self) -> "ContrastConfig":
        if self.lambda_mean > self.lambda_max:
            raise ValueError(f"lambda_mean {self.lambda_mean} is over lambda_max {self.lambda_max}")
        return self
