"""Pareto dominance between points, whose values are all to be low."""

from collections.abc import Mapping

import numpy as np


def front(points: Mapping[int, tuple[float, ...]]) -> tuple[int, ...]:
    """Return the keys of the points that no other point dominates, by their first value.

    Of several equal points all are on the front.
    """
    if not points:
        return ()
    keys = sorted(points, key=lambda key: (points[key], key))
    # Ranks beyond the first front are not needed, and `enough=1` ends the search for them.
    found = ranks(np.array([points[key] for key in keys], dtype=float), enough=1)
    return tuple(key for key, rank in zip(keys, found, strict=True) if rank == 0)


def ranks(points: np.ndarray, enough: int) -> np.ndarray:
    """Return the rank of each point: 0 on the front, 1 on the front of the others, and so on.

    Args:
        points: [n, k] values of each point.
        enough: The number of best points whose ranks are wanted; the others share the next rank.
    """
    # In this order a point comes after all that dominate it.
    ordered, places = np.unique(points, axis=0, return_inverse=True)
    # Equal points have the same rank and are ranked once; `places` leads back to all n points.
    found, left, rank = np.zeros(len(ordered), dtype=int), np.arange(len(ordered)), 0
    while len(left) and len(ordered) - len(left) < enough:
        is_best = _on_front(ordered[left])
        found[left[is_best]] = rank
        left, rank = left[~is_best], rank + 1
    found[left] = rank
    # NumPy 2.0.0 returns the inverse with more than one axis here.
    return found[places.reshape(-1)]


def _on_front(ordered: np.ndarray) -> np.ndarray:
    """Return which of some different points in lexicographic order are on their front."""
    is_best, left = np.zeros(len(ordered), dtype=bool), np.arange(len(ordered))
    # The first of the points that are left is on the front, and takes away those it dominates.
    while len(left):
        is_best[left[0]] = True
        # A later point is no lower in the first value. If no other is lower, it is dominated.
        left = left[(ordered[left, 1:] < ordered[left[0], 1:]).any(axis=1)]
    return is_best
