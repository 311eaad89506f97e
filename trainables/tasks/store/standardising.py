"""Standardisation at each point, by the mean and standard deviation of the training samples there.

(value - shift) / scale,    shift = mean,    scale = std + 1e-5
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Standardiser"]

STD_OFFSET = 1e-5  # keeps a point that never varies finite


@dataclass(frozen=True, eq=False)
class Standardiser:
    """What is subtracted and divided by, of one shape: that of a sample, or of some channels."""

    shift: np.ndarray  # float32
    scale: np.ndarray  # float32

    @classmethod
    def of(cls, mean: np.ndarray, std: np.ndarray) -> "Standardiser":
        """Takes the statistics in float64."""
        return cls(mean.astype(np.float32), (std + STD_OFFSET).astype(np.float32))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 rows [n, ...] standardised."""
        standardised: np.ndarray = (rows - self.shift) / self.scale
        return standardised

    @property
    def rule(self) -> dict[str, Any]:
        """What a manifest says of it, where inputs and outputs are standardised alike."""
        return {
            "kind": "(value - mean) / scale at each point, by the training inputs, of x and of y",
            "mean": self.shift.tolist(),
            "scale": self.scale.tolist(),
        }
