"""Settings of fine-tuning on target samples and on mixtures of target and source samples.

PaRe: Cai et al., "Enhancing Cross-modal Fine-Tuning with Gradually Intermediate Modality
Generation", ICML 2024. Its controls Mixup and CutMix have the same heads and schedule, but no
scores.
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from trainables.stages.configs import RefineConfig

Scorer = Literal["gate", "gate_mlp", "attn_received", "attn_window", "attn_query", "random"]


class MixConfig(RefineConfig):
    """Base of the settings of a loss with mixtures.

    L = L_target(clean) + gamma [(1 - lambda) L_target(mix) + lambda L_source(mix)].
    """

    k0: int | float = Field(
        1.0,
        ge=0,
        description="Source tokens in a mixture at first: a count (integer), or a share of the "
        "most there can be, all of the shorter sample's (decimal, at most 1.0). 0 is vanilla "
        "fine-tuning.",
    )
    k_end: float = Field(0.0, ge=0, le=1, description="As a share of k0, where the schedule ends.")
    k_schedule: Literal["linear", "cosine", "step", "constant"] = Field(
        "linear", description="How k0 falls to k_end over the epochs; step: in thirds of them."
    )
    lambda_mode: Literal["k_over_k0", "k_over_n", "fixed"] = Field(
        "k_over_k0", description="k/k0 (the paper), k/N (the official code), or `lambda`."
    )
    lambda_: float = Field(
        0.5, ge=0, le=1, alias="lambda", description="Weight of L_source where it is fixed."
    )
    gamma: float = Field(1.0, ge=0, lt=1e3, description="Weight of the mixture's loss.")

    @property
    def mixes(self) -> bool:
        """True if any epoch has mixtures."""
        return self.k0 > 0 and self.gamma > 0

    @property
    def vanilla(self) -> RefineConfig | None:
        if self.mixes:
            return None
        return RefineConfig(**{name: getattr(self, name) for name in RefineConfig.model_fields})

    @field_validator("k0")
    @classmethod
    def _a_share_is_at_most_all(cls, k0: int | float) -> int | float:
        if isinstance(k0, float) and k0 > 1:
            raise ValueError(f"must be a share up to 1.0, or an integer, as in {round(k0)}")
        return k0


class MixupConfig(MixConfig):
    """Settings of Mixup: a token of a mixture is a weighted mean of target and source token."""

    implementation: ClassVar[str] = "trainables.methods.pare.mixing:Mixup"


class CutmixConfig(MixConfig):
    """Settings of CutMix: a random segment (1D) or rectangle (2D) comes from the source."""

    implementation: ClassVar[str] = "trainables.methods.pare.mixing:Cutmix"


class ReplaceConfig(MixConfig):
    """Settings of PaRe, which replaces target tokens by source tokens.

    The target tokens with the lowest scores give way to the source tokens with the highest scores.
    """

    implementation: ClassVar[str] = "trainables.methods.pare.replacement:Replacement"

    scorer: Scorer = Field(
        "gate",
        description="gate: a linear score of each token (PaRe). attn_*: self-attention, of all "
        "tokens (1D), within windows, or by one learned query. random: no scores; any tokens of a "
        "sample, drawn anew for each mixture, as a control.",
    )
    scorer_width: int = Field(64, ge=1, le=4096, description="Of gate_mlp and attn_*.")
    window: int = Field(7, ge=1, le=1024, description="Tokens a side of attn_window.")
    selector: Literal["gumbel_topk_st", "subset_operator", "topk"] = Field(
        "gumbel_topk_st",
        description="While exploring: one Gumbel draw and top-k with a straight-through gradient; "
        "the official k-step relaxation, as likely and slower; or none.",
    )
    explore_epochs: int = Field(10, ge=0, le=10_000, description="Epochs of it; then plain top-k.")
    temperature: float = Field(0.9, gt=0, le=100, description="Of the selector's gradient.")
    replaced: Literal["lowest", "highest"] = Field(
        "lowest",
        description="Target tokens that give way. highest: those once it does not explore, a fault "
        "of the official code.",
    )
    order: Literal["raster", "rank"] = Field(
        "raster", description="How source tokens take the free places: by position, or by score."
    )
