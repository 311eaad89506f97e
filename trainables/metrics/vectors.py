"""Metrics of vectors of numbers: of each output over all samples, then averaged over the outputs.

    rmse          mean_j sqrt(mean_i (p_ij - y_ij)^2)
    mae           mean_j mean_i |p_ij - y_ij|
    one_minus_r2  mean_j sum_i (p_ij - y_ij)^2 / sum_i (y_ij - mean_i y_ij)^2

They equal scikit-learn's `root_mean_squared_error`, `mean_absolute_error` and 1 - `r2_score` with
their default, the uniform average over outputs. In one_minus_r2 an output that is constant in the
split therefore counts 0 if it is predicted exactly, and 1 otherwise. rmse and mae have the unit of
the targets. If outputs have several units, one_minus_r2 weighs them equally.

Shapes: n = samples of a batch, k = outputs.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from trainables.errors import DataError
from trainables.metrics.fields import difference
from trainables.metrics.metric import Metric


class _OutputMean(Metric):
    """Base of metrics that are the mean over outputs of a function of each output's mean error."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: Tensor = torch.zeros(())  # [k] after the first batch

    @abstractmethod
    def _errors(self, difference: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return the error of each output of each sample, from the difference p - y."""

    @abstractmethod
    def _values(self, mean_errors: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Return the value of each output."""

    @torch.no_grad()
    def update(self, prediction: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> None:
        errors = self._errors(difference(prediction.double(), target.double()))
        # The sums begin as a single 0 on the CPU, and move to the device of the data.
        self._sums = self._sums.to(errors) + errors.sum(0)
        self._count += len(target)

    def compute(self) -> float:
        if not self._count:
            raise DataError(f"`{self.name}` of no samples.")
        return float(self._values(self._sums / self._count).mean())


class RMSE(_OutputMean):
    """Root of the mean squared error of each output, averaged over outputs."""

    name = "rmse"

    def _errors(self, difference: Tensor) -> Tensor:
        return difference.square()

    def _values(self, mean_errors: Tensor) -> Tensor:
        return mean_errors.sqrt()


class MeanAbsoluteError(_OutputMean):
    """Mean absolute error, averaged over outputs."""

    name = "mae"

    def _errors(self, difference: Tensor) -> Tensor:
        return difference.abs()

    def _values(self, mean_errors: Tensor) -> Tensor:
        return mean_errors


class OneMinusR2(_OutputMean):
    """1 - the coefficient of determination: the share of variance that is not explained."""

    name = "one_minus_r2"

    def __init__(self) -> None:
        super().__init__()
        self._mean: Tensor = torch.zeros(())  # of the targets so far, [k] after the first batch
        self._spread: Tensor = torch.zeros(())  # sum of squared deviations from the mean, likewise

    @torch.no_grad()
    def update(self, prediction: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> None:
        before, added = self._count, len(target)
        super().update(prediction, target)
        # Means and spreads are merged (Chan et al., 1983): sums of squares of large values cancel.
        values = target.double()
        mean = values.mean(0)
        step = mean - self._mean.to(mean)
        self._spread = (
            self._spread.to(mean)
            + (values - mean).square().sum(0)
            + step.square() * (before * added / self._count)
        )
        self._mean = self._mean.to(mean) + step * (added / self._count)

    def _errors(self, difference: Tensor) -> Tensor:
        return difference.square()

    def _values(self, mean_errors: Tensor) -> Tensor:
        if self._count < 2:
            raise DataError(f"`{self.name}` needs two samples or more, but got one.")
        residual = mean_errors * self._count
        varies = self._spread > 0
        ratio = residual / torch.where(varies, self._spread, 1.0)
        # NaN stays NaN: it is neither equal to 0 nor explained.
        constant = torch.where(residual > 0, torch.ones_like(residual), residual)
        return torch.where(varies, ratio, constant)
