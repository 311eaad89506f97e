"""Predictors that learn nothing from the input. A method should beat them.

mean      the mean of the training outputs at each point (for binary points, its log-odds)
median    the median of each training output of a regression, if the metric is the absolute error
identity  the input, if it has the shape of the output
majority  the most frequent class
prior     the frequency of each label
"""

from abc import abstractmethod

import numpy as np

from trainables.tasks.predictors.predictor import CannotApply, Predictor, Setting, batches
from trainables.tasks.store.split import Split
from trainables.tasks.store.statistics import mean_of
from trainables.tasks.task import TaskInfo


def trivial_baselines(info: TaskInfo, train_y: np.ndarray, test: Split) -> dict[str, float]:
    """Return the test metric of each trivial predictor of a task, by its name.

    Args:
        info: Facts about the task.
        train_y: Training outputs [n, ...], with a mask channel if the task has one.
        test: Test split, with inputs in the form that a network takes.
    """
    # These predictors read only the shape of training inputs, which those of the test have too.
    train, found = Split(x=test.x, y=train_y), {}
    for kind in (Mean, Median, Identity, Majority, Prior):
        try:
            fitted = kind(Setting(info=info)).fit(train, train)
        except CannotApply:
            continue
        found[kind.name] = fitted.score(test)
    return found


class Constant(Predictor):
    """Base of predictors of one output for every input."""

    reads_inputs = False

    def fit(self, train: Split, val: Split) -> Predictor:
        del val
        self._output = self._constant(train.y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self._output, (len(x), *self._output.shape))

    @abstractmethod
    def _constant(self, y: np.ndarray) -> np.ndarray:
        """Return the output for training outputs [n, ...]."""


class Mean(Constant):
    """The mean of the training outputs."""

    name = "mean"

    def _constant(self, y: np.ndarray) -> np.ndarray:
        info = self.setting.info
        if info.kind == "dense":
            return mean_field(info, y).astype(y.dtype)
        if info.kind != "regression":
            raise CannotApply(f"the outputs are {info.channels[1]} classes, which have no mean.")
        mean: np.ndarray = y.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean


class Median(Constant):
    """The median of each training output, which minimises the absolute error."""

    name = "median"

    def _constant(self, y: np.ndarray) -> np.ndarray:
        info = self.setting.info
        if info.kind != "regression" or info.metric != "mae":
            raise CannotApply("it is for a regression that is scored by the absolute error.")
        median: np.ndarray = np.median(y, axis=0).astype(np.float32)
        return median


class Majority(Constant):
    """The most frequent class."""

    name = "majority"

    def _constant(self, y: np.ndarray) -> np.ndarray:
        info = self.setting.info
        if info.kind != "classification":
            raise CannotApply("the outputs are no classes.")
        return np.bincount(y, minlength=info.channels[1]).astype(np.float32)


class Prior(Constant):
    """The frequency of each label."""

    name = "prior"

    def _constant(self, y: np.ndarray) -> np.ndarray:
        if self.setting.info.kind != "multilabel":
            raise CannotApply("the outputs are no sets of labels.")
        frequency: np.ndarray = y.mean(axis=0, dtype=np.float64).astype(np.float32)
        return frequency


class Identity(Predictor):
    """The input."""

    name = "identity"

    def fit(self, train: Split, val: Split) -> Predictor:
        del val
        info, shape = self.setting.info, train.x.shape[1:]
        if info.kind != "dense" or shape != (info.channels[1], *train.y.shape[2:]):
            raise CannotApply("an input does not have the shape of an output.")
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


def mean_field(info: TaskInfo, y: np.ndarray) -> np.ndarray:
    """Return the mean over the samples at each point. If y has a mask, masked values are ignored.

    For binary outputs it is the log-odds of the mean, since predictions are logits.
    """
    if info.mask is None:
        unmasked: np.ndarray = mean_of(y)
        return unmasked
    total, counts = np.zeros((2, info.channels[1], *y.shape[2:]))
    for rows in batches(y):
        values, weight = y[rows, :-1], (y[rows, -1:] > 0) == (info.mask == "known")
        total += (values * weight).sum(axis=0, dtype=np.float64)
        counts += weight.sum(axis=0)
    mean: np.ndarray
    if info.loss == "masked_bce":
        rate = (total + 0.5) / (counts + 1)  # never 0 or 1
        mean = np.log(rate / (1 - rate))
    else:
        mean = total / np.maximum(counts, 1)
    return mean
