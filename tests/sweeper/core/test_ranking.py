"""What is best: by validation alone, over replicates where there are any, the earlier of equals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.core.ranking import ranked, replicates_of
from sweeper.model import Trial, TrialKind, TrialState


def trial(number: int, value: float | None, **changes) -> Trial:
    settings = {"kind": TrialKind.SAMPLED, "state": TrialState.COMPLETE, "seed": number}
    return Trial(study="s", number=number, params={}, value=value, **settings | changes)


def replicate(number: int, origin: int, value: float | None, **changes) -> Trial:
    return trial(number, value, **{"kind": TrialKind.REPLICATE, "origin": origin} | changes)


def numbers(*trials: Trial) -> list[int]:
    return [t.number for t in ranked(trials)]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), max_size=8), st.randoms())
def test_without_replicates_it_is_the_order_of_values_then_of_numbers(values, random):
    trials = [trial(number, value) for number, value in enumerate(values)]
    expected = [number for _, number in sorted((v, n) for n, v in enumerate(values))]
    random.shuffle(trials)
    assert numbers(*trials) == expected


def test_a_lucky_seed_stands_behind_a_lower_mean_over_replicates():
    lucky = [trial(0, 0.1), replicate(100, 0, 0.5), replicate(101, 0, 0.5)]
    steady = [trial(1, 0.2), replicate(102, 1, 0.3), replicate(103, 1, 0.4)]
    assert numbers(*lucky, *steady, trial(2, 0.05)) == [1, 0, 2]


def test_more_complete_replicates_go_before_a_lower_mean():
    failed = replicate(101, 0, None, state=TrialState.FAILED)
    brittle = [trial(0, 0.1), replicate(100, 0, 0.1), failed]
    steady = [trial(1, 0.2), replicate(102, 1, 0.3), replicate(103, 1, 0.3)]
    assert numbers(*brittle, *steady) == [1, 0]


def test_replicates_that_run_change_nothing():
    waiting = [replicate(100 + k, 1, None, state=TrialState.RUNNING) for k in range(3)]
    assert numbers(trial(0, 0.1), trial(1, 0.2), *waiting) == [0, 1]


@pytest.mark.parametrize(
    "rival",
    [
        {"kind": TrialKind.CONTROL}, {"kind": TrialKind.RERUN}, {"kind": TrialKind.REPLICATE},
        {"state": TrialState.PRUNED}, {"state": TrialState.FAILED}, {"state": TrialState.RUNNING},
        {"value": math.nan}, {"value": -math.inf}, {"value": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_candidate_or_has_no_finite_value_is_not_ranked(rival):
    assert numbers(trial(0, **{"value": 0.1} | rival), trial(1, 0.2)) == [1]


def test_a_preset_may_be_best_and_test_values_choose_nothing():
    preset = trial(0, 0.1, kind=TrialKind.PRESET, test={"test/nrmse": 0.9})
    assert numbers(preset, trial(1, 0.2, test={"test/nrmse": 0.1})) == [0, 1]


def test_replicates_belong_to_what_they_repeat():
    first, second = replicate(100, 0, 0.1), replicate(101, 0, 0.2)
    assert replicates_of([trial(0, 0.1), first, trial(1, 0.2), second]) == {0: [first, second]}
