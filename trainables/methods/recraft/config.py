"""Settings of RECRAFT's stages `align` and `match` (Tran et al., AISTATS 2026).

Epochs, samples of a step, tau and rho of `match` are those of most configurations of the released
code. The other defaults are this project's.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from trainables.methods.orca.config import AlignConfig
from trainables.stages.configs import Clusters, EmbedderConfig, MeasuredConfig
from trainables.stages.stage import StageConfig

Form = Literal["conditional", "information", "entropy"]


class DistortionConfig(StageConfig):
    """Base of the settings of stages that reduce the feature-label distortion."""

    form: Form = Field(
        "conditional",
        description="What is minimised. conditional: H(source label | target class). information: "
        "the same minus H(source label), so that one label for all does not win. entropy: H(source "
        "label | sample), without classes.",
    )
    clusters: Clusters = 10
    source_per_class: int = Field(
        500, ge=2, le=65_536, description="Source samples of a class for the source head, at most."
    )
    head_epochs: int = Field(20, ge=1, le=1000, description="Passes that train the source head.")
    head_lr: float = Field(1e-2, gt=0, lt=10, description="Rate of the source head, constant.")
    tau: float = Field(
        0.4, ge=0, le=1e6, description="Bound on the norm of the source loss's gradient."
    )
    rho: float = Field(
        100.0, ge=0, lt=1e6, description="Weight of the penalty above tau; 0: no bound."
    )


class MatchConfig(DistortionConfig, MeasuredConfig, EmbedderConfig):
    """Settings of `match`, which trains the embedder by a frozen predictor of source labels.

    The predictor is to be certain about the samples of each target class.
    """

    implementation: ClassVar[str] = "trainables.methods.recraft.matching:Matching"

    epochs: int = Field(
        4, ge=0, le=1000, description="0 is ORCA, if align.joint is 0 and refine.freeze is none."
    )
    lr: float = Field(1e-4, gt=0, lt=10, description="Constant; the printed one of fine-tuning.")
    max_samples: int = Field(28, ge=2, le=65_536, description="Target samples a step.")


class JointConfig(AlignConfig, DistortionConfig):
    """Settings of `align`, ORCA's alignment, with the distortion as well if `joint` is above 0."""

    implementation: ClassVar[str] = "trainables.methods.recraft.joint:JointAlignment"

    joint: float = Field(
        0.0,
        ge=0,
        lt=1e6,
        description="Weight of the distortion beside the distance, in one stage as in the paper's "
        "main figure; set match.epochs to 0 with it. 0: ORCA's alignment, which `match` follows "
        "(the release). The weight is a setting of ours.",
    )
    form: Form = Field(
        "conditional",
        description="Of the distortion, as in `match`. It and the settings of the source head act "
        "only if joint is above 0.",
    )

    @model_validator(mode="after")
    def _joint_has_two_terms(self) -> "JointConfig":
        if self.joint > 0 and (self.distance == "none" or self.align_weight == 0):
            raise ValueError(
                f"joint {self.joint:g} weighs the distortion beside a distance: it needs "
                "align_weight above 0 and a distance. `match` has the distortion alone"
            )
        if self.joint > 0 and self.form == "information" and self.class_mode == "per_class":
            raise ValueError(
                f"joint {self.joint:g} with form information needs class_mode joint: in a batch of "
                "one class, source labels hold no information about the class"
            )
        return self
