"""How many trials a sweep may run beside others."""

import pytest

from sweeper.app.share import LOOK_S, Share
from sweeper.execution.cluster import is_driver
from sweeper.runner import SweepRunner
from tests.fakes import FixedSampler, new_ledger, plan


@pytest.mark.parametrize(
    ("slots", "sweeps", "limit"), [(8, 1, None), (8, 2, 4), (8, 3, 3), (2, 5, 1), (1, 2, 1)]
)
def test_the_slots_are_divided_by_the_sweeps_and_each_has_at_least_one(
    tmp_path, slots, sweeps, limit
):
    runner = SweepRunner([plan(FixedSampler([]), num_trials=0)], new_ledger(tmp_path))
    Share(slots, lambda: sweeps, lambda line: None).look(runner)
    assert runner.limit == limit


def test_a_sweep_at_its_limit_starts_nothing_and_goes_on_once_it_is_alone(tmp_path):
    suggestions = [{"refine.lr": lr} for lr in (0.1, 0.2, 0.3)]
    runner = SweepRunner([plan(FixedSampler(suggestions), num_trials=3)], new_ledger(tmp_path))
    now, sweeps, said = [0.0], [2], []
    share = Share(2, lambda: sweeps[0], said.append, clock=lambda: now[0])
    share.look(runner)
    assert runner.next_trial() is not None
    assert runner.next_trial() is None
    sweeps[0] = 1
    share.look(runner)
    assert runner.next_trial() is None, "it does not ask all the time"
    now[0] += LOOK_S
    share.look(runner)
    assert runner.next_trial() is not None
    assert said == [
        "2 sweeps share the cluster: this one runs 1 at a time.",
        "all slots are this sweep's.",
    ]


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("/usr/bin/python -m sweeper.app.driver", True),
        ("/usr/bin/python /x/sweeper/app/driver.py", True),
        ("python train.py", False),
        ("python -m sweeper.cli.main launch", False),
    ],
)
def test_a_driver_is_known_by_its_command(entrypoint, expected):
    assert is_driver(entrypoint) is expected
