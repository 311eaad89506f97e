"""Compactly stored inputs that are converted when they are read.

    StoredRows      x = (stored - mean) / std        with one mean and one std per channel
    PairFeatures    an image of all pairs of residues of a protein
    PickedRows      some rows of several arrays, in any order

Only the requested rows are converted, so that images remain bytes on disk and in the page cache.

A protein of L residues has R numbers per residue and M maps of L x L. The input of the network is
an image of 2R + M channels on a grid of S x S:

    x[2c, i, j] = r_c(j)    x[2c + 1, i, j] = r_c(i)    x[2R + m, i, j] = map_m(i, j)

It is 0 if i or j is no residue. Only the numbers and the maps are stored, in one array of
R + 1 + M S rows of S numbers. The first R rows are the numbers. The next row is 1 at each residue
and 0 elsewhere. The other rows are those of the maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainables.tasks.store.split import Rows

__all__ = ["PairFeatures", "PickedRows", "StoredRows", "pack", "present"]


class StoredRows:
    """float32 rows [n, c, *grid] of a mapped array of uint8, float16 or float32.

    Args:
        scaling: `mean` and `std`, with one number per channel; None: no scaling.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self, array: np.ndarray, scaling: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        self.array = array
        self.shape = array.shape
        scaling = scaling or {}
        self.scaling = {name: _by_channel(v, array) for name, v in scaling.items()}

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: Any) -> np.ndarray:
        rows = np.asarray(self.array[indices], dtype=np.float32)
        if self.scaling:
            rows = (rows - self.scaling["mean"]) / self.scaling["std"]
        return rows


class PickedRows:
    """Rows [n, ...] of arrays of one type, by their places in the arrays one after another.

    Args:
        places: int64 [n].
    """

    def __init__(self, arrays: Sequence[Rows], places: np.ndarray) -> None:
        self._arrays, self._places = arrays, places
        self.dtype = arrays[0].dtype
        self.shape = (len(places), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, indices: Any) -> np.ndarray:
        places = np.asarray(self._places[indices])
        flat, start = places.reshape(-1), 0
        rows = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for array in self._arrays:
            mine = (flat >= start) & (flat < start + len(array))
            rows[mine] = array[flat[mine] - start]
            start += len(array)
        return rows.reshape(*places.shape, *self.shape[1:])


def present(array: np.ndarray, description: Mapping[str, Any]) -> Rows:
    """Return stored inputs in the form that a network takes.

    If `description` has `pair_features`, the result is a `PairFeatures` with these arguments. If it
    has `input_scaling`, the rows are scaled by it. Other inputs are converted to float32.
    """
    if pairs := description.get("pair_features"):
        return PairFeatures(array, **pairs)
    scaling = description.get("input_scaling")
    if array.dtype == np.float32 and not scaling:
        return array
    return StoredRows(array, scaling)


def _by_channel(numbers: Sequence[float], array: np.ndarray) -> np.ndarray:
    # [c, 1, ...] broadcasts over rows [n, c, *grid].
    return np.array(numbers, dtype=np.float32).reshape(-1, *(1,) * (array.ndim - 2))


def pack(residues: np.ndarray, maps: np.ndarray, *, side: int, start: int) -> np.ndarray:
    """Pack one protein into a single array.

    Args:
        residues: [R, L].
        maps: [M, L, L].
        side: S, the points per side of the grid.
        start: Point of the grid for the first residue.

    Returns:
        [R + 1 + M * side, side].
    """
    num_residues, length = residues.shape
    place = slice(start, start + length)
    packed = np.zeros((num_residues + 1 + len(maps) * side, side))
    packed[:num_residues, place], packed[num_residues, place] = residues, 1
    # Reshaping contiguous rows gives a view, so that the assignment fills `packed`.
    packed[num_residues + 1 :].reshape(len(maps), side, side)[:, place, place] = maps
    return packed


class PairFeatures:
    """Packed proteins [n, R + 1 + M S, S] that are read as float32 images [n, 2R + M, S, S]."""

    dtype = np.dtype(np.float32)

    def __init__(self, packed: Any, *, num_maps: int) -> None:
        self._packed, self._num_maps = packed, num_maps
        _, rows, self._side = packed.shape
        self._num_residues = rows - 1 - num_maps * self._side

    @property
    def shape(self) -> tuple[int, ...]:
        channels = 2 * self._num_residues + self._num_maps
        return (len(self._packed), channels, self._side, self._side)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, indices: Any) -> np.ndarray:
        packed = self._packed[indices].astype(np.float32)
        residues = packed[..., : self._num_residues, :]
        inside = packed[..., self._num_residues, None, :]
        maps = packed[..., self._num_residues + 1 :, :]
        # The residue numbers are repeated along columns (even channels) and rows (odd channels).
        # The row `inside` sets all points outside the protein to 0.
        tiled = 2 * self._num_residues
        images = np.empty((*packed.shape[:-2], *self.shape[1:]), dtype=np.float32)
        np.multiply(residues[..., None, :], inside[..., None], out=images[..., 0:tiled:2, :, :])
        np.multiply(residues[..., None], inside[..., None, :], out=images[..., 1:tiled:2, :, :])
        images[..., tiled:, :, :] = maps.reshape(images[..., tiled:, :, :].shape)
        return images
