"""Settings of ORCA's stages `align` and `warmup` (Shen et al., ICML 2023).

The defaults are those of the official code, except for the solver, the gradient of the label term
and the size of the source.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from trainables.distances.registry import DISTANCES, OWN
from trainables.stages.configs import Clusters, EmbedderConfig, MeasuredConfig

# The names are known when this module is imported, also the names of plugins' distances.
if TYPE_CHECKING:
    DistanceName = str
else:
    DistanceName = Literal[(*DISTANCES, "none")]


class AlignConfig(MeasuredConfig, EmbedderConfig):
    """Settings of `align`, which brings embedded target data closer to the source."""

    implementation: ClassVar[str] = "trainables.methods.orca.alignment:Alignment"
    loads: ClassVar[tuple[str, ...]] = tuple(entry.module for entry in OWN.values() if entry.module)

    epochs: int = Field(60, ge=0, le=1000, description="0 is vanilla fine-tuning.")
    distance: DistanceName = Field(
        "otdd_exact",
        description=f"What is minimised: {', '.join(entry.title for entry in OWN.values())}. "
        "none: nothing is, unless task_weight is above 0.",
    )
    class_mode: Literal["per_class", "joint"] = Field(
        "per_class",
        description="per_class (the official code): each target class against the whole source. "
        "joint (the paper's formula): one batch with its labels.",
    )
    update_mode: Literal["epoch", "minibatch"] = Field(
        "epoch", description="Whether a step follows each epoch (official) or each distance."
    )
    clusters: Clusters = 10
    max_samples: int = Field(
        128, ge=2, le=65_536, description="Target samples a distance (per class, or jointly)."
    )
    source_per_class: int = Field(
        500, ge=2, le=65_536, description="Source samples of a class, at most."
    )
    align_weight: float = Field(1.0, ge=0, lt=1e6, description="a in a D + b L_task.")
    task_weight: float = Field(
        0.0, ge=0, lt=1e6, description="b in a D + b L_task; above 0 the predictor trains too."
    )
    lr: float = Field(
        1e-3, gt=0, lt=10, description="ORCA: ten times the printed rate of fine-tuning."
    )
    lr_steps: tuple[int, ...] = Field(
        (20, 40, 60),
        description="The rate falls by lr_factor after each of these epochs, counted from 0.",
    )
    lr_factor: float = Field(0.2, gt=0, le=1, description="What lr_steps multiply the rate by.")
    clip_norm: float | None = Field(
        None,
        gt=0,
        description="Gradient norm cap; null: none (official). Distances differ in scale by "
        "orders, and norms of 1000 are common: under SGD a cap of 1 all but stops the alignment.",
    )
    # OTDD
    solver: Literal["emd", "sinkhorn"] = Field(
        "emd", description="OTDD's transport: exact, or debiased Sinkhorn (official)."
    )
    entreg: float = Field(0.1, gt=0, le=1e3, description="Entropic regularisation of Sinkhorn.")
    label_weight: float = Field(
        1.0, ge=0, lt=1e6, description="Weight of OTDD's label term; 0 is plain Wasserstein."
    )
    detach_label_term: bool = Field(
        False, description="As in the official code: no gradient through OTDD's label term."
    )
    shrinkage: float = Field(
        0.1, ge=0, le=1, description="Of otdd_gaussian's covariances towards a multiple of one."
    )
    # MMD
    mmd_kernel: Literal["rbf_mix", "rbf_single", "imq", "linear"] = Field(
        "rbf_mix",
        description="A sum of Gaussians (official), one, the inverse multiquadric, or the inner "
        "product, which compares means alone.",
    )
    mmd_bandwidth: Literal["mean", "median"] = Field(
        "mean", description="Of the pooled squared distances (mean: official)."
    )
    mmd_bandwidth_scale: float = Field(1.0, gt=0, lt=1e6, description="Multiplies mmd_bandwidth.")
    mmd_kernels: int = Field(5, ge=1, le=20, description="Kernels of rbf_mix, a factor 2 apart.")
    mmd_unbiased: bool = Field(
        False, description="Whether a sample is left out of its own kernel's mean (official: not)."
    )
    # Euclidean
    euclidean: Literal["means", "pairs"] = Field(
        "means",
        description="Between means, or the mean over random pairs (official, but for a factor).",
    )

    @field_validator("distance")
    @classmethod
    def _settings_of_the_distance_exist(cls, name: str) -> str:
        if name == "none":
            return name
        if lacking := sorted({*DISTANCES[name].settings.values()} - cls.model_fields.keys()):
            raise ValueError(
                f"names a distance of {DISTANCES.origins(name)} that reads the setting "
                f"`{lacking[0]}`, which the stage does not have: the `settings` of its "
                "`DistanceEntry` must name settings of `align`"
            )
        return name


class WarmupConfig(EmbedderConfig):
    """Settings of `warmup`, which trains embedder and predictor and leaves the body unchanged."""

    implementation: ClassVar[str] = "trainables.methods.orca.alignment:Warmup"

    epochs: int = Field(0, ge=0, le=1000, description="Passes; ORCA's code has it, and uses none.")
    lr: float = Field(1e-3, gt=0, lt=10, description="Constant; ORCA: ten times fine-tuning's.")
    batch_size: int = Field(4, ge=1, le=65_536, description="Samples a step.")

    @property
    def micro_batch(self) -> int:
        return self.batch_size
