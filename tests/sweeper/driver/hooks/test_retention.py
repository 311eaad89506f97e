"""Which checkpoints of trials that have ended are left, and what is said of those that are not."""

import json
import os
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.driver.hooks.retention import Retention
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.records import name_in
from sweeper.model import Outcome, Trial, TrialKind, TrialState
from sweeper.planning.checkpoint_paths import CheckpointPaths, folder_of_trial
from sweeper.spec.schema import Checkpoints
from tests.support.fakes import STUDY, new_ledger
from tests.support.servers.process import wait_until
from tests.support.trials import begin, measured, sampled
from trainables.errors import StorageError
from trainables.storage import artifacts

SIZE = 500_000
TRIAL = sampled(STUDY.name)


@pytest.fixture
def ledger(tmp_path):
    with closing(new_ledger(tmp_path)) as ledger:
        ledger.add_study(STUDY)
        yield ledger


def end(
    ledger: Ledger,
    folder: Path,
    number: int,
    value: float,
    state: TrialState = TrialState.COMPLETE,
    files: tuple[str, ...] = ("last",),
    origin: int | None = None,
) -> Trial:
    """Run a trial to its end, with a checkpoint whose files have `SIZE` bytes each.

    Its place is in the trial that is returned; the ledger has its name.
    """
    kind = TrialKind.SAMPLED if origin is None else TrialKind.REPLICATE
    trial = sampled(STUDY.name, number, kind=kind, origin=origin)
    attempt = begin(ledger, trial)
    checkpoint = folder_of_trial(folder, trial) / "attempt-1" / "refine-0001"
    checkpoint.mkdir(parents=True)
    names = [f"{file}.safetensors" for file in files]
    for name in names:
        (checkpoint / name).write_bytes(bytes(SIZE))
    (checkpoint / "manifest.json").write_text(json.dumps(dict.fromkeys(names, "0" * 64)))
    told = measured(1, value, checkpoint=name_in(str(checkpoint)))
    ledger.measure(trial.study, number, attempt, told, Outcome(state=state))
    return CheckpointPaths(folder).placed(ledger.trial(trial.study, number))


def left(ledger: Ledger, folder: Path) -> list[int]:
    kept = [CheckpointPaths(folder).placed(t) for t in ledger.trials() if t.checkpoint is not None]
    assert all(Path(t.checkpoint).is_dir() for t in kept)
    return [t.number for t in kept]


def run(ledger: Ledger, folder: Path, keep: Checkpoints) -> list[int]:
    """End five trials, the last one pruned, under `keep`; return which keep a checkpoint."""
    retention = Retention(CheckpointPaths(folder), keep, ledger)
    for number, value in enumerate([0.5, 0.2, 0.9, 0.4, 0.1]):
        state = TrialState.PRUNED if number == 4 else TrialState.COMPLETE
        retention.changed(end(ledger, folder, number, value, state))
    retention.close()
    return left(ledger, folder)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [({}, [0, 1, 2, 3, 4]), ({"pruned": False}, [0, 1, 2, 3]), ({"trials": 2}, [1, 3])],
)
def test_all_keep_theirs_unless_the_file_says_otherwise(ledger, tmp_path, keep, kept):
    assert run(ledger, tmp_path, Checkpoints(**keep)) == kept


