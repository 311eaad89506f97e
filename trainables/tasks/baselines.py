"""What predictors score that learn nothing from the input: any method has to beat them.

`mean` predicts the mean of the training outputs, point by point; `identity` predicts the input, and
exists where input and output have the same shape.
"""

from collections.abc import Callable

import numpy as np
import torch

from trainables.metrics import METRICS

__all__ = ["trivial_baselines"]

BATCH = 256


def trivial_baselines(
    train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, *, metric: str
) -> dict[str, float]:
    """Returns the test metric of each trivial predictor of a dense task."""
    mean = train_y.mean(axis=0, dtype=np.float64).astype(test_y.dtype)
    predictors: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "mean": lambda x: np.broadcast_to(mean, (len(x), *mean.shape))
    }
    if test_x.shape == test_y.shape:
        predictors["identity"] = lambda x: x
    scores = {}
    for name, predict in predictors.items():
        total = METRICS[metric]()
        for start in range(0, len(test_x), BATCH):
            x, y = test_x[start : start + BATCH], test_y[start : start + BATCH]
            total.update(torch.tensor(predict(x)), torch.tensor(y))
        scores[name] = total.compute()
    return scores
