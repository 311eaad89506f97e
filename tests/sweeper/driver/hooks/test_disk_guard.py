"""When a sweep starts nothing new: a disk is full, or checkpoints do not get where they belong."""

import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.disk_guard import LAST_TRY, MIN_FREE_BYTES, PATIENCE_S, DiskGuard
from sweeper.errors import StorageFull
from sweeper.model import Trial
from sweeper.planning.checkpoint_paths import CheckpointPaths
from tests.support.fakes import FixedSampler, new_ledger, plan
from tests.support.trials import measured

Usage = namedtuple("Usage", "total used free")
AWAY = "s3://bucket/x: the store did not answer"


class Place:
    """A sweep with a store on another disk, and a clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.said = 0.0, list[str]()
        self.free = {folder / "s": 10**9, folder / "store": 10**9}
        self.store = folder / "store"
        self.store.mkdir()
        self.ledger = new_ledger(folder)
        sampler = FixedSampler([{"refine.lr": n / 10} for n in range(1, 9)])
        self.runner = SweepRunner([plan(sampler, num_trials=8)], self.ledger)
        paths = CheckpointPaths(folder / "s", str(self.store))
        self.guard = DiskGuard(self.runner, paths, 2, self.said.append, lambda: self.now)
        self.runner.watch(self.guard)
        monkeypatch.setattr(
            shutil,
            "disk_usage",
            lambda path: Usage(10**9, 10**9 - self.free[path], self.free[path]),
        )

    def start(self) -> Trial:
        trial = self.runner.next_trial()
        assert trial is not None
        return trial

    def fail(self, trial: Trial) -> None:
        self.runner.on_failure(trial, f"trainables.errors.StorageError: {AWAY}", reason=AWAY)

    def wait(self) -> float:
        """Return the seconds until new trials start."""
        since = self.now
        while self.runner.paused is not None:
            self.now += 1
            self.guard.tick()
        return self.now - since


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, monkeypatch)
    with closing(made.ledger):
        yield made


@pytest.mark.parametrize("name", ["s", "store"])
def test_a_full_disk_of_the_sweep_or_of_its_store_pauses_it_until_there_is_room(
    place, tmp_path, name
):
    place.guard.tick()
    assert place.runner.paused is None
    place.free[tmp_path / name] = MIN_FREE_BYTES - 1
    place.guard.tick()
    assert f"no space left on {tmp_path / name}: 8 of 1,000 MB free" in place.runner.paused
    assert place.runner.next_trial() is None
    place.free[tmp_path / name] = MIN_FREE_BYTES
    place.guard.tick()
    assert place.runner.paused is None
    assert [line.partition(". ")[2] or line for line in place.said] == [
        "No new trial starts until there is; what is done is safe.",
        "there is room again; going on.",
    ]


def test_a_disk_that_stays_full_ends_the_sweep_once_nothing_runs(place):
    trial = place.start()
    place.free[place.store] = 0
    for _ in range(3):
        place.now += PATIENCE_S
        place.guard.tick()
    place.fail(trial)
    place.guard.tick()
    place.now += PATIENCE_S + 1
    with pytest.raises(StorageFull, match=r"no space left on .*; 0 trials are complete.*resume s$"):
        place.guard.tick()


def test_trials_wait_longer_each_time_that_a_store_takes_no_checkpoint_and_then_it_is_over(place):
    waits = []
    for _ in range(LAST_TRY - 1):
        place.fail(place.start())
        assert place.runner.next_trial() is None, "not even before the next look"
        waits.append(place.wait())
    assert waits == [5, 10, 20, 40, 80]
    assert len(place.said) == LAST_TRY - 1
    place.fail(place.start())
    with pytest.raises(StorageFull, match=rf"try 6 of 6\): {AWAY}; 0 trials are complete"):
        place.guard.tick()
    assert place.runner.aborted is None, "it is no trial's fault"


def test_a_checkpoint_that_is_kept_begins_the_count_anew(place):
    place.fail(place.start())
    assert place.wait() == 5
    place.fail(place.start())
    assert place.wait() == 10
    trial = place.start()
    place.runner.on_report(trial, measured(checkpoint=str(place.store / "a")))
    place.fail(trial)
    assert place.wait() == 5


def test_what_ran_when_a_store_went_away_counts_once(place):
    trials = [place.start() for _ in range(6)]
    place.fail(trials[0])
    assert place.wait() == 5
    for trial in trials[1:]:
        place.fail(trial)
    assert place.runner.paused is None
    place.fail(place.start())
    assert place.wait() == 10


def test_the_end_waits_for_what_still_runs_and_a_checkpoint_of_it_lets_the_sweep_go_on(place):
    long = place.start()
    for _ in range(LAST_TRY):
        place.fail(place.start())
        place.now += 200
        place.guard.tick()
    assert place.runner.next_trial() is None
    place.runner.on_report(long, measured(checkpoint=str(place.store / "a")))
    place.guard.tick()
    assert place.runner.next_trial() is not None
