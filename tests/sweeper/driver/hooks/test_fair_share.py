"""How many trials a sweep may run beside others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.fair_share import REFRESH_S, FairShare, share_of
from sweeper.execution.cluster import is_driver
from tests.support.fakes import FixedSampler, new_ledger, plan


@given(slots=st.integers(1, 100), sweeps=st.integers(1, 100))
def test_shares_are_the_slots_together_and_differ_by_at_most_one(slots, sweeps):
    shares = [share_of(slots, sweeps, place) for place in range(sweeps)]
    assert sum(shares) == max(slots, sweeps), "of more sweeps than slots each has one"
    assert max(shares) - min(shares) <= 1


def test_three_sweeps_on_four_slots_leave_each_other_room():
    assert [share_of(4, 3, place) for place in range(3)] == [2, 1, 1]


@pytest.mark.parametrize(("sweeps", "limit"), [(1, None), (2, 4), (3, 3), (9, 1)])
def test_a_sweep_has_all_slots_while_it_is_alone(tmp_path, sweeps, limit):
    runner = SweepRunner([plan(FixedSampler([]), num_trials=0)], new_ledger(tmp_path))
    FairShare(runner, 8, lambda: (0, sweeps), lambda line: None).tick()
    assert runner.limit == limit


def test_a_sweep_at_its_limit_starts_nothing_and_goes_on_once_it_is_alone(tmp_path):
    suggestions = [{"refine.lr": lr} for lr in (0.1, 0.2, 0.3)]
    runner = SweepRunner([plan(FixedSampler(suggestions), num_trials=3)], new_ledger(tmp_path))
    now, sweeps, said = [0.0], [2], []
    share = FairShare(runner, 2, lambda: (0, sweeps[0]), said.append, clock=lambda: now[0])
    share.tick()
    assert runner.next_trial() is not None
    assert runner.next_trial() is None
    sweeps[0] = 1
    share.tick()
    assert runner.next_trial() is None, "it does not ask all the time"
    now[0] += REFRESH_S
    share.tick()
    assert runner.next_trial() is not None
    assert said == [
        "2 sweeps share the cluster: this one runs 1 at a time.",
        "all slots are this sweep's.",
    ]


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("/usr/bin/python -m sweeper.driver", True),
        ("/usr/bin/python -m sweeper.driver mona_pdebench", True),
        ("/usr/bin/python /x/sweeper/driver/__main__.py", True),
        ("python train.py", False),
        ("python -m sweeper.cli.main launch", False),
    ],
)
def test_a_driver_is_known_by_its_command(entrypoint, expected):
    assert is_driver(entrypoint) is expected
