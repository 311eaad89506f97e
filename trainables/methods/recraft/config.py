"""Settings of RECRAFT's stage `match` (Tran et al., AISTATS 2026).

Epochs, samples of a step, tau and rho are those of most configurations of the released code. The
other defaults are this project's.
"""

from typing import ClassVar, Literal

from pydantic import Field

from trainables.stages.configs import Clusters, EmbedderConfig, MeasuredConfig

Form = Literal["conditional", "information", "entropy"]


class MatchConfig(MeasuredConfig, EmbedderConfig):
    """Settings of `match`, which trains the embedder so that a frozen source predictor is certain
    about the samples of each target class."""

    implementation: ClassVar[str] = "trainables.methods.recraft.matching:Matching"

    epochs: int = Field(4, ge=0, le=1000, description="0 is ORCA.")
    lr: float = Field(1e-4, gt=0, lt=10, description="Constant; the printed one of fine-tuning.")
    form: Form = Field(
        "conditional",
        description="What is minimised. conditional: H(source label | target class). information: "
        "the same minus H(source label), so that one label for all does not win. entropy: H(source "
        "label | sample), without classes.",
    )
    clusters: Clusters = 10
    max_samples: int = Field(28, ge=2, le=65_536, description="Target samples a step.")
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
