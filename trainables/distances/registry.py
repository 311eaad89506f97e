"""The registry of the distances that `align` can minimise, by their names in sweep files.

A new distance is a module with its function, its test, and one line here. Plugins offer one by an
entry point of the group `sweeper.distances` (`trainables/plugins.py`). This module does not import
torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from trainables.plugins import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DISTANCES", "OWN", "DistanceEntry"]


@dataclass(frozen=True, kw_only=True)
class DistanceEntry:
    """A distance between samples of two modalities: OTDD, or a function of two samples.

    The function takes source features [n, d], target features [m, d] and its settings by name. It
    returns a scalar, which is differentiable in the target features.
    """

    name: str
    title: str  # for people
    otdd: Literal["exact", "gaussian"] | None = None  # how OTDD compares two classes
    function: str = ""  # "module:function"; "" is OTDD
    settings: Mapping[str, str] = field(default_factory=dict)  # argument -> setting of `align`
    is_random: bool = False  # the function also takes a `generator` on the CPU

    @property
    def module(self) -> str:
        """The module of the function; "" if there is none."""
        return self.function.partition(":")[0]

    def load(self) -> "Callable[..., Tensor]":
        """Import the function."""
        name = self.function.partition(":")[2]
        function: Callable[..., Tensor] = getattr(import_module(self.module), name)
        return function


_MMD = {
    "kernel": "mmd_kernel",
    "bandwidth": "mmd_bandwidth",
    "bandwidth_scale": "mmd_bandwidth_scale",
    "num_kernels": "mmd_kernels",
    "unbiased": "mmd_unbiased",
}
_HERE = "trainables.distances"
OWN: Mapping[str, DistanceEntry] = {
    entry.name: entry
    for entry in (
        DistanceEntry(name="otdd_exact", title="OTDD", otdd="exact"),
        DistanceEntry(name="otdd_gaussian", title="OTDD of Gaussians", otdd="gaussian"),
        DistanceEntry(name="mmd", title="MMD", function=f"{_HERE}.mmd:mmd", settings=_MMD),
        DistanceEntry(name="euclidean", title="Euclidean distance", is_random=True,
                      function=f"{_HERE}.euclidean:euclidean", settings={"form": "euclidean"}),
        DistanceEntry(name="energy", title="energy distance", function=f"{_HERE}.energy:energy"),
    )
}  # fmt: skip

DISTANCES: Registry[DistanceEntry] = Registry(
    "sweeper.distances",
    OWN,
    lambda value: isinstance(value, DistanceEntry),
    lambda entry: [("its `function`", entry.function)],
)
