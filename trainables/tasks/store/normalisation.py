"""The normalisation of a data set, as its manifest describes it.

A store holds inputs that a network takes, or compact ones that are converted when they are read
(`rows.present`). Some tasks standardise samples before they are stored. A user has raw samples, so
a trained model repeats both steps, and returns outputs in their own unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainables.tasks.store.rows import present
from trainables.tasks.store.split import Rows
from trainables.tasks.store.statistics import BOTH, Standardiser

PRESENTED = ("input_scaling", "pair_features")  # entries that `present` applies


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalisation:
    """The steps between raw samples and those of a network.

    If neither standardiser is set, raw inputs are those that the store holds.
    """

    presented: Mapping[str, Any] = field(default_factory=dict)  # entries of PRESENTED
    inputs: Standardiser | None = None  # of raw inputs, before they were stored
    outputs: Standardiser | None = None  # of raw outputs, before they were stored

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Normalisation":
        """Return the normalisation that the manifest of a store describes."""
        presented = {name: manifest[name] for name in PRESENTED if manifest.get(name)}
        rule = manifest.get("normalization") or {}
        # The rule of Darcy Flow calls it `std`, other ones `scale`.
        scale = rule.get("scale", rule.get("std"))
        if "mean" not in rule or scale is None:
            return cls(presented=presented)
        shape = tuple(manifest["shapes"]["x"])
        standardiser = _standardiser(np.array(rule["mean"]), np.array(scale), shape)
        both = standardiser if rule["kind"] == BOTH else None
        return cls(presented=presented, inputs=standardiser, outputs=both)

    def network_inputs(self, raw: np.ndarray) -> Rows:
        """Return raw inputs [n, ...] in the form that the network takes."""
        stored = raw if self.inputs is None else self.inputs(raw)
        # `present` converts bytes and half precision itself, as it does for stored inputs.
        if stored.dtype not in (np.uint8, np.float16):
            stored = stored.astype(np.float32, copy=False)
        return present(stored, self.presented)

    def raw_outputs(self, outputs: np.ndarray) -> np.ndarray:
        """Return predicted fields [n, ...] in the unit of the raw outputs."""
        return outputs if self.outputs is None else self.outputs.undo(outputs)


def _standardiser(mean: np.ndarray, scale: np.ndarray, shape: tuple[int, ...]) -> Standardiser:
    """Return a standardiser of samples of `shape`.

    The statistics may be single numbers, those of each point, or those of the points of the first
    channel alone. The other channels, such as coordinates, are then left as they are.
    """
    if mean.shape == shape[1:] and mean.shape != shape and mean.ndim:
        shift, unit = np.zeros(shape), np.ones(shape)
        shift[0], unit[0] = mean, scale
        mean, scale = shift, unit
    return Standardiser(mean.astype(np.float32), scale.astype(np.float32))
