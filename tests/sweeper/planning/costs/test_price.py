"""The price of a sweep: closed forms on known numbers, and what must hold of any."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from sweeper.planning.costs.price import MARGIN, checkpoint_bytes, disk_bytes, predict
from sweeper.planning.costs.workload import workload_of
from sweeper.spec.schema import Checkpoints
from tests.support.pricing import calibration, sweep_of

CPU = ("cpu", 1.0)


def price(sweep, *, slots=1, found=None, devices=CPU, keep=None):
    (study,) = sweep.studies
    pairs = [(workload_of(sweep, study), found or calibration())]
    return asdict(predict(pairs, slots=slots, devices=devices, keep=keep or Checkpoints()))


def test_hours_are_epochs_times_seconds_and_one_beginning_a_process():
    told = price(sweep_of(search={"trials": 2}))
    assert told["epochs"] == {"low": 14, "expected": 14, "high": 14}
    seconds = {name: 3600 * hours for name, hours in told["trial_hours"].items()}
    assert seconds["expected"] == pytest.approx(5 + 2 * 2 + 12 * 1)
    assert seconds["low"] == pytest.approx((0 + 2 * 1 + 12 * 1) / MARGIN)
    assert seconds["high"] == pytest.approx((2 * 5 + 2 * 2 + 12 * 3) * MARGIN)


def test_each_trial_that_ends_its_epochs_is_tested_once():
    sweep = sweep_of(search={"trials": 2}, pruning={"type": "none"})
    with_test, without = (price(sweep, found=calibration(test_s=s)) for s in (60.0, 0.0))
    for end, factor in (("low", 1 / MARGIN), ("expected", 1.0), ("high", MARGIN)):
        longer = with_test["trial_hours"][end] - without["trial_hours"][end]
        assert 3600 * longer == pytest.approx(2 * 60 * factor)
    walls = [price(sweep, slots=100, found=calibration(test_s=s)) for s in (60.0, 0.0)]
    first, second = (3600 * told["wall_hours"]["expected"] for told in walls)
    assert first - second >= 60


def test_a_share_of_a_gpu_is_a_share_of_its_hours():
    told = price(sweep_of(), devices=("gpu", 0.5))
    assert told["device"] == "gpu"
    for end, hours in told["trial_hours"].items():
        assert told["device_hours"][end] == pytest.approx(hours / 2)


def test_more_slots_take_less_time_but_never_less_than_one_trial():
    walls = [price(sweep_of(), slots=slots)["wall_hours"] for slots in (1, 2, 4, 100)]
    assert walls[0] == pytest.approx(price(sweep_of())["trial_hours"])
    for fewer, more in pairwise(walls):
        assert more["expected"] < fewer["expected"]
    longest = 5 + 6 * 2 + 6 * 1
    assert 3600 * walls[-1]["expected"] >= longest


def test_what_a_study_takes_is_a_part_of_the_whole():
    (study,) = sweep_of().studies
    work = workload_of(sweep_of(), study)
    pairs = [(work, calibration()), (replace(work, study="another"), calibration())]
    told = asdict(predict(pairs, slots=2, devices=CPU, keep=Checkpoints()))
    for end, hours in told["trial_hours"].items():
        assert sum(each[end] for each in told["studies"].values()) == pytest.approx(hours)


@pytest.mark.parametrize(
    ("keep", "each"),
    [({}, 401), ({"best": 0}, 301), ({"last": 0}, 101), ({"best": 0, "last": 0}, 1)],
)
def test_disk_is_what_retention_leaves_of_each_trial(keep, each):
    assert checkpoint_bytes(calibration(), Checkpoints(**keep)) == each
    assert price(sweep_of(), keep=Checkpoints(**keep))["disk_bytes"] == 8 * each


def test_retention_can_say_how_many_and_how_much():
    sweep = sweep_of(search={"trials": 4000})
    (study,) = sweep.studies
    pair = workload_of(sweep, study), calibration()
    assert disk_bytes([pair, pair], Checkpoints(trials=3)) == 2 * 3 * 401
    assert disk_bytes([pair, pair], Checkpoints(max_bytes="2MB")) == 2 * 10**6
    best = disk_bytes([pair, pair], Checkpoints(trials=1))  # whose checkpoints stay in any case
    capped = Checkpoints(max_bytes="1MB")
    assert disk_bytes([pair, pair], capped.model_copy(update={"max_bytes": 1})) == best
    assert disk_bytes([pair, pair], Checkpoints(max_bytes="9MB")) == 2 * 4000 * 401
