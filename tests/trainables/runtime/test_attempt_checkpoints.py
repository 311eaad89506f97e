"""Laws of a writer beside the training: whatever it is cut off from, nothing is lost or doubled."""

import errno
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sweeper.core.policies import classify
from sweeper.execution.ray_executor import as_measurement
from sweeper.planning.trials import measured
from tests.support.results import report_of
from trainables.report import Failed, Measured, Measurement, to_plain
from trainables.runtime import checkpoints, method_run
from trainables.runtime.attempt import Attempt
from trainables.runtime.attempt_checkpoints import AttemptCheckpoints
from trainables.runtime.checkpoints import BEST, Snapshot, Snapshots
from trainables.runtime.training import Training
from trainables.spec import AttemptConfig
from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import verify
from trainables.storage.stage_store import StageStore

STAGES, SETTINGS = ("refine",), {"refine.epochs": 7}
IMPOSSIBLE = {"refine.epochs": 0, "refine.lr": -1.0}


class Killed(BaseException):
    """The end of a process in the middle of a write."""


@pytest.fixture
def config(trials, tmp_path):
    def make(number: int = 1, *, method: str = "nft", epochs=SETTINGS, **settings) -> AttemptConfig:
        spec = trials.spec(method, "1d", epochs).model_dump(mode="json", by_alias=True)
        folder = str(tmp_path / f"attempt-{number}")
        return AttemptConfig(spec=spec, label="x", folder=folder, **settings)

    return make


@pytest.fixture(scope="module")
def undisturbed(trials):
    return trials.run(trials.spec("nft", "1d", SETTINGS))


def newest_in(folder: Path) -> list[str]:
    return [str(path) for path in folder.glob("attempt-*/[a-z]*-[0-9]*")]


def measurements_of(
    attempt: Attempt, steps: int, is_fatal: threading.Event, *, cuts: bool
) -> Iterator[Measurement]:
    """Yield those of some steps of an attempt. If it `cuts`, the last one's write is fatal."""
    for step in range(steps):
        if cuts and step == steps - 1:
            is_fatal.set()
        try:
            result = attempt.step()
        except Killed:  # it waited for the write that was cut
            return
        assert isinstance(result, Measured)
        assert result.notes == ()
        yield as_measurement(result)
        if result.is_last:
            return


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_killed_trial_goes_on_bit_for_bit_and_computes_one_interval_again_at_most(
    every, config, undisturbed, tmp_path, monkeypatch
):
    """Killed between any two reports, and as often in the middle of a write."""
    rng, write = random.Random(every), Snapshot.write
    is_fatal = threading.Event()

    def cut(snapshot, folder, former=None):
        if is_fatal.is_set():
            raise Killed
        write(snapshot, folder, former)

    monkeypatch.setattr(Snapshot, "write", cut)
    known, named, number = {}, None, 0
    while not any(measurement.is_final for measurement in known.values()):
        number += 1
        is_fatal.clear()
        last = list(known.values())[-1] if known else None
        resume = tuple(measured(named, newest_in(tmp_path), STAGES, last))
        attempt = Attempt(config(number, resume=resume, checkpoint_every=every))
        again, steps, cuts = 0, rng.randint(1, 4), rng.random() < 0.5
        if number > 6:
            steps, cuts = 99, False
        for measurement in measurements_of(attempt, steps, is_fatal, cuts=cuts):
            if measurement.checkpoint is not None:
                named = str(tmp_path / measurement.checkpoint)
            if named is not None:
                verify(Path(named))
            first = known.setdefault((measurement.stage, measurement.epoch), measurement)
            again += first is not measurement
            assert measurement.metrics == first.metrics
        assert again <= every
        with suppress(Killed):
            attempt.close()
    reports, weights = undisturbed
    assert [m.metrics for m in known.values()] == [report.metrics for report in reports]
    for file in ("last", "best"):
        for name, value in load_file(Path(named) / f"{file}.safetensors").items():
            assert torch.equal(value, weights[f"{file}.{name}"]), name


@pytest.mark.slow
def test_a_report_that_can_end_the_trial_names_its_own_checkpoint(config):
    epochs = {"meta.epochs": 2, "refine.epochs": 5}
    attempt = Attempt(config(method="mona", epochs=epochs, judged=(2,), checkpoint_every=3))
    named = [attempt.step().measurement.checkpoint for _ in range(7)]
    assert [place and Path(place).name for place in named] == [
        None, None, "meta-0002", "refine-0002", None, "refine-0003", "refine-0005"
    ]  # fmt: skip


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.slow
def test_a_write_that_fails_is_of_class_storage_with_the_next_report(config, tmp_path, monkeypatch):
    attempt = Attempt(config())
    attempt.step(), attempt.step()
    while len(newest_in(tmp_path)) < 2:
        time.sleep(0.02)
    monkeypatch.setattr(checkpoints, "save_tensors", no_space)
    told = attempt.step()
    assert isinstance(told, Measured)
    assert Path(told.measurement.checkpoint).name == "refine-0002"
    failed = attempt.step()
    assert isinstance(failed, Failed)
    assert classify(failed.traceback) == "storage"
    assert failed.reason.startswith("no space left on ")
    assert failed.checkpoint is None
    assert [Path(place).name for place in sorted(newest_in(tmp_path))] == [
        "refine-0001",
        "refine-0002",
    ]
    assert not list(tmp_path.glob("*/.*.partial"))


