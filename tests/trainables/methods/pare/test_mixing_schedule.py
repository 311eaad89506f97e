"""The schedule of mixtures: the official counts, the bounds, and no rounding that moves a floor."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.methods.pare.mixing_schedule import count_tokens, source_weight, tokens_at

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
    ("k0", "count"),
    [(0, 0), (0.0, 0), (7, 7), (100, 100), (1.0, 49), (0.5, 24), (0.01, 1), (1, 1)],
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