def test_a_cap_holds_takes_the_worst_first_and_says_what_it_took(ledger, tmp_path):
    assert run(ledger, tmp_path, Checkpoints(max_bytes="2MB")) == [0, 1, 3]
    dropped = [e for e in ledger.events() if e.kind is EventKind.CHECKPOINT_DROPPED]
    assert {e.number for e in dropped} == {2, 4}, "the worst, and the pruned one"
    assert all("checkpoints.max_bytes (2000000 bytes)" in e.payload["reason"] for e in dropped)
    files = [p for p in tmp_path.rglob("*.safetensors") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 2_000_000


def test_what_was_kept_before_a_restart_counts(ledger, tmp_path):
    end(ledger, tmp_path, 7, 0.7, TrialState.COMPLETE)
    assert run(ledger, tmp_path, Checkpoints(trials=2)) == [1, 3]


FILES = ("best", "last")
PAUSED = replace(TRIAL, number=9, attempt=1, state=TrialState.PAUSED)


def pause(ledger: Ledger, folder: Path, value: float) -> Trial:
    """Pause trial 9 with a named checkpoint of 1 MB, and one of the epoch before."""
    paused = end(ledger, folder, PAUSED.number, value, TrialState.PAUSED, FILES)
    former = folder_of_trial(folder, PAUSED) / "attempt-1" / "refine-0000"
    former.mkdir()
    (former / "manifest.json").write_text("{}")
    return paused


@pytest.mark.parametrize("keep", [Checkpoints(pruned=False, last=0, best=0), Checkpoints(trials=1)])
def test_a_paused_trial_keeps_its_last_checkpoint_whole_and_that_alone(ledger, tmp_path, keep):
    retention = Retention(CheckpointPaths(tmp_path), keep, ledger)
    retention.changed(pause(ledger, tmp_path, 9.9))
    retention.changed(end(ledger, tmp_path, 0, 0.5, files=FILES))
    retention.close()
    attempt = folder_of_trial(tmp_path, PAUSED) / "attempt-1"
    assert os.listdir(attempt) == ["refine-0001"]
    assert sorted(os.listdir(attempt / "refine-0001")) == [
        "best.safetensors",
        "last.safetensors",
        "manifest.json",
    ]
    assert PAUSED.number in left(ledger, tmp_path)


@pytest.mark.parametrize("launches", [1, 2])
def test_a_paused_trial_counts_towards_the_cap_which_takes_it_once_all_studies_are_done(
    ledger, tmp_path, launches
):
    keep = Checkpoints(max_bytes="2.1MB")
    retention = Retention(CheckpointPaths(tmp_path), keep, ledger)
    paused = pause(ledger, tmp_path, 9.9)
    retention.changed(paused)
    if launches == 2:  # an earlier launch paused it
        retention.close()
        retention = Retention(CheckpointPaths(tmp_path), keep, ledger)
    for number in range(2):
        retention.changed(end(ledger, tmp_path, number, 0.5 + number, files=FILES))
    wait_until(lambda: left(ledger, tmp_path) == [0, PAUSED.number], timeout_s=20, what="1")
    retention.changed(end(ledger, tmp_path, 2, 0.1, files=FILES))
    retention.close()
    assert left(ledger, tmp_path) == [2, PAUSED.number]  # the best stays, and both fit

    less = Checkpoints(max_bytes="1.1MB")
    Retention(CheckpointPaths(tmp_path), less, ledger, are_done=lambda: False).close()
    assert left(ledger, tmp_path) == [2, PAUSED.number]  # interrupted
    Retention(CheckpointPaths(tmp_path), less, ledger, are_done=lambda: True).close()
    assert left(ledger, tmp_path) == [2]


@pytest.mark.parametrize("state", [TrialState.PAUSED, TrialState.FAILED])
def test_a_new_attempt_at_a_trial_whose_checkpoint_was_dropped_keeps_its_files(
    ledger, tmp_path, state
):
    """It starts while the files of the former attempts are still to be deleted."""
    ended = end(ledger, tmp_path, 0, 0.5, state)
    ledger.drop_checkpoint(ended.study, ended.number, "beyond the cap")
    later = folder_of_trial(tmp_path, ended) / "attempt-2" / "refine-0001"
    later.mkdir(parents=True)
    (later / "manifest.json").write_text("{}")
    Retention(CheckpointPaths(tmp_path), Checkpoints(), ledger).close()
    assert later.is_dir()
    assert not Path(ended.checkpoint).exists()


def test_nothing_of_a_trial_that_was_promoted_meanwhile_is_deleted(ledger, tmp_path):
    retention = Retention(CheckpointPaths(tmp_path), Checkpoints(max_bytes="1.1MB"), ledger)
    paused = pause(ledger, tmp_path, 9.9)
    later = folder_of_trial(tmp_path, PAUSED) / "attempt-2" / "refine-0002"
    later.mkdir(parents=True)
    (later / "manifest.json").write_text("{}")
    retention.changed(paused)
    retention.changed(replace(paused, state=TrialState.RUNNING, attempt=2))
    retention.changed(end(ledger, tmp_path, 0, 0.5, files=FILES))
    retention.close()
    assert later.is_dir()
    assert left(ledger, tmp_path) == [0, PAUSED.number]


def test_what_is_left_of_a_crashed_trial_is_the_checkpoint_that_the_ledger_names(ledger, tmp_path):
    """Its process died after it had saved one more, and while it was writing another."""
    attempt = folder_of_trial(tmp_path, TRIAL) / "attempt-1"
    for name in ("refine-0001", "refine-0002", "refine-0003", ".refine-0004.partial"):
        (attempt / name).mkdir(parents=True)
        (attempt / name / "manifest.json").write_text("{}")
    ended = replace(
        TRIAL, attempt=1, checkpoint=str(attempt / "refine-0002"), state=TrialState.FAILED
    )
    retention = Retention(CheckpointPaths(tmp_path), Checkpoints(), ledger)
    retention.changed(ended)
    retention.close()
    assert os.listdir(attempt) == ["refine-0002"]


BOTH = ("best", "last", "optimizer")
THIN = Checkpoints(best=1, last=0, max_bytes="1.6MB")


def test_what_fits_once_it_is_thin_stays(ledger, tmp_path):
    """Three trials of a third of the cap each, which had three times as much when they ended."""
    retention = Retention(CheckpointPaths(tmp_path), THIN, ledger)
    for number, value in enumerate([0.5, 0.2, 0.9]):
        retention.changed(end(ledger, tmp_path, number, value, files=BOTH))
    retention.close()
    assert left(ledger, tmp_path) == [0, 1, 2]
    assert {path.name for path in tmp_path.rglob("*.safetensors")} == {"best.safetensors"}


def test_what_a_killed_driver_had_not_thinned_is_thinned_before_it_is_measured(ledger, tmp_path):
    for number, value in enumerate([0.5, 0.2, 0.9]):
        end(ledger, tmp_path, number, value, files=BOTH)
    Retention(CheckpointPaths(tmp_path), THIN, ledger).close()
    assert left(ledger, tmp_path) == [0, 1, 2]
    assert {path.name for path in tmp_path.rglob("*.safetensors")} == {"best.safetensors"}


def test_what_a_store_did_not_measure_is_not_nothing(ledger, tmp_path, monkeypatch):
    """Nothing is deleted for it meanwhile, and once the store answers, the cap holds."""
    asked, sizes = threading.Event(), artifacts.sizes

    def refuse_once(place: str, **options: float) -> dict[str, int]:
        if not asked.is_set():
            asked.set()
            raise StorageError("the store did not answer")
        return sizes(place, **options)

    monkeypatch.setattr(artifacts, "sizes", refuse_once)
    retention = Retention(CheckpointPaths(tmp_path), Checkpoints(max_bytes="1.1MB"), ledger)
    retention.changed(end(ledger, tmp_path, 0, 0.1))
    assert asked.wait(60)
    for number, value in enumerate([0.2, 0.3], start=1):
        retention.changed(end(ledger, tmp_path, number, value))
    retention.close()
    assert left(ledger, tmp_path) == [0, 1]


def test_what_a_killed_driver_said_to_be_deleted_is_deleted_when_the_sweep_goes_on(
    ledger, tmp_path
):
    trial = end(ledger, tmp_path, 0, 0.5)
    ledger.drop_checkpoint(trial.study, trial.number, "not among the best")
    assert Path(trial.checkpoint).is_dir()
    Retention(CheckpointPaths(tmp_path), Checkpoints(), ledger).close()
    assert not Path(trial.checkpoint).exists()
    assert folder_of_trial(tmp_path, trial).is_dir(), "its logs stay"


def test_what_a_store_did_not_delete_is_deleted_when_the_next_trial_ends(
    ledger, tmp_path, monkeypatch
):
    asked: list[str] = []
    delete = artifacts.delete

    def refuse_once(place: str, **options: float) -> None:
        asked.append(place)
        if len(asked) == 1:
            raise StorageError("the store did not answer")
        delete(place, **options)

    monkeypatch.setattr(artifacts, "delete", refuse_once)
    retention = Retention(CheckpointPaths(tmp_path), Checkpoints(pruned=False), ledger)
    pruned = [end(ledger, tmp_path, number, 0.5, TrialState.PRUNED) for number in range(2)]
    for trial in pruned:
        retention.changed(trial)
    retention.close()
    assert sorted(asked) == sorted([pruned[0].checkpoint, *(t.checkpoint for t in pruned)])
    assert not any(Path(trial.checkpoint).exists() for trial in pruned)


def test_what_cannot_be_thinned_does_not_switch_the_cap_off(ledger, tmp_path, monkeypatch):
    """Checkpoints of trial 1 are of another user."""
    real = artifacts.list_checkpoints
    refused = str(folder_of_trial(tmp_path, replace(TRIAL, number=1)))

    def listed(place: str, **options: float) -> list[str]:
        if place == refused:
            raise StorageError("permission denied")
        return real(place, **options)

    monkeypatch.setattr(artifacts, "list_checkpoints", listed)
    assert run(ledger, tmp_path, Checkpoints(max_bytes="1.1MB")) == [0, 1, 3]


def test_the_best_over_replicates_is_spared(ledger, tmp_path):
    """By its value in the search the first is better, and over replicates the second."""
    paths, cap = CheckpointPaths(tmp_path), Checkpoints(max_bytes="1MB")
    retention = Retention(paths, cap, ledger, repeated=2)
    for number, value, origin in [(0, 0.20, None), (1, 0.21, None), (2, 0.3, None), (9, 0.19, 0)]:
        retention.changed(end(ledger, tmp_path, number, value, origin=origin))
    retention.close()
    assert left(ledger, tmp_path) == [0, 1]
    end(ledger, tmp_path, 10, 0.18, origin=1)
    Retention(paths, cap, ledger, repeated=2).close()
    assert left(ledger, tmp_path) == [0, 1]
    one = Checkpoints(trials=1)
    Retention(CheckpointPaths(tmp_path), one, ledger).close()
    assert left(ledger, tmp_path) == [1]


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in (folder / "trials").rglob("*") if p.is_file())


