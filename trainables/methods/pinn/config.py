"""Settings of PINN's stage `solve`.

Width, layers and rate are those of PDEBench's solver (Takamoto et al., NeurIPS 2022), which takes
1000 points and 15,000 iterations for a sample. The other defaults are this project's.
"""

from typing import ClassVar

from pydantic import Field

from trainables.stages.stage import StageConfig


class SolveConfig(StageConfig):
    """Settings of `solve`, which fits a network of coordinates to the equation of each sample."""

    implementation: ClassVar[str] = "trainables.methods.pinn.solving:Solving"
    reports_objective: ClassVar[bool] = True
    needs_backbone: ClassVar[bool] = False
    fits_each_sample: ClassVar[bool] = True

    epochs: int = Field(
        3,
        ge=1,
        le=100,
        description="Times that validation samples are solved anew, each time with more "
        "iterations, up to all. The number with the lowest error solves the test samples.",
    )
    iterations: int = Field(2000, ge=1, le=1_000_000, description="Steps of Adam, at most.")
    lr: float = Field(1e-3, gt=0, lt=10, description="First rate; it falls linearly to 0.")
    width: int = Field(40, ge=1, le=4096, description="Width of the hidden layers.")
    layers: int = Field(6, ge=1, le=64, description="Number of hidden layers.")
    waves: int = Field(
        4, ge=1, le=256, description="Waves in x of the features of a periodic equation."
    )
    points: int = Field(256, ge=1, le=1_000_000, description="Points of the residual a step.")
    initial_weight: float = Field(1.0, gt=0, le=1e9, description="Weight of the initial state.")
    boundary_weight: float = Field(
        1.0, ge=0, le=1e9, description="Weight of the boundary; periodic equations have none."
    )
    val_samples: int = Field(
        8, ge=1, le=65_536, description="Validation samples that are solved; all test samples are."
    )