@pytest.mark.slow
def test_a_failed_attempt_names_the_checkpoint_that_was_being_written(config, tmp_path):
    attempt = Attempt(config())
    attempt.step()

    def fail(*_) -> None:
        raise ZeroDivisionError

    attempt.training.state.model.embedder.register_forward_hook(fail)
    failed = attempt.step()
    assert failed.error == "ZeroDivisionError"
    assert failed.checkpoint == str(tmp_path / "attempt-1" / "refine-0001")
    verify(Path(failed.checkpoint))


@pytest.fixture
def training(trials) -> Training:
    training = trials.begin(trials.spec("nft", "1d", {"refine.epochs": 3}))
    next(training.reports())
    return training


@pytest.mark.slow
def test_a_second_save_waits_for_the_first_and_each_has_its_own_state(
    training, tmp_path, monkeypatch
):
    begun, may_write, write = [], threading.Event(), Snapshot.write

    def wait(snapshot, folder, former=None):
        begun.append(folder.name)
        assert may_write.wait(20)
        write(snapshot, folder, former)

    monkeypatch.setattr(Snapshot, "write", wait)
    kept, snapshots = AttemptCheckpoints(tmp_path), Snapshots()
    first = {name: value.clone() for name, value in training.state.model.state_dict().items()}
    snapshots.write(training.state, kept, "refine-0001")
    with torch.no_grad():
        for parameter in training.state.model.parameters():
            parameter.add_(1)  # while the first is being written
    second = threading.Thread(target=snapshots.write, args=(training.state, kept, "refine-0002"))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert begun == ["refine-0001"]
    may_write.set()
    second.join(20)
    assert kept.newest() == str(tmp_path / "refine-0002")
    assert kept.newest() is None
    one, two = (load_file(tmp_path / f"refine-000{n}" / "last.safetensors") for n in (1, 2))
    assert all(torch.equal(value, first[name]) for name, value in one.items())
    assert all(torch.equal(v, training.state.model.state_dict()[n]) for n, v in two.items())


@pytest.fixture
def save(training, tmp_path):
    """Save the training as one attempt does, and return the file of its best weights."""
    kept, snapshots = AttemptCheckpoints(tmp_path), Snapshots()

    def save(name: str) -> Path:
        snapshots.write(training.state, kept, name)
        place = kept.newest()
        assert place is not None
        return Path(place) / BEST

    return save


@pytest.mark.parametrize("has_links", [True, False])
def test_unchanged_best_weights_are_linked_or_written_and_a_new_best_is_a_new_file(
    save, training, tmp_path, monkeypatch, has_links
):
    if not has_links:
        monkeypatch.setattr(os, "link", no_space)
    first, second = (save(f"refine-000{n}") for n in (1, 2))
    assert first.samefile(second) is has_links
    assert first.stat().st_nlink == (2 if has_links else 1)
    assert first.read_bytes() == second.read_bytes()
    training.state.epoch += 1
    training.state.keep_best(-1.0)
    third = save("refine-0003")
    assert third.stat().st_nlink == 1
    artifacts.thin(str(first.parent), best=False, last=True)
    for best in (second, third):
        verify(best.parent)
        assert load_file(best).keys() == training.state.best.weights.keys()
    fourth = save("refine-0004")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"refine-000{n}" for n in (2, 3, 4)]
    assert fourth.samefile(third) is has_links


def test_a_best_file_that_is_gone_is_written_again(save, training):
    save("refine-0001").unlink()
    second = save("refine-0002")
    verify(second.parent)
    found = load_file(second)
    assert all(torch.equal(found[n], w) for n, w in training.state.best.weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 3])
def test_an_attempt_that_leaves_its_node_saves_the_last_epoch_whatever_is_due(
    config, undisturbed, tmp_path, epochs
) -> None:
    leaving = Attempt(config(checkpoint_every=100))
    before = [leaving.step() for _ in range(epochs)]
    leaving.leave()
    leaving.leave()  # a second notice changes nothing
    leaving.close()
    (folder,) = newest_in(tmp_path)
    assert folder.endswith(f"refine-{epochs:04d}")
    verify(Path(folder))

    went_on = Attempt(config(2, resume=(folder,)))
    after = [went_on.step() for _ in range(SETTINGS["refine.epochs"] - epochs)]
    reports = [report_of(to_plain(result)) for result in (*before, *after)]
    assert reports == list(map(asdict, undisturbed[0]))


def test_an_attempt_that_never_began_leaves_nothing_behind(config, tmp_path) -> None:
    attempt = Attempt(config(epochs=IMPOSSIBLE))
    attempt.leave()
    assert newest_in(tmp_path) == []


def test_a_store_of_stages_has_as_long_to_respond_as_one_of_checkpoints(
    config, tmp_path, monkeypatch
) -> None:
    allowed = []

    def make(*where, **settings) -> StageStore:
        allowed.append(settings["timeout_s"])
        return StageStore(*where, **settings)

    monkeypatch.setattr(method_run, "StageStore", make)
    for timeout_s in (3.0, None):
        place = str(tmp_path / "stages")
        Attempt(config(epochs=IMPOSSIBLE, stage_store=place, store_timeout_s=timeout_s))
    assert allowed == [3.0, artifacts.TIMEOUT_S]
