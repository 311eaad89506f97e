"""Ridge regression: y = B x + b with the least |Y - X B|^2 + s |B|^2.

    X = U L V^T,    B = V (L^2 + s)^-1 L U^T (Y - b)

The smaller of X^T X [d, d] and X X^T [n, n] is decomposed, and B [d, m] is never formed, so that
memory grows with min(d, n) alone: a map between fields of 128 x 128 points, learned from 900 of
them, takes 0.3 GB in place of 2. Strength s has the lowest value of the metric on the validation
split. Nothing is random.

Shapes: n = samples, d = numbers of an input, m = numbers of an output, r = min(n, d).
"""

import numpy as np

from trainables.tasks.predictors.features import MAX_SAMPLES, numbers_of
from trainables.tasks.predictors.predictor import Predictor, head, score
from trainables.tasks.store.split import Split

STRENGTHS = tuple(10.0**power for power in range(-10, 3))  # by the mean of the d eigenvalues
MAX_INPUTS = 2**25  # numbers of all inputs: 128 MiB in single precision
BLOCK = 2048  # numbers of an input to convert to double precision at once


class Ridge(Predictor):
    """The linear map of the features with a penalty on its weights."""

    name = "ridge"

    def fit(self, train: Split, val: Split) -> Predictor:
        """Decompose the inputs once, and choose the strength.

        Raises:
            CannotApply: The weights do not fit in memory.
        """
        most = MAX_INPUTS // min(len(train), MAX_SAMPLES)
        self._features, x, y, self._finish = numbers_of(
            train, self.setting.info, most, is_dual=False
        )
        self._mean = y.mean(axis=0)
        values = self._decompose(x, y)
        self._shrink = np.ones(min(x.shape))
        judged = head(val)
        # Projections of the inputs are the same for all strengths, and are computed once.
        projected = [self._project(judged.x[rows]) for rows in _blocks(len(judged))]
        known = Split(x=np.concatenate(projected), y=judged.y, groups=judged.groups)
        # Constant inputs have no eigenvalue above 0.
        scale = max(values.sum() / x.shape[1], 1e-12)
        found = []
        for strength in STRENGTHS:
            self._shrink = 1 / (values + strength * scale)
            found.append((score(self.setting.info.metric, self._combine, known), self._shrink))
        self._shrink = min(found, key=lambda each: each[0])[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._combine(self._project(x))

    def _decompose(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Set the directions [d, r] and the weights [r, m] of a unit shrinkage; return L^2 [r]."""
        is_dual = len(x) < x.shape[1]
        gram = np.zeros((min(x.shape),) * 2)
        # True is axis 1 and False axis 0: the sum runs over the longer axis.
        for start in range(0, x.shape[is_dual], BLOCK):
            step = slice(start, start + BLOCK)
            block = (x[:, step] if is_dual else x[step].T).astype(np.float64)
            gram += block @ block.T
        values, vectors = np.linalg.eigh(gram)
        # With more samples than numbers, the directions are V; otherwise they are X^T U, and both
        # are not of unit length, which the shrinkage of the other factor makes up for.
        self._directions = x.T @ vectors if is_dual else vectors
        centred = y - self._mean
        left = vectors.T if is_dual else vectors.T @ x.T
        self._weights = left @ centred
        shrunk: np.ndarray = values.clip(min=0)
        return shrunk

    def _project(self, x: np.ndarray) -> np.ndarray:
        projected: np.ndarray = self._features(x) @ self._directions
        return projected

    def _combine(self, projected: np.ndarray) -> np.ndarray:
        values = (projected * self._shrink) @ self._weights + self._mean
        return self._finish(values.astype(np.float32))


def _blocks(samples: int) -> list[np.ndarray]:
    return list(np.split(np.arange(samples), range(BLOCK, samples, BLOCK)))
