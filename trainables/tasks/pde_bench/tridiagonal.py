"""Many tridiagonal systems at once, one a row.

The rows are laid end to end: with no coupling between them they are one long system, which LAPACK's
gtsv solves in a single pass. Rows do not influence one another's rounding.

Shapes: n = systems, m = unknowns of each.
"""

from typing import Any

import numpy as np
from scipy.linalg import lapack

__all__ = ["solve", "solve_cyclic"]


def solve(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, *rhs: np.ndarray
) -> list[np.ndarray]:
    """Solves lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = rhs_i, all [n, m], for each rhs.

    `lower[:, 0]` and `upper[:, -1]` lie outside the matrix and are not read.
    """
    lower, upper = lower.copy(), upper.copy()
    lower[:, 0] = 0.0
    upper[:, -1] = 0.0
    columns = np.stack([b.ravel() for b in rhs], axis=-1)
    gtsv: Any = lapack.sgtsv if columns.dtype == np.float32 else lapack.dgtsv
    *_, solution, info = gtsv(lower.ravel()[1:], diagonal.ravel(), upper.ravel()[:-1], columns)
    assert info == 0, f"singular tridiagonal system at row {info}"
    return [solution[:, j].reshape(diagonal.shape) for j in range(len(rhs))]


def solve_cyclic(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray
) -> np.ndarray:
    """Solves the periodic system, in which x_{-1} is x_{m-1}, by Sherman and Morrison's formula."""
    gamma = -diagonal[:, 0]
    modified = diagonal.copy()
    modified[:, 0] -= gamma
    modified[:, -1] -= lower[:, 0] * upper[:, -1] / gamma
    edge = np.zeros_like(rhs)
    edge[:, 0], edge[:, -1] = gamma, upper[:, -1]
    x, z = solve(lower, modified, upper, rhs, edge)
    ratio = lower[:, 0] / gamma
    factor = (x[:, 0] + ratio * x[:, -1]) / (1 + z[:, 0] + ratio * z[:, -1])
    solution: np.ndarray = x - factor[:, None] * z
    return solution
