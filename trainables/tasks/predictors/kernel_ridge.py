"""Kernel ridge regression: a linear map of similarities to the training inputs.

    K_ij = (1 + |x_i - x_j|^2 / w)^(-1/2) = U L U^T,    f(x) = k(x) U (L + s)^-1 U^T (Y - b) + b

Width w, in medians of the squared distances, and strength s have the lowest value of the metric on
the validation split. Nothing is random.

Shapes: n = samples, d = numbers of an input, m = numbers of an output.
Source: Saunders, Gammerman and Vovk, Ridge regression learning algorithm in dual variables, 1998.
"""

from functools import partial

import numpy as np

from trainables.tasks.predictors.features import numbers_of
from trainables.tasks.predictors.predictor import CannotApply, Predictor, head, score
from trainables.tasks.store.split import Split

MAX_FEATURES = 4096
WIDTHS = (0.3, 1.0, 3.0, 10.0)
STRENGTHS = tuple(10.0**power for power in range(-8, 1))


class KernelRidge(Predictor):
    """The combination of inverse multiquadrics around the training inputs, with a penalty."""

    name = "kernel_ridge"

    def fit(self, train: Split, val: Split) -> Predictor:
        """Decompose the kernel of each width, and choose width and strength.

        Raises:
            CannotApply: The weights do not fit in memory.
        """
        self._features, x, y, self._finish = numbers_of(
            train, self.setting.info, MAX_FEATURES, is_dual=True
        )
        self._x = x.astype(np.float64)
        self._mean = y.mean(axis=0)
        judged = head(val)
        apart, known = self._distances(self._x), self._distances(self._features(judged.x[:]))
        # The median is 0 where most inputs are equal.
        unit = float(np.median(apart)) or 1.0
        best = np.inf
        for width in WIDTHS:
            values, vectors = np.linalg.eigh(_kernel(apart, width * unit))
            rotated = vectors.T @ (y - self._mean)
            # Projections of the validation inputs are the same for all strengths.
            projected = _kernel(known, width * unit) @ vectors
            found = Split(x=projected, y=judged.y, groups=judged.groups)
            for strength in STRENGTHS:
                weights = rotated / (values.clip(min=0) + strength)[:, None]
                combine = partial(self._combine, weights=weights)
                value = score(self.setting.info.metric, combine, found)
                if value < best:
                    best, self._width = value, width * unit
                    self._vectors, self._weights = vectors, weights
        if not np.isfinite(best):
            raise CannotApply("its predictions are not finite.")
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        rows = _kernel(self._distances(self._features(x)), self._width) @ self._vectors
        return self._combine(rows, self._weights)

    def _distances(self, x: np.ndarray) -> np.ndarray:
        """Return the squared distances [n', n] of inputs to the training inputs."""
        x = x.astype(np.float64)
        squares = (x**2).sum(axis=1)[:, None] + (self._x**2).sum(axis=1)
        # Rounding may make the square of a small distance negative.
        found: np.ndarray = np.maximum(squares - 2 * x @ self._x.T, 0)
        return found

    def _combine(self, projected: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return self._finish((projected @ weights + self._mean).astype(np.float32))


def _kernel(distances: np.ndarray, width: float) -> np.ndarray:
    found: np.ndarray = 1 / np.sqrt(1 + distances / width)
    return found
