"""Numerical methods that several solvers share.

`march` integrates a hyperbolic problem explicitly. The fastest wave limits its step. If all samples
of a batch had the same step, the result of a sample would depend on the other samples. Each sample
therefore has its own step, and leaves the batch at its end time.

`solve_tridiagonal` solves many tridiagonal systems at once, one per row. The rows are concatenated
without coupling to one long system, which LAPACK's gtsv solves in a single pass. A row does not
affect the rounding of the other rows.

Shapes: n = samples or systems, m = unknowns of each.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts are imported where they are used: `validate` needs none


def march(
    state: np.ndarray,
    *,
    end_time: float,
    stable_step: Callable[[np.ndarray], np.ndarray],
    advance: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Integrate `state` [n, ...] from 0 to `end_time`.

    Args:
        state: [n, ...].
        end_time: End time of all samples.
        stable_step: Function from a state to the longest stable step of each sample [n].
        advance: Function from a state and the lengths of a step [n] to the next state.

    Returns:
        The state [n, ...] at `end_time`.
    """
    result = np.empty_like(state)
    active = np.arange(len(state))
    remaining = np.full(len(state), end_time)
    while active.size:
        limit = stable_step(state)
        assert (limit > 0).all(), "a wave speed is not finite"
        last = limit >= remaining
        step = np.where(last, remaining, limit)
        # The time is counted in double precision: in that of the state, many small steps may not
        # add up to it.
        state = advance(state, step.astype(state.dtype))
        remaining = remaining - step
        if last.any():
            result[active[last]] = state[last]
            active, remaining, state = active[~last], remaining[~last], state[~last]
    return result


def monotonized_central(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return van Leer's limited slope of one-sided differences (J. Comput. Phys. 23, 1977).

    The slope is the central difference, limited to twice the smaller one-sided difference. It is 0
    at an extremum.
    """
    size: np.ndarray = np.minimum(np.abs(left), np.abs(right))
    size += size
    np.minimum(size, 0.5 * np.abs(left + right), out=size)
    size *= left * right > 0
    np.copysign(size, left, out=size)
    return size


def solve_tridiagonal(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, *rhs: np.ndarray
) -> list[np.ndarray]:
    """Solve lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = rhs_i, all [n, m], for each rhs.

    `lower[:, 0]` and `upper[:, -1]` are outside the matrix and are not used.
    """
    # All samples are solved as one matrix, in which zeros at the ends keep them apart.
    lower, upper = lower.copy(), upper.copy()
    lower[:, 0] = 0.0
    upper[:, -1] = 0.0
    columns = np.stack([b.ravel() for b in rhs], axis=-1)
    gtsv: Any = (
        scipy.linalg.lapack.sgtsv if columns.dtype == np.float32 else scipy.linalg.lapack.dgtsv
    )
    *_, solution, info = gtsv(lower.ravel()[1:], diagonal.ravel(), upper.ravel()[:-1], columns)
    assert info == 0, f"singular tridiagonal system at row {info}"
    return [solution[:, j].reshape(diagonal.shape) for j in range(len(rhs))]


def solve_cyclic_tridiagonal(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray
) -> np.ndarray:
    """Solve the periodic system, where x_{-1} is x_{m-1}, by the Sherman-Morrison formula.

    All arguments are [n, m], as in `solve_tridiagonal`.

    Returns:
        The solution [n, m].
    """
    # The periodic matrix is a tridiagonal one plus a matrix of rank one for the two corners.
    # By this sign, the first entry of the diagonal is doubled. It would cancel by the other one.
    gamma = -diagonal[:, 0]
    modified = diagonal.copy()
    modified[:, 0] -= gamma
    modified[:, -1] -= lower[:, 0] * upper[:, -1] / gamma
    edge = np.zeros_like(rhs)
    edge[:, 0], edge[:, -1] = gamma, upper[:, -1]
    x, z = solve_tridiagonal(lower, modified, upper, rhs, edge)
    ratio = lower[:, 0] / gamma
    factor = (x[:, 0] + ratio * x[:, -1]) / (1 + z[:, 0] + ratio * z[:, -1])
    solution: np.ndarray = x - factor[:, None] * z
    return solution
