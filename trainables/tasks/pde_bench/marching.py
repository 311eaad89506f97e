"""Explicit time marching of a batch in which every sample takes its own steps.

The step of a hyperbolic problem follows its fastest wave. Were it shared by a batch, a sample's
result would depend on its neighbours; so each has its own, and leaves the batch when it is done.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["march", "monotonized_central"]


def march(
    state: np.ndarray,
    *,
    end_time: float,
    stable_step: Callable[[np.ndarray], np.ndarray],
    advance: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Takes `state` [n, ...] from 0 to `end_time`.

    `stable_step(state)` is the longest step of each sample, [n]; `advance(state, step)` takes it.
    """
    result = np.empty_like(state)
    active = np.arange(len(state))
    remaining = np.full(len(state), end_time)
    while active.size:
        limit = stable_step(state)
        assert (limit > 0).all(), "a wave speed is not finite"
        last = limit >= remaining
        step = np.where(last, remaining, limit)
        state = advance(state, step.astype(state.dtype))
        remaining = remaining - step
        if last.any():
            result[active[last]] = state[last]
            active, remaining, state = active[~last], remaining[~last], state[~last]
    return result


def monotonized_central(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns van Leer's limited slope of one-sided differences (J. Comput. Phys. 23, 1977).

    The central difference, but at most twice the smaller one-sided, and 0 at an extremum.
    """
    size: np.ndarray = np.minimum(np.abs(left), np.abs(right))
    size += size
    np.minimum(size, 0.5 * np.abs(left + right), out=size)
    size *= left * right > 0
    np.copysign(size, left, out=size)
    return size
