"""Metrics of a whole split, by name. Lower is better for all of them.

`metric.py` has the base classes; `fields.py`, `vectors.py`, `classes.py`, `ranking.py` and
`chunked.py` have the formulas.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trainables.metrics.chunked import AUROCByThousands, MacroF1ByThousands
from trainables.metrics.classes import MacroF1, ZeroOneError
from trainables.metrics.fields import (
    ContactError,
    NormalizedRMSE,
    OrcaContactError,
    RelativeL2,
)
from trainables.metrics.metric import FromFirst, Metric
from trainables.metrics.ranking import (
    AUROC,
    HardPixelAUROC,
    MeanAveragePrecision,
    PixelAUROC,
)
from trainables.metrics.vectors import RMSE, MeanAbsoluteError, OneMinusR2

__all__ = ["METRICS", "FromFirst", "Metric", "mean_of_groups"]

METRICS: Mapping[str, type[Metric]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            NormalizedRMSE,
            RelativeL2,
            RMSE,
            MeanAbsoluteError,
            OneMinusR2,
            ContactError,
            OrcaContactError,
            ZeroOneError,
            MacroF1,
            AUROC,
            MeanAveragePrecision,
            PixelAUROC,
            HardPixelAUROC,
            MacroF1ByThousands,
            AUROCByThousands,
        )
    }
)


def mean_of_groups(
    values: Float[Tensor, "n k"], groups: Int[Tensor, " n"]
) -> Float[Tensor, "groups k"]:
    """Return the mean of the rows of each group, sorted by group number."""
    _, place, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = values.new_zeros((len(sizes), values.shape[1]), dtype=torch.float64)
    sums.index_add_(0, place, values.double())
    means: Tensor = (sums / sizes[:, None]).to(values.dtype)
    return means
