"""The expected gain of a longer search: closed forms, subsets, and truth on simulated searches."""

import random
import statistics
from itertools import combinations

import pytest

from sweeper.analysis.expected_gain import FEWEST, expected_best, expected_gain, gain_of
from sweeper.analysis.prose import search_notes
from sweeper.analysis.table import StudyTable
from sweeper.model import Study, Trial, TrialKind, TrialState

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


@pytest.mark.parametrize("m", range(1, 8))
def test_the_expected_best_is_the_mean_over_all_subsets(m: int):
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0]
    subsets = [min(subset) for subset in combinations(values, m)]
    assert expected_best(values, m) == pytest.approx(statistics.fmean(subsets))


@pytest.mark.parametrize("n", [16, 17, 100, 4096])
def test_the_least_of_m_of_the_first_n_numbers_has_its_closed_form(n: int):
    values = [float(k) for k in range(1, n + 1)]
    for m in (1, 2, n // 2, n - 1, n):
        assert expected_best(values, m) == pytest.approx((n + 1) / (m + 1))
    half, quarter, eighth = ((n + 1) / (n // part + 1) for part in (2, 4, 8))
    gain = (half - 1) * min(1.0, (quarter - half) / (eighth - quarter))
    assert expected_gain(values) == pytest.approx(gain)


@pytest.mark.parametrize("power", [1.0, 0.5, 0.25])
def test_the_estimate_is_near_the_true_gain_of_random_searches(power: float):
    rng = random.Random(0)
    told, true = [], []
    for _ in range(1500):
        draws = [rng.random() ** power for _ in range(128)]  # P(value < x) = x^(1 / power)
        told.append(expected_gain(draws[:64]) or 0.0)
        true.append(min(draws[:64]) - min(draws))
    assert 1 < statistics.fmean(told) / statistics.fmean(true) < 1.25


def test_a_scaled_objective_scales_the_gain_and_a_shift_changes_nothing():
    rng = random.Random(1)
    values = [rng.random() for _ in range(20)]
    gain = expected_gain(values)
    assert gain is not None
    assert gain > 0
    assert expected_gain([3 * v for v in values]) == pytest.approx(3 * gain)
    assert expected_gain([v + 5 for v in values]) == pytest.approx(gain)
    assert expected_gain(values[::-1]) == pytest.approx(gain)


def test_few_values_tell_nothing_and_equal_ones_promise_nothing():
    assert expected_gain([1.0] * (FEWEST - 1)) is None
    assert expected_gain([1.0] * FEWEST) == 0.0


def table(*, ended_early: str | None = None) -> StudyTable:
    def trial(number: int, state: TrialState, kind: TrialKind = TrialKind.SAMPLED) -> Trial:
        value = None if state is TrialState.FAILED else 1 / (1 + number)
        return Trial(study=STUDY.name, number=number, kind=kind, params={}, seed=0, state=state,
                     value=value)  # fmt: skip

    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.COMPLETE]
    trials = [trial(99, TrialState.COMPLETE, TrialKind.PRESET)]
    trials += [trial(number, states[number % 4]) for number in range(32)]
    return StudyTable(study=STUDY, facts={}, trials=tuple(trials), ended_early=ended_early)


def test_a_study_has_the_gain_of_its_sampled_trials_with_values():
    found = gain_of(table())
    assert found is not None
    assert (found.trials, found.best) == (24, 1 / 32)
    values = [1 / (1 + number) for number in range(32) if number % 4 != 2]
    assert found.gain == expected_gain(values)


def test_the_notes_say_why_a_search_ended_and_what_more_would_gain():
    early, gain = search_notes(table(ended_early="`budget.epochs: 9` is spent"))
    assert early == "nft/t: its search ended early: `budget.epochs: 9` is spent"
    assert gain.startswith("nft/t: 24 more trials would be expected to improve val/nrmse 0.0312 by")