@pytest.mark.parametrize("max_bytes", [None, "2MB"])
@pytest.mark.parametrize("by_name", [True, False], ids=["names", "places"])
def test_a_sweep_that_was_moved_keeps_all_that_it_had(
    ledger, tmp_path, by_name, max_bytes, monkeypatch
):
    """With a cap that holds, and whether or not its ledger still names where it was."""
    before, after = tmp_path / "before", tmp_path / "after"
    if not by_name:
        monkeypatch.setitem(globals(), "name_in", str)
    for number in range(3):
        end(ledger, before, number, 0.1)
    had = files_in(before)
    assert len(had) == 6
    before.rename(after)
    keep = Checkpoints() if max_bytes is None else Checkpoints(max_bytes=max_bytes)
    Retention(CheckpointPaths(after), keep, ledger).close()
    assert files_in(after) == had
    assert left(ledger, after) == [0, 1, 2]
    capped = Checkpoints(max_bytes="1.1MB")
    Retention(CheckpointPaths(after), capped, ledger).close()
    assert left(ledger, after) == [0, 1], "the cap holds there as it did"
    assert not before.exists()


@pytest.mark.parametrize(
    "keep",
    [{"max_bytes": "1MB"}, {"trials": 1}, {"pruned": False}, {"best": 0, "max_bytes": "1MB"}],
    ids=str,
)
def test_nothing_of_a_trial_is_deleted_whose_checkpoint_does_not_exist(ledger, tmp_path, keep):
    """It lost its folder, or its manifest; what else it wrote may be all that there is of it."""
    said: list[str] = []
    for number in range(3):
        state = TrialState.PRUNED if number == 2 else TrialState.COMPLETE
        trial = end(ledger, tmp_path, number, 0.1 + number, state, files=BOTH)
        newest = Path(trial.checkpoint)
        shutil.copytree(newest, newest.with_name("refine-0000"))
        if number == 1:
            shutil.rmtree(newest)
        else:
            (newest / "manifest.json").unlink()
    had = files_in(tmp_path)
    for _ in range(2):
        Retention(CheckpointPaths(tmp_path), Checkpoints(**keep), ledger, say=said.append).close()
    assert files_in(tmp_path) == had
    noted = {e.number: e.payload["text"] for e in ledger.events(kinds=[EventKind.NOTED])}
    assert len(said) == len(noted) > 0, "each once, however often the sweep goes on"
    assert all(line.startswith(f"{STUDY.name}/") for line in said)
    for number, text in noted.items():
        place = folder_of_trial(tmp_path, replace(TRIAL, number=number)) / "attempt-1"
        assert (
            text == f"its checkpoint is not in {place}/refine-0001; nothing of this trial is "
            "deleted."
        )


