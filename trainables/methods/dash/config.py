"""Settings of DASH's stages `search`, `tune` and `train` (Shen et al., NeurIPS 2022).

The defaults are those of the official code for tasks in 2D with one prediction a sample. `method`
has those of other tasks. This module does not import torch.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from trainables.stages.configs import NetworkConfig, Optimizer, WeightDecay
from trainables.stages.stage import StageConfig

__all__ = ["Relaxation", "SearchConfig", "TrainConfig", "TuneConfig", "step_factor"]


def step_factor(epoch: int, steps: Sequence[int], factor: float) -> float:
    """Return the factor of a rate that falls by `factor` after each epoch of `steps`."""
    return factor ** sum(epoch > step for step in steps)


def _odd(values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of kernels if all are odd.

    Raises:
        ValueError: A kernel has no centre.
    """
    if even := [value for value in values if value % 2 == 0]:
        raise ValueError(f"must be odd, so that a kernel has a centre, but has {even[0]}")
    return values


def _once(values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the values if they differ.

    Raises:
        ValueError: A value occurs twice.
    """
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"must differ, but has {twice[0]} twice")
    return values


def _depth(value: int) -> int:
    """Return a depth that consists of whole blocks.

    Raises:
        ValueError: It does not.
    """
    if value % 6 != 4:
        raise ValueError("must be 6 n + 4, for three groups of n blocks: 10, 16, 22, 28, ...")
    return value


Candidate = Annotated[int, Field(ge=1, le=255)]
Depth = Annotated[
    int,
    Field(ge=10, le=100, description="Of both networks: 6 n + 4, for n blocks a group."),
    AfterValidator(_depth),
]
Relaxation = Literal["gumbel", "softmax"]
Width = Annotated[int, Field(ge=1, le=32, description="Factor of the channels 16, 32 and 64.")]
Rate = Annotated[float, Field(gt=0, lt=10)]
RATE_STEPS = "The rate falls by lr_factor after each of these epochs, counted from 0."


class SearchConfig(StageConfig):
    """Settings of `search`, which trains a network and the weights of its mixed operations."""

    implementation: ClassVar[str] = "trainables.methods.dash.search:Search"
    needs_backbone: ClassVar[bool] = False

    epochs: int = Field(
        100, ge=0, le=10_000, description="0: no search, a WRN with kernels of 3 points."
    )
    sizes: Annotated[tuple[Candidate, ...], AfterValidator(_once), AfterValidator(_odd)] = Field(
        (3, 5, 7, 9), min_length=1, max_length=16, description="Candidates: points of a kernel."
    )
    dilations: Annotated[tuple[Candidate, ...], AfterValidator(_once)] = Field(
        (1, 3, 7, 15), min_length=1, max_length=16, description="Candidates: spacing of its taps."
    )
    width: Width = 1
    depth: Depth = 16
    separable: bool = Field(
        True,
        description="Search with convolutions of each channel on its own where there are as many "
        "outputs as inputs. The trained network has full ones.",
    )
    relaxation: Relaxation = Field(
        "gumbel", description="gumbel: noise is added to the logits in every step (official)."
    )
    temperature: float = Field(1.0, gt=0, le=100, description="Of the softmax over operations.")
    share: float = Field(
        0.2, gt=0, le=1, description="Share of the batches of an epoch, drawn anew in each."
    )
    batch_size: int = Field(64, ge=1, le=65_536, description="Samples a step.")
    lr: Rate = Field(0.1, description="Of kernels. Published for dense outputs: 0.01.")
    arch_lr: Rate = Field(0.05, description="Of the weights of operations. Dense: 0.005.")
    lr_steps: tuple[int, ...] = Field((60,), description=RATE_STEPS)
    lr_factor: float = Field(0.2, gt=0, le=1, description="What lr_steps multiply both rates by.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of Nesterov.")
    weight_decay: WeightDecay = 5e-4
    clip_norm: float | None = Field(1.0, gt=0, description="Gradient norm cap; null: none.")
    grad_scale: float | None = Field(
        100.0,
        gt=0,
        description="The gradient of a layer's operations gets the norm 1 / grad_scale; null: it "
        "is left as it is.",
    )
    field_penalty: float = Field(
        1e-5,
        ge=0,
        lt=1,
        description="Added to the gradient of an operation for each point of its receptive field.",
    )


class TuneConfig(StageConfig):
    """Settings of `tune`, which trains each candidate setting of `train` for a short time.

    An epoch of the stage is one candidate. Candidates are all combinations of the four lists: all
    with the first rate, then all with the second, and so on.
    """

    implementation: ClassVar[str] = "trainables.methods.dash.tune:Tune"
    needs_backbone: ClassVar[bool] = False

    epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Candidates that are tried, the first ones (official: all). The best one "
        "replaces train.lr, dropout, weight_decay and momentum. 0: the settings of `train` hold, "
        "which a sweep searches itself.",
    )
    lrs: tuple[Rate, ...] = Field(
        (0.1, 0.01, 0.001), min_length=1, max_length=64, description="Candidates for train.lr."
    )
    dropouts: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.0, 0.05), min_length=1, max_length=64, description="Candidates for train.dropout."
    )
    weight_decays: tuple[WeightDecay, ...] = Field(
        (5e-4, 5e-6),
        min_length=1,
        max_length=64,
        description="Candidates for train.weight_decay.",
    )
    momenta: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.9, 0.99), min_length=1, max_length=64, description="Candidates for train.momentum."
    )
    passes: int = Field(80, ge=1, le=10_000, description="Epochs of a short training.")
    batch_size: int = Field(64, ge=1, le=65_536, description="Samples a step.")
    lr_steps: tuple[int, ...] = Field((60,), description=RATE_STEPS)
    lr_factor: float = Field(0.2, gt=0, le=1, description="What lr_steps multiply the rate by.")
    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the batches of such an epoch; null: 0.2 of fewer than 50 batches, "
        "0.1 of fewer than 100, 0.05 of fewer than 500, else 0.01 (official).",
    )


class TrainConfig(NetworkConfig):
    """Settings of `train`, which trains the network of the chosen operations from new weights."""

    implementation: ClassVar[str] = "trainables.methods.dash.train:Train"
    nesterov: ClassVar[bool] = True

    epochs: int = Field(200, ge=1, le=10_000, description="Passes over the training set.")
    optimizer: Optimizer = "sgd"
    lr: Rate = Field(0.1, description="Peak learning rate. Published for dense outputs: 0.01.")
    weight_decay: WeightDecay = 5e-4
    momentum: float = Field(0.9, ge=0, lt=1, description="Of Nesterov, SGD only.")
    batch_size: int = Field(64, ge=1, le=65_536, description="Samples a micro-batch.")
    schedule: Literal["steps", "linear"] = Field(
        "steps", description="steps: lr_steps (official). linear: warmup_epochs and decay_epochs."
    )
    lr_steps: tuple[int, ...] = Field((60, 120, 160), description=RATE_STEPS)
    lr_factor: float = Field(0.2, gt=0, le=1, description="What lr_steps multiply the rate by.")
    width: Width = 4
    dropout: float = Field(0.0, ge=0, lt=1, description="Within each block, in training.")

    @property
    def micro_batch(self) -> None:
        """None, since batch norm makes each sample depend on the others of its micro-batch."""
        return None
