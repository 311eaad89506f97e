"""Nearest neighbours: the mean output of the k nearest training samples.

The number of neighbours has the lowest value of the metric on the validation split.
"""

import numpy as np

from trainables.tasks.predictors.features import MAX_SAMPLES, Features, targets
from trainables.tasks.predictors.predictor import Predictor, head, score
from trainables.tasks.store.split import Split

MAX_FEATURES = 1024
NEIGHBOURS = (1, 2, 4, 8, 16, 32, 64)


class Neighbours(Predictor):
    """The mean of the outputs of the k training inputs with the least Euclidean distance."""

    name = "knn"

    def fit(self, train: Split, val: Split) -> Predictor:
        samples = min(len(train), MAX_SAMPLES)
        self._features = Features(train.x, MAX_FEATURES)
        self._x = self._features.read(train.x, samples)
        self._y, self._finish = targets(self.setting.info, train.y[:samples])
        self._squares = (self._x**2).sum(axis=1)
        judged, found = head(val), []
        for self._count in (count for count in NEIGHBOURS if count <= samples):
            found.append((score(self.setting.info.metric, self.predict, judged), self._count))
        self._count = min(found)[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        distances = self._squares - 2 * self._features(x) @ self._x.T  # but for a constant each
        nearest = np.argpartition(distances, self._count - 1, axis=1)[:, : self._count]
        total = np.zeros((len(x), self._y.shape[1]), np.float32)
        for column in nearest.T:
            total += self._y[column]
        return self._finish(total / self._count)
