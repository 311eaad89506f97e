"""A prediction and its target for every metric and every loss, and what a metric says of them."""

from typing import Any

import torch
from torch import Tensor

from trainables.metrics import METRICS
from trainables.metrics.metric import Metric

KINDS = {  # of every metric
    "nrmse": "field", "relative_l2": "field", "rmse": "vector", "mae": "vector",
    "one_minus_r2": "vector", "mae8": "known", "mae8_orca": "known", "zero_one_error": "class",
    "one_minus_macro_f1": "class", "one_minus_auroc": "labels", "one_minus_map": "labels",
    "one_minus_pixel_auroc": "masked", "one_minus_pixel_auroc_hard": "masked",
    "one_minus_macro_f1_by_1000": "class", "one_minus_auroc_by_1000": "labels",
}  # fmt: skip
LOSS_KINDS = {
    "nrmse": "field", "relative_l2": "field", "rmse": "vector", "mse": "vector", "mae": "vector",
    "masked_mse": "known", "cross_entropy": "class", "bce": "labels", "bce_4": "labels",
    "bce_10": "labels", "masked_bce": "masked",
}  # fmt: skip


def pair(kind: str) -> tuple[Tensor, Tensor]:
    """Return a prediction of twelve samples, and its target."""
    rng = torch.Generator().manual_seed(0)
    fields, classes = torch.rand(12, 2, 32, 32, generator=rng), torch.arange(12) % 3
    numbers = torch.rand(12, 3, generator=rng)
    masked = torch.stack([(fields[:, 0] > 0.5).float(), (fields[:, 1] > 0.9).float()], 1)
    return {
        "field": (fields[:, :1], 1 + fields[:, 1:]),
        "known": (fields[:, :1], torch.stack([8 * fields[:, 0], 1 - masked[:, 1]], 1)),
        "masked": (fields.mean(1, keepdim=True) - 0.5, masked),
        "class": (numbers, classes),
        "labels": (numbers, (numbers.roll(1, 0) > 0.5).float()),
        "vector": (numbers, numbers.roll(1, 0)),
    }[kind]


def value(
    metric: str | type[Metric], prediction: Any, target: Any, *, batch: int | None = None
) -> float:
    """Return a metric of tensors or arrays, all at once or batch by batch."""
    total = (METRICS[metric] if isinstance(metric, str) else metric)()
    prediction, target = torch.as_tensor(prediction), torch.as_tensor(target)
    size = batch or len(target)
    for one, other in zip(prediction.split(size), target.split(size), strict=True):
        total.update(one, other)
    return total.compute()
