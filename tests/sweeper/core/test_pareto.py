"""Fronts and ranks of points, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.core.pareto import front, ranks

Points = list[tuple[float, ...]]
POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=30)
SIZES = st.integers(1, 3)


def undominated(points: Points) -> set[int]:
    return {
        number
        for number, mine in enumerate(points)
        if not any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine
            for other in points
        )
    }


@given(POINTS, SIZES)
def test_the_front_is_what_no_point_dominates(points: Points, size: int):
    cut = [point[:size] for point in points]
    found = front(dict(enumerate(cut)))
    assert set(found) == undominated(cut)
    assert list(found) == sorted(set(found), key=lambda number: (cut[number], number))


@given(POINTS.filter(bool), SIZES, st.integers(1, 40))
def test_ranks_are_those_of_one_front_after_the_other(points: Points, size: int, enough: int):
    left = {number: point[:size] for number, point in enumerate(points)}
    expected: dict[int, int] = {}
    rank = 0
    while left:
        numbers = list(left)
        best = {numbers[k] for k in undominated(list(left.values()))}
        expected |= dict.fromkeys(best, rank)
        left = {number: point for number, point in left.items() if number not in best}
        rank += 1
    array = np.array([point[:size] for point in points], dtype=float)
    assert ranks(array, len(points)).tolist() == [expected[k] for k in range(len(points))]
    # Those of the best points do not depend on how many are wanted.
    found = ranks(array, enough)
    last = sorted(expected.values())[min(enough, len(points)) - 1]
    for number, rank in expected.items():
        assert found[number] == rank if rank <= last else found[number] > last


@pytest.mark.parametrize("value", [2.0, float("inf")])
def test_equal_points_do_not_dominate_each_other(value: float):
    assert front({7: (1.0, value), 3: (1.0, value), 5: (1.5, value)}) == (3, 7)
    assert front({}) == ()
