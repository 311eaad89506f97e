"""What every stage that trains the embedder before fine-tuning records of the two modalities."""

from typing import Annotated

from pydantic import Field

from trainables.stages.stage import StageConfig

Clusters = Annotated[
    int,
    Field(
        ge=2,
        le=1000,
        description="Pseudo-labels (k-means on the targets) where the task has no classes.",
    ),
]


class MeasuredConfig(StageConfig):
    """Base: distances between source and embedded target, on the same samples in every epoch."""

    measure: int = Field(
        1000,
        ge=0,
        le=10_000,
        description="Samples of each modality on which the distances are recorded before the first "
        "epoch and after each; 0: none. It changes nothing but what is recorded.",
    )
