"""Metrics of a whole split, by name. Lower is better for all of them.

`metric.py` has the base classes; `fields.py`, `vectors.py`, `classes.py`, `ranking.py` and
`chunked.py` have the formulas. The metrics are entry points of the group `sweeper.metrics`
(`trainables/plugins.py`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trainables.metrics.metric import FromFirst, Metric
from trainables.plugins import Registry

__all__ = ["METRICS", "FromFirst", "Metric", "mean_of_groups"]

METRICS: Registry[type[Metric]] = Registry(
    "sweeper.metrics",
    (
        "nrmse",
        "relative_l2",
        "rmse",
        "mae",
        "one_minus_r2",
        "mae8",
        "mae8_orca",
        "zero_one_error",
        "one_minus_macro_f1",
        "one_minus_auroc",
        "one_minus_map",
        "one_minus_pixel_auroc",
        "one_minus_pixel_auroc_hard",
        "one_minus_macro_f1_by_1000",
        "one_minus_auroc_by_1000",
    ),
    lambda value: isinstance(value, type) and issubclass(value, Metric),
)


def mean_of_groups(
    values: Float[Tensor, "n k"], groups: Int[Tensor, " n"]
) -> Float[Tensor, "groups k"]:
    """Return the mean of the rows of each group, sorted by group number."""
    _, place, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    # Groups may be large, and sums in single precision would lose digits.
    sums = values.new_zeros((len(sizes), values.shape[1]), dtype=torch.float64)
    sums.index_add_(0, place, values.double())
    means: Tensor = (sums / sizes[:, None]).to(values.dtype)
    return means