def test_what_killed_writers_left_goes_when_a_sweep_goes_on_and_at_its_end(ledger, tmp_path):
    """Not what an attempt of this launch is writing, nor what only looks like a leftover."""
    ended, waiting = (replace(TRIAL, number=number) for number in (0, 1))
    end(ledger, tmp_path, 0, 0.5)
    ledger.add_trial(waiting)
    ledger.start_attempt(STUDY.name, 1)
    ledger.end_attempt(STUDY.name, 1, 1, Outcome(state=TrialState.INTERRUPTED))
    attempts = [folder_of_trial(tmp_path, waiting) / f"attempt-{k}" for k in (1, 2)]
    attempts.append(folder_of_trial(tmp_path, ended) / "attempt-1")
    partials = [attempt / ".refine-0003.partial" for attempt in attempts]
    for partial in partials:
        partial.mkdir(parents=True)
        (partial / "last.safetensors").write_bytes(bytes(SIZE))
    (attempts[0] / "log.txt.partial").touch()
    retention = Retention(CheckpointPaths(tmp_path), Checkpoints(), ledger)
    wait_until(lambda: not partials[0].exists(), timeout_s=30, what="the first one to go")
    assert partials[1].exists(), "this launch may be writing it"
    retention.changed(replace(waiting, attempt=2, state=TrialState.WAITING))
    wait_until(lambda: not partials[1].exists(), timeout_s=30, what="the second one to go")
    retention.close()
    assert not partials[2].exists()
    assert files_in(tmp_path) == [
        "trials/nft-t/0000/attempt-1/refine-0001/last.safetensors",
        "trials/nft-t/0000/attempt-1/refine-0001/manifest.json",
        "trials/nft-t/0001/attempt-1/log.txt.partial",
    ]


def test_what_was_written_in_part_counts_until_it_can_be_deleted(ledger, tmp_path, monkeypatch):
    """Here it is the folder of somebody else, which stays: two trials of three fit beside it."""
    trial = end(ledger, tmp_path, 0, 0.1)
    partial = Path(trial.checkpoint).with_name(".refine-0002.partial")
    partial.mkdir()
    (partial / "last.safetensors").write_bytes(bytes(SIZE))
    delete = artifacts.delete

    def refuse(place: str, **options: float) -> None:
        if place != str(partial):
            delete(place, **options)

    monkeypatch.setattr(artifacts, "delete", refuse)
    monkeypatch.setattr("sweeper.driver.hooks.retention.discard", list)
    for number, value in enumerate((0.2, 0.3), start=1):
        end(ledger, tmp_path, number, value)
    Retention(CheckpointPaths(tmp_path), Checkpoints(max_bytes="1.6MB"), ledger).close()
    assert left(ledger, tmp_path) == [0, 1]
