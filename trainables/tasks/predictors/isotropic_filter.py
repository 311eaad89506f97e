"""A linear filter that treats all places and directions alike.

    Y_k = G(|k|) X_k

X and Y are the cosine transforms (DCT-II) of input and output fields less their means, which suits
boundaries without flux. G is a c_out x c_in matrix for each band of wave numbers |k|. It solves a
least-squares problem with a penalty. The width of the bands and the penalty have the lowest value
of the metric on the validation split.

Shapes: n = samples, i = channels of x, o = channels of y, p = points of the grid, b = bands.
"""

from itertools import product

import numpy as np
from scipy import fft

from trainables.tasks.predictors.predictor import CannotApply, Predictor, batches, head, score
from trainables.tasks.store.split import Split

MAX_NUMBERS = 2**25  # of the products of all pairs of input channels: a quarter of a GiB
WIDTHS = (1.0, 2.0, 4.0, 8.0)  # of a band, in wave numbers
PENALTIES = (0.0, 1e-3, 1e-2, 1e-1, 1.0)  # by the mean power of the input in the band


class IsotropicFilter(Predictor):
    """The best linear map of fields that commutes with translations and rotations."""

    name = "isotropic_filter"

    def fit(self, train: Split, val: Split) -> Predictor:
        """Sum the spectra of the training fields once, and choose width and penalty.

        Raises:
            CannotApply: Inputs and outputs are no fields on one grid, or the sums over pairs of
                channels do not fit in memory.
        """
        info, grid = self.setting.info, train.x.shape[2:]
        if info.kind != "dense" or info.mask is not None or train.y.shape[2:] != grid:
            raise CannotApply("inputs and outputs are no fields on one grid without a mask.")
        numbers = train.x.shape[1] ** 2 * int(np.prod(grid))
        if numbers > MAX_NUMBERS:
            raise CannotApply(
                f"its sums would take {numbers / 2**27:.1f} GiB of memory, above "
                f"{MAX_NUMBERS / 2**27:g}. A lower `data.resolution` makes them smaller."
            )
        self._means = [_channel_means(train, part) for part in ("x", "y")]
        power, cross = self._sums(train)
        sides = np.meshgrid(*(np.arange(side) for side in grid), indexing="ij")
        wave = np.sqrt(sum(side.astype(float) ** 2 for side in sides)).ravel()
        judged, found = head(val), []
        for width, penalty in product(WIDTHS, PENALTIES):
            band = (wave / width + 0.5).astype(int)
            self._filter = _solved(power, cross, band, penalty)
            found.append((score(info.metric, self.predict, judged), self._filter))
        self._filter = min(found, key=lambda each: each[0])[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        spectra = np.einsum("nip,iop->nop", self._spectra(x, 0), self._filter)
        spectra = spectra.reshape(len(x), -1, *x.shape[2:])
        fields = fft.idctn(spectra, axes=range(2, x.ndim), norm="ortho")
        predicted: np.ndarray = (fields + self._means[1]).astype(np.float32)
        return predicted

    def _spectra(self, fields: np.ndarray, part: int) -> np.ndarray:
        """Return the transforms [n, c, p] of inputs (part 0) or outputs (part 1)."""
        centred = np.asarray(fields, np.float64) - self._means[part]
        spectra = fft.dctn(centred, axes=range(2, fields.ndim), norm="ortho")
        flat: np.ndarray = spectra.reshape(*fields.shape[:2], -1)
        return flat

    def _sums(self, train: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums over samples of X X^T [i, i, p] and X Y^T [i, o, p] at each wave."""
        power: np.ndarray | float = 0.0
        cross: np.ndarray | float = 0.0
        for rows in batches(train.y):
            x, y = self._spectra(train.x[rows], 0), self._spectra(train.y[rows], 1)
            power = power + np.einsum("nip,njp->ijp", x, x)
            cross = cross + np.einsum("nip,nop->iop", x, y)
        return np.asarray(power), np.asarray(cross)


def _channel_means(split: Split, part: str) -> np.ndarray:
    """Return the mean of each channel of inputs or outputs, [1, c, 1, ...]."""
    rows, total = getattr(split, part), 0.0
    for block in batches(split.y):
        fields = np.asarray(rows[block], np.float64)
        axes = (0, *range(2, fields.ndim))
        total = total + fields.mean(axis=axes, keepdims=True) * (len(block) / len(split))  # type: ignore[assignment, unused-ignore]  # by NumPy 2.5
    return np.asarray(total)


def _solved(power: np.ndarray, cross: np.ndarray, band: np.ndarray, penalty: float) -> np.ndarray:
    """Return the filter [i, o, p] of least squares within each band, numbered by `band` [p]."""
    inputs, outputs = cross.shape[:2]
    size = np.bincount(band).clip(min=1)

    def summed(values: np.ndarray) -> np.ndarray:
        flat = [np.bincount(band, each) for each in values.reshape(-1, len(band))]
        by_band: np.ndarray = np.stack(flat, axis=1).reshape(len(size), *values.shape[:2])
        return by_band

    left, right = summed(power), summed(cross)
    mean_power = np.trace(left, axis1=1, axis2=2) / inputs
    # The tiny term keeps bands without any input solvable: their filter is zero.
    ridge = penalty * mean_power + 1e-12 * mean_power.max() + np.finfo(float).tiny
    gains = np.linalg.solve(left + ridge[:, None, None] * np.eye(inputs), right)
    filters: np.ndarray = gains.reshape(-1, inputs, outputs)[band].transpose(1, 2, 0)
    return filters
