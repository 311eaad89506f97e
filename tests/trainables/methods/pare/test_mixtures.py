"""Mixtures: what is whose, where, and that nothing is written in place."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.methods.pare.mixtures import (
    Region,
    blend,
    count_tokens,
    random_rectangles,
    random_stretches,
    rectangle_of,
    replace,
    source_weight,
    tokens_at,
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
    rng = generator(data.draw(st.integers(0, 99)))
    inside, origin = random_stretches(
        length, targets=targets, sources=sources, batch=5, generator=rng
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
    rng = generator(data.draw(st.integers(0, 99)))
    inside, origin = random_rectangles((height, width), grid=grid, batch=3, generator=rng)
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


SCHEDULES = ("linear", "cosine", "step", "constant")
schedules = st.sampled_from(SCHEDULES)
shares = st.integers(0, 100).map(lambda percent: percent / 100)


def counts(epochs, *, first, end_share=0.0, schedule="linear"):
    return [
        tokens_at(epoch, epochs, first=first, end_share=end_share, schedule=schedule)
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize(
    ("begin", "end", "epochs", "last"),
    [
        (2000, 1500, 60, 525),
        (2000, 1500, 100, 515),
        (1000, 500, 100, 505),
        (500, 500, 60, 8),
        (32, 32, 15, 2),
        (32, 32, 60, 0),
        (32, 32, 25, 1),
    ],
)
def test_linear_is_the_official_formula_in_every_epoch(begin, end, epochs, last):
    """int(begin - end ep / E), which leaves 1 - end / begin of k0."""
    ours = counts(epochs, first=begin, end_share=(begin - end) / begin)
    assert ours == [int(begin - Fraction(end * epoch, epochs)) for epoch in range(epochs)]
    assert ours[-1] == last


def test_two_epochs_of_fsd50k_have_one_token_more_than_official_floats_give():
    """The decision is for the formula: 2000 - 1500 * 0.67 is 995, and not 994."""
    ours = counts(100, first=2000, end_share=0.25)
    theirs = [int(2000 - 1500 * (epoch / 100)) for epoch in range(100)]
    assert {e: (a, b) for e, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b} == {
        67: (995, 994),
        68: (980, 979),
    }


@given(st.integers(1, 4000), shares, st.integers(1, 200), schedules)
def test_the_count_starts_at_k0_never_rises_and_ends_no_lower_than_asked(
    first, end_share, epochs, schedule
):
    ours = counts(epochs, first=first, end_share=end_share, schedule=schedule)
    assert ours[0] == first
    assert ours == sorted(ours, reverse=True)
    assert ours[-1] >= int(Fraction(str(end_share)) * first)


@given(st.integers(1, 4000), shares, st.integers(1, 200))
def test_after_the_last_epoch_all_but_the_constant_schedule_have_reached_the_end(
    first, end_share, epochs
):
    end = int(Fraction(str(end_share)) * first)
    for schedule in ("linear", "cosine", "step"):
        settings = {"first": first, "end_share": end_share, "schedule": schedule}
        assert tokens_at(epochs, epochs, **settings) == end
    assert tokens_at(epochs, epochs, **settings | {"schedule": "constant"}) == first


@pytest.mark.parametrize("schedule", ["linear", "cosine", "step"])
def test_a_share_is_the_decimal_number_that_was_written_not_its_nearest_float(schedule):
    """0.29 is a little less than that in binary, of which 100 would leave 28."""
    for percent in range(101):
        settings = {"first": 100, "end_share": percent / 100, "schedule": schedule}
        assert tokens_at(7, 7, **settings) == percent


def test_the_staircase_has_three_steps():
    assert counts(7, first=100, end_share=0.2, schedule="step") == [100] * 3 + [60] * 2 + [20] * 2
    assert counts(2, first=10, schedule="step") == [10, 5]


def test_cosine_is_slow_at_both_ends_and_halfway_in_the_middle():
    ours = counts(8, first=1000, schedule="cosine")
    assert ours[4] == 500
    assert 1000 - ours[1] < (ours[3] - ours[4]) / 2


@pytest.mark.parametrize(
    ("k0", "count"), [(0, 0), (0.0, 0), (7, 7), (100, 100), (1.0, 49), (0.5, 24), (0.01, 1), (1, 1)]
)
def test_a_decimal_number_is_a_share_and_an_integer_a_count(k0, count):
    assert count_tokens(k0, 49) == count


def test_the_official_counts_survive_being_told_as_shares():
    assert [count_tokens(k / 3136, 3136) for k in (2000, 1000, 500)] == [2000, 1000, 500]


@given(st.integers(1, 500), shares, st.integers(1, 50), schedules, st.integers(0, 500))
def test_the_weight_is_a_share_and_whole_in_the_papers_first_epoch(
    first, end_share, epochs, schedule, more
):
    for mode in ("k_over_k0", "k_over_n", "fixed"):
        weights = [
            source_weight(mode, k=k, first=first, num_tokens=first + more, fixed=end_share)
            for k in counts(epochs, first=first, end_share=end_share, schedule=schedule)
        ]
        assert all(0 <= weight <= 1 for weight in weights)
        assert weights == sorted(weights, reverse=True)
        assert weights[0] == {"k_over_k0": 1, "k_over_n": first / (first + more)}.get(
            mode, end_share
        )
