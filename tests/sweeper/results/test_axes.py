"""Axes: from the file where it says, from the values where it does not; always wide enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.results.importance import axes, axis, position, sampled_trials
from sweeper.spec.distributions import Choice, Float, Int
from tests.support.ledgers import RESOLVED, TASK, tuned_study


@pytest.mark.parametrize(
    ("written", "occurred", "expected"),
    [
        (
            {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3},
            [1e-5],
            Float(low=1e-6, high=1e-3, log=True),
        ),
        ({"distribution": "uniform", "min": 0, "max": 1}, [0.5], Float(low=0.0, high=1.0)),
        ({"min": 1, "max": 9}, [3, 4], Int(low=1, high=9)),
        ({"values": [1, 3, 5]}, [3], Choice(values=(1, 3, 5))),
        ({"values": ["a"]}, ["b"], Choice(values=("a", "b"))),
        ({"min": 0.1, "max": 0.2}, [0.5], Float(low=0.1, high=0.5)),
        (None, [0.1, 0.3], Float(low=0.1, high=0.3)),
        (None, ["sgd", "adam", "sgd"], Choice(values=("sgd", "adam"))),
        (None, [True, False], Choice(values=(True, False))),
        (None, [1, 5], Int(low=1, high=5)),
    ],
)
def test_an_axis_is_what_the_file_says_widened_to_what_occurred(written, occurred, expected):
    assert axis(written, occurred) == expected


@given(st.lists(st.floats(1e-8, 1e8), min_size=1), st.booleans())
def test_every_value_lies_on_its_axis(values, is_log):
    written = {"distribution": "log_uniform_values"} if is_log else {}
    along = axis(written, values)
    assert all(-1e-9 <= position(v, along) <= 1 + 1e-9 for v in values)


def test_the_middle_of_a_logarithmic_axis_is_the_geometric_mean():
    assert position(1e-4, Float(low=1e-6, high=1e-2, log=True)) == pytest.approx(0.5)
    assert position(5, Int(low=0, high=10)) == 0.5
    assert position("b", Choice(values=("a", "b", "c"))) == 0.5
    assert position("a", Choice(values=("a",))) == 0.5
    assert position(3, Int(low=3, high=3)) == 0.5


def test_only_complete_sampled_trials_are_compared(ledger):
    study = tuned_study(ledger, f"mona/{TASK}")
    trials = sampled_trials(study)
    assert [t.number for t in trials] == [2]
    found = axes(trials, RESOLVED["parameters"])
    assert list(found) == ["refine.lr", "refine.optimizer"]
