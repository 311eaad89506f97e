"""The group-sequential test: enumerated errors, the limit of one look, and simulations."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.results.sequential.boundaries import (
    ALPHA,
    Design,
    Look,
    Patterns,
    is_futile,
    sequential_interval,
    sequential_p,
)
from sweeper.results.statistics import mean_interval, sign_flip
from sweeper.spec.schema import Replicate

SIZES = st.integers(8, 10).flatmap(
    lambda n: st.lists(st.sampled_from([0.0, 1.0, 1.0, 2.5, 3.0]) | st.floats(0.1, 9), min_size=n,
                       max_size=n)
)  # fmt: skip


def looks_of(most: int, reached: int | None = None) -> list[Look]:
    steps = Replicate(until="decided", most=most).looks
    return [Look(pairs=n, share=n / most) for n in steps if n <= (reached or most)]


def rejects_by_any_look(values, alpha: float) -> bool:
    looks = looks_of(len(values))
    return any(Patterns(values, looks[:k]).rejects(alpha) for k in range(1, len(looks) + 1))


@pytest.mark.parametrize(
    ("most", "looks"), [(24, (8, 12, 16, 24)), (16, (6, 8, 11, 16)), (12, (6, 8, 12)), (8, (6, 8))]
)
def test_looks_are_at_thirds_and_halves_of_the_most_seeds(most, looks):
    assert Replicate(until="decided", most=most).looks == looks
    assert Replicate(seeds=5).looks == (5,)


@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, tests=st.sampled_from([1, 2, 5]))
def test_of_all_sign_patterns_no_more_than_alpha_are_ever_rejected(sizes, tests):
    """Law: given any sizes, ties and zeros included, the error over all looks is at most alpha."""
    patterns = product((1.0,), *[(1.0, -1.0)] * (len(sizes) - 1))
    rejected = [rejects_by_any_look(np.multiply(sizes, s), ALPHA / tests) for s in patterns]
    assert np.mean(rejected) <= ALPHA / tests


def test_the_error_is_spent_as_far_as_the_patterns_allow():
    sizes = np.random.default_rng(0).normal(size=10)
    patterns = product((1.0,), *[(1.0, -1.0)] * 9)
    rejected = [rejects_by_any_look(np.multiply(sizes, s), ALPHA) for s in patterns]
    assert ALPHA - 2 / 2**9 < np.mean(rejected) <= ALPHA


@pytest.mark.parametrize("n", [6, 8, 10])
def test_one_look_at_all_pairs_is_the_sign_flip_test(n):
    values = np.random.default_rng(n).normal(0.6, 1, n)
    whole = [Look(pairs=n, share=1.0)]
    test, interval = sign_flip(values), mean_interval(values)
    assert test is not None
    assert interval is not None
    assert sequential_p(values, whole) == pytest.approx(test.p_value)
    assert sequential_interval(values, whole) == pytest.approx(interval)


@pytest.mark.parametrize("is_rounded", [False, True])  # errors of few samples have ties
@pytest.mark.parametrize("seed", range(12))
def test_p_the_interval_and_each_level_of_holm_decide_alike(seed, is_rounded):
    values, looks = np.random.default_rng(seed).normal(0.7, 1, 12), looks_of(12)
    values = np.round(values) / 40 if is_rounded else values
    p, interval, patterns = (
        sequential_p(values, looks), sequential_interval(values, looks), Patterns(values, looks)
    )  # fmt: skip
    assert interval is not None
    assert (p < ALPHA) == (not interval[0] <= 0 <= interval[1])
    for tests in (1, 2, 3, 8):
        decides = all(patterns.rejects(ALPHA / m) for m in range(1, tests + 1))
        assert (p * tests <= ALPHA * (1 + 1e-9)) == decides


def test_what_a_look_rejected_stays_rejected():
    values = np.array([1.0] * 8 + [-3.0] * 4)
    assert sequential_p(values[:6], looks_of(12, 6)) == pytest.approx(2 / 2**6 * 2)
    early, late = (sequential_p(values, looks_of(12, n)) for n in (8, 12))
    assert early == late < ALPHA < sign_flip(values).p_value


def test_before_the_first_look_nothing_is_told():
    assert sequential_p([0.1] * 5, []) == 1.0
    assert sequential_interval([0.1] * 5, []) is None
    assert sequential_interval([0.1] * 6, looks_of(24, 8)[:0]) is None


def test_there_is_no_interval_if_an_early_look_rejects_the_mean_of_all_pairs():
    values = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, -2.5, -2.4, -2.6, -2.5]
    assert sequential_p(values, looks_of(24, 12)) < ALPHA
    assert sequential_interval(values, looks_of(24, 12)) is None
    assert sequential_interval([0.0] * 8, looks_of(24, 8)) == (0.0, 0.0)


def test_a_look_counts_once_an_arm_has_its_last_seed_and_pairs_may_lack():
    resolved = {
        "replicate": {"until": "decided", "most": 12},
        "search": {"seed": 3},
        "tasks": ["t"],
    }
    design = Design.of(resolved)
    assert design is not None
    order = design.order["t"]
    assert order[:8] == Replicate(seeds=8).seeds_on("t", 3)
    lacking = [*order[:5], order[6]]
    assert design.looks_at("t", lacking, [order[:7], lacking]) == [Look(pairs=5, share=6 / 12)]
    assert [look.pairs for look in design.looks_at("t", lacking, [order[:8], lacking])] == [5, 6]
    assert len(design.until(6).looks_at("t", lacking, [order[:8], lacking])) == 1
    # An arm that another claim needs has more seeds than the arm beside it.
    assert len(design.looks_at("t", order[:6], [order[:8], order[:6]])) == 1
    assert design.looks_at("t", order[:5], [order[:5], order[:5]]) == []
    # The last seed of a look may fail in each arm, once no trial is to end.
    ended = Design.of(resolved, has_ended=True)
    assert ended is not None
    assert ended.looks_at("t", order[:5], [order[:5], order[:5]]) == [Look(pairs=5, share=6 / 12)]
    assert design.until(6).looks_at("t", order[:5], [order[:5]]) == [Look(pairs=5, share=6 / 12)]
    assert len(ended.looks_at("t", order[:6], [order[:6], order[:6]])) == 1
    assert Design.of({"replicate": {"seeds": 8}}) is None


def test_the_simulated_error_is_at_most_alpha_and_the_power_is_between_those_of_8_and_24_pairs():
    rng, experiments = np.random.default_rng(0), 300
    drawn = rng.normal(size=(experiments, 24))
    error = np.mean([rejects_by_any_look(values, ALPHA) for values in drawn])
    assert error <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / experiments)
    power = np.mean([rejects_by_any_look(values + 0.9, ALPHA) for values in drawn])
    few = np.mean([sign_flip(values[:8] + 0.9).p_value < ALPHA for values in drawn])
    assert few + 0.2 < power <= 1


def test_futile_is_what_the_most_pairs_would_hardly_show():
    assert is_futile(mean=0.1, sd=1.0, most=24, alpha=ALPHA)
    assert not is_futile(mean=0.5, sd=1.0, most=24, alpha=ALPHA)
    assert is_futile(mean=0.3, sd=1.0, most=24, alpha=ALPHA / 10)
    assert is_futile(mean=0.0, sd=0.0, most=24, alpha=ALPHA)
    assert not is_futile(mean=1.0, sd=0.0, most=24, alpha=ALPHA)
