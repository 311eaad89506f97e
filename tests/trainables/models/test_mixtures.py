"""Mixtures: what is whose, where, and that nothing is written in place."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.models.mixtures import (
    Region,
    blend,
    random_rectangles,
    random_stretches,
    rectangle_of,
    replace,
)
from trainables.seeding import generator

grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


def tokens(batch, count, *, seed):
    return torch.randn(batch, count, 3, generator=generator(seed))


def places(rows):
    return torch.tensor(rows)


def test_replaced_places_hold_the_chosen_tokens_in_order_and_others_their_own():
    target, source = tokens(2, 5, seed=0), tokens(2, 4, seed=1)
    where, which = places([[4, 0], [1, 2]]), places([[3, 1], [0, 0]])
    mixture = replace(target, source, places=where, chosen=which)
    for row in range(2):
        expected = target[row].clone()
        expected[where[row]] = source[row, which[row]]
        assert torch.equal(mixture[row], expected)


def test_replacing_all_tokens_by_position_gives_the_source():
    target, source = tokens(2, 5, seed=0), tokens(2, 5, seed=1)
    every = torch.arange(5).expand(2, -1)
    assert torch.equal(replace(target, source, places=every, chosen=every), source)


def test_replaced_tokens_have_no_gradient_and_no_tensor_is_written():
    target, source = tokens(1, 4, seed=0).requires_grad_(), tokens(1, 4, seed=1)
    before, doubled = target.detach().clone(), target * 2
    mixture = replace(doubled, source, places=places([[1, 3]]), chosen=places([[0, 2]]))
    (doubled.square().sum() * 0 + mixture.sum()).backward()  # what was mixed is still usable
    assert torch.equal(target, before)
    assert target.grad is not None
    assert target.grad[0, :, 0].tolist() == [2.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_blend_is_a_weighted_mean_inside_and_the_target_outside(weight):
    target, source = tokens(1, 4, seed=0), tokens(1, 3, seed=1)
    region = Region(torch.tensor([[False, True, True, False]]), places([[0, 2, 0, 1]]))
    mixture = blend(target, source, region, weight=weight)
    assert torch.equal(mixture[:, [0, 3]], target[:, [0, 3]])
    expected = (1 - weight) * target[0, 1:3] + weight * source[0, [2, 0]]
    torch.testing.assert_close(mixture[0, 1:3], expected)
    if weight == 1:
        assert torch.equal(mixture[0, 1:3], source[0, [2, 0]])


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_stretch_is_of_its_length_and_takes_neighbours_of_the_source(targets, sources, data):
    length = data.draw(st.integers(1, min(targets, sources)))
    chance = generator(data.draw(st.integers(0, 99)))
    inside, origin = random_stretches(
        length, targets=targets, sources=sources, batch=5, generator=chance
    )
    assert inside.sum(1).tolist() == [length] * 5
    for row in range(5):
        at, taken = inside[row].nonzero().flatten(), origin[row, inside[row]]
        assert at.tolist() == list(range(int(at[0]), int(at[0]) + length))
        assert taken.tolist() == list(range(int(taken[0]), int(taken[0]) + length))
        assert targets != sources or torch.equal(at, taken)
    assert origin.min() >= 0
    assert origin.max() < sources


def test_stretches_of_unlike_samples_lie_anywhere_in_both():
    inside, origin = random_stretches(2, targets=5, sources=3, batch=400, generator=generator(0))
    first = inside.int().argmax(1, keepdim=True)  # of the target's tokens; then of the source's
    starts = set(zip(first[:, 0].tolist(), origin.gather(1, first)[:, 0].tolist(), strict=True))
    assert starts == {(start, source) for start in range(4) for source in range(2)}


@given(grids, st.data())
def test_a_rectangle_holds_few_tokens_less_than_asked_and_never_more(grid, data):
    rows, columns = grid
    asked = data.draw(st.integers(1, rows * columns))
    height, width = rectangle_of(asked, grid)
    assert 1 <= height <= rows
    assert 1 <= width <= columns
    assert asked - max(rows, columns) < height * width <= asked


def test_all_tokens_are_the_whole_grid_and_parts_are_in_its_proportions():
    assert rectangle_of(56 * 56, (56, 56)) == (56, 56)
    assert rectangle_of(2000, (56, 56)) == (45, 44)
    assert rectangle_of(8, (4, 8)) == (2, 4)


@given(grids, st.data())
def test_a_rectangle_covers_rows_and_columns_at_the_same_place_of_both(grid, data):
    rows, columns = grid
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    chance = generator(data.draw(st.integers(0, 99)))
    inside, origin = random_rectangles((height, width), grid=grid, batch=3, generator=chance)
    assert torch.equal(origin, torch.arange(rows * columns).expand(3, -1))
    for image in inside.view(3, rows, columns):
        covered = image.any(1).outer(image.any(0))
        assert torch.equal(image, covered)
        for side, length in ((image.any(1), height), (image.any(0), width)):
            at = side.nonzero().flatten()
            assert at.tolist() == list(range(int(at[0]), int(at[0]) + length))


def test_rectangles_lie_anywhere():
    inside, _ = random_rectangles((2, 1), grid=(3, 2), batch=200, generator=generator(0))
    assert {row.nonzero()[0].item() for row in inside} == {0, 1, 2, 3}
