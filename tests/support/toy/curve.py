"""The curve of a toy trial: what a step does to its value, from its parameters, seed and step.

The value is a state that steps carry on: one that is skipped, repeated or begun from the wrong
checkpoint ends at another value.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

START = 1.0


def step_value(value: float, params: Mapping[str, Any], seed: int, step: int) -> float:
    """Return the value after `step` from the one before it."""
    distance = abs(math.log10(params["refine.lr"]) + 3.0)  # 1e-3 is best
    floor = 0.1 + 0.2 * distance + (0.05 if params["refine.optimizer"] == "sgd" else 0.0)
    return floor + (value - floor) * 0.6 + 0.01 * _noise(seed, step)


def values(params: Mapping[str, Any], seed: int, steps: int) -> list[float]:
    """Return the values of an undisturbed trial after each of its steps."""
    found, value = [], START
    for step in range(1, steps + 1):
        value = step_value(value, params, seed, step)
        found.append(value)
    return found


def _noise(seed: int, step: int) -> float:
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**63 - 1
