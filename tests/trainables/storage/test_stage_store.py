"""Of processes that race for a result one computes it; one that is killed leaves it to the next."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from trainables.report import Report
from trainables.storage import claims
from trainables.storage.claims import try_claim
from trainables.storage.stage_gc import (
    StoredResult,
    collect,
    plan_collection,
    release,
    stored_results,
)
from trainables.storage.stage_store import StageResult, StageStore
from trainables.storage.urls import ArtifactUrl

RACERS, PREFIXES = 8, 4
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["trainables.storage.stage_store"])  # torch is imported once


def result(builder: str = "a", size: int = 4) -> StageResult:
    return StageResult(
        reports=(Report(stage="align", epoch=1, num_epochs=1, metrics={"align/loss": 0.1}),),
        changed={"model.weight": torch.arange(float(size))},
        state_hash="hash",
        builder=builder,
        seconds=1.5,
    )


@pytest.fixture
def store(tmp_path) -> StageStore:
    return StageStore(str(tmp_path / "stages"), tmp_path / "scratch")


def test_what_is_kept_is_found(store):
    assert store.find("k" * 64) is None
    store.keep("k" * 64, result())
    found = store.find("k" * 64)
    assert found is not None
    assert (found.reports, found.builder, found.seconds) == (result().reports, "a", 1.5)
    assert torch.equal(found.changed["model.weight"], torch.arange(4.0))


def race(folder: Path, racer: int) -> None:
    """Want every prefix, each racer in another order."""
    store = StageStore(str(folder / "stages"), folder / f"scratch-{racer}")
    left = [f"prefix{(racer + i) % PREFIXES}" for i in range(PREFIXES)]
    while left:
        key = left.pop(0)
        if store.find(key) is not None:
            continue
        with store.try_claim(key) as mine:
            if not mine:
                left.append(key)
            elif store.find(key) is None:
                with (folder / "built.txt").open("a") as file:
                    file.write(f"{key}\n")
                time.sleep(0.2)
                store.keep(key, result(str(racer)))
        time.sleep(0.01)


@pytest.mark.slow
def test_eight_processes_race_for_four_prefixes_and_each_is_computed_once(tmp_path):
    racers = [PROCESSES.Process(target=race, args=(tmp_path, racer)) for racer in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(90)
        assert racer.exitcode == 0
    built = (tmp_path / "built.txt").read_text().split()
    assert sorted(built) == [f"prefix{i}" for i in range(PREFIXES)]


def hold(folder: Path) -> None:
    store = StageStore(str(folder / "stages"), folder / "scratch")
    with store.try_claim("key") as mine:
        (folder / "held").write_text(str(mine))
        time.sleep(600)


def test_when_who_computes_is_killed_the_claim_is_free_at_once(tmp_path, store):
    holder = PROCESSES.Process(target=hold, args=(tmp_path,))
    holder.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "held").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with store.try_claim("key") as mine:
        assert not mine
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    with store.try_claim("key") as mine:
        assert mine


def test_a_result_that_was_cut_short_does_not_exist(tmp_path, store):
    store.keep("key", result())
    folder = tmp_path / "stages" / "results" / "key"
    (folder / "manifest.json").unlink()
    assert store.find("key") is None


GIB = 2**30


def stored(key: str, gib: int, used_at: float, *holders: str) -> StoredResult:
    return StoredResult(key=key, bytes=gib * GIB, used_at=float(used_at), holders=holders)


@pytest.mark.parametrize(
    ("results", "cap", "force", "gone"),
    [
        ([], 0, False, ""),
        ([stored("a", 1, 0), stored("b", 1, 1)], 2, False, ""),
        ([stored("a", 1, 5), stored("b", 1, 1)], 1, False, "b"),
        ([stored("a", 1, 5), stored("b", 9, 1), stored("c", 1, 2)], 2, False, "b"),
        ([stored("a", 1, 5, "sweep"), stored("b", 1, 6)], 1, False, "b"),
        ([stored("a", 1, 5, "sweep"), stored("b", 1, 6)], 1, True, "a"),
        ([stored("a", 1, 5, "sweep"), stored("b", 1, 6, "sweep")], 0, False, ""),
        ([stored("a", 1, 5, "sweep"), stored("b", 1, 6, "sweep")], 0, True, "ab"),
        ([stored("a", 1, 0), stored("b", 1, 0)], 1, False, "a"),
    ],
)
def test_what_was_used_longest_ago_goes_first_and_what_is_held_stays(results, cap, force, gone):
    plan = plan_collection(results, cap * GIB, force=force)
    assert "".join(r.key for r in plan.deleted) == gone
    assert {*plan.kept, *plan.deleted} == set(results)


def test_collecting_counts_references_and_deletes_what_nobody_holds(tmp_path):
    place = str(tmp_path / "stages")
    running = StageStore(place, tmp_path / "scratch", pin="running-1")
    plain = StageStore(place, tmp_path / "scratch")
    running.keep("held", result())
    plain.keep("free", result())
    plain.keep("used", result())
    for key, at in (("free", 10), ("used", 20)):
        for path in (tmp_path / "stages").rglob("*"):
            if key in str(path) and path.is_file():
                os.utime(path, (at, at))
    found = {r.key: r for r in stored_results(ArtifactUrl.parse(place))}
    assert {key: r.holders for key, r in found.items()} == {
        "held": ("running-1",), "free": (), "used": ()
    }  # fmt: skip
    one = found["held"].bytes
    told = collect(place, 2 * one, dry_run=True)
    assert [r.key for r in told.deleted] == ["free"]
    assert plain.find("free") is not None  # which also makes it the one used last
    assert [r.key for r in collect(place, 2 * one).deleted] == ["used"]
    assert collect(place, 0).kept_bytes == one
    release(place, "running-1")
    assert collect(place, 0).kept == ()
    assert plain.find("held") is None


def test_a_reference_follows_the_use(tmp_path):
    place = str(tmp_path / "stages")
    StageStore(place, tmp_path / "scratch").keep("key", result())
    other = StageStore(place, tmp_path / "scratch", pin="other")
    assert other.find("key") is not None
    (there,) = stored_results(ArtifactUrl.parse(place))
    assert there.holders == ("other",)


@pytest.fixture
def as_bucket(monkeypatch):
    """Have claims in a folder made as they are in a bucket: by objects."""
    monkeypatch.setattr(claims, "lend_by_lock", claims.lend_by_objects)
    monkeypatch.setattr(claims, "SETTLE_S", 0.05)
    monkeypatch.setattr(claims, "TOUCH_S", 0.05)


@pytest.mark.slow
def test_an_object_is_a_claim_while_it_is_touched(tmp_path, as_bucket, monkeypatch):
    monkeypatch.setattr(claims, "DEAD_S", 0.5)
    place = ArtifactUrl.parse(str(tmp_path / "claims" / "key"))
    with try_claim(place) as mine:
        assert mine
        time.sleep(1.0)
        with try_claim(place) as another:
            assert not another
    with try_claim(place) as mine:
        assert mine


def test_an_object_that_nobody_touches_any_more_is_no_claim(tmp_path, as_bucket, monkeypatch):
    place = ArtifactUrl.parse(str(tmp_path / "claims" / "key"))
    Path(place.path).mkdir(parents=True)
    dead = Path(place.path, "0" * 32)
    dead.touch()
    with try_claim(place) as mine:
        assert not mine
    os.utime(dead, (time.time() - 100, time.time() - 100))
    with try_claim(place) as mine:
        assert mine


def test_of_two_that_come_at_once_the_older_has_it(tmp_path, as_bucket, monkeypatch):
    place = ArtifactUrl.parse(str(tmp_path / "claims" / "key"))

    def meanwhile(seconds: float) -> None:
        del seconds
        other = Path(place.path, "f" * 32)
        other.touch()
        os.utime(other, (time.time() - 1, time.time() - 1))

    monkeypatch.setattr(claims.time, "sleep", meanwhile)
    with try_claim(place) as mine:
        assert not mine
