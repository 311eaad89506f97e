"""A stage that trials have in common is computed once, and nobody can tell by the result."""

import errno
import fcntl
import os
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

import pytest
from safetensors import SafetensorError

from tests.support.tiny_trials import DIMENSIONS, Trials, same_weights
from trainables.methods.registry import METHODS
from trainables.report import Report, Waiting
from trainables.runtime.training import Training
from trainables.spec import TrialSpec
from trainables.storage.stage_store import StageStore
from trainables.testing.small import weights

pytestmark = pytest.mark.slow

SHARING = [name for name, method in METHODS.items() if len(method.stages) > 1]
MORE_EPOCHS = {"orca": {"warmup.epochs": 2}}
ALIGN = {"warmup.epochs": 0}  # nothing but the alignment is shared
LATER = {
    "orca": "refine.lr",
    "mona": "refine.lr",
    "contrastive_pare": "replace.lr",
    "recraft": "refine.lr",
    "l2g": "refine.lr",
    "dash": "train.lr",
}


@pytest.fixture
def store(tmp_path) -> StageStore:
    return StageStore(str(tmp_path / "stages"), tmp_path / "scratch")


def begin(trials: Trials, spec: TrialSpec, store: StageStore, name: str) -> Training:
    return Training.begin(spec, trials.parts, store=store, name=name)


def measured(reports: list[Report]) -> list[Report]:
    return [replace(report, computed_by=None) for report in reports]


def test_every_method_with_an_early_stage_is_tried():
    assert sorted(SHARING) == sorted(LATER)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("method", SHARING)
def test_results_are_the_same_bits_with_and_without_a_store(trials, store, method, dimension):
    settings = MORE_EPOCHS.get(method, {})
    plain = trials.run(trials.spec(method, dimension, settings))
    for name in ("first", "second"):
        training = begin(trials, trials.spec(method, dimension, settings), store, name)
        reports = list(training.reports())
        assert measured(reports) == plain[0]
        assert same_weights(weights(training), plain[1])
        early = [report for report in reports if report.stage != training.stages[-1].name]
        expected = None if name == "first" else "first"
        assert early
        assert {report.computed_by for report in early} == {expected}


@pytest.mark.parametrize("method", SHARING)
def test_a_trial_with_another_later_stage_takes_the_early_ones_over(trials, store, method):
    other = {LATER[method]: 3e-3}
    list(begin(trials, trials.spec(method, "1d"), store, "first").reports())
    training = begin(trials, trials.spec(method, "1d", other), store, "second")
    early = [each for each in training.reports() if each.stage != training.stages[-1].name]
    assert {report.computed_by for report in early} == {"first"}
    assert same_weights(weights(training), trials.run(trials.spec(method, "1d", other))[1])


SCORERS = ("attn_received", "attn_query", "attn_received")  # each with extras of its own


def test_a_later_stage_with_other_parts_takes_the_early_ones_over(trials, store):
    list(begin(trials, trials.spec("contrastive_pare", "1d"), store, "first").reports())
    for scorer in SCORERS:
        other = trials.spec("contrastive_pare", "1d", {"replace.scorer": scorer})
        training = begin(trials, other, store, scorer)
        assert next(training.reports()).computed_by == "first"
    without = trials.spec("contrastive_pare", "1d", {"replace.k0": 0.0})
    training = begin(trials, without, store, "second")
    reports = list(training.reports())
    plain = trials.run(without)
    assert reports[0].computed_by == "first"
    assert measured(reports) == plain[0]
    assert same_weights(weights(training), plain[1])


def test_another_seed_takes_nothing_over(trials, store):
    list(begin(trials, trials.spec("orca", "1d"), store, "first").reports())
    reports = begin(trials, trials.spec("orca", "1d", seed=1), store, "second").reports()
    assert all(report.computed_by is None for report in reports)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_computing_trial_that_is_interrupted_goes_on_and_its_result_is_kept(
    trials, store, tmp_path, epochs
):
    spec = trials.spec("orca", "1d", {"align.epochs": 3})
    first = begin(trials, spec, store, "first")
    for _ in islice(reports := first.reports(), epochs):
        first.save(tmp_path / "checkpoint")
    reports.close()  # as when its process ends: the claim goes with it
    resumed = begin(trials, spec, store, "first")
    resumed.load(tmp_path / "checkpoint")
    rest = list(resumed.reports())
    plain = trials.run(spec)
    assert measured(rest) == plain[0][epochs:]
    assert same_weights(weights(resumed), plain[1])
    second = begin(trials, spec, store, "second")
    taken = list(second.reports())
    assert taken[0].computed_by == "first"
    assert measured(taken) == plain[0]
    assert same_weights(weights(second), plain[1])


@pytest.mark.parametrize("epochs", [1, 3])
def test_what_other_code_has_begun_is_kept_under_no_key(
    trials, store, tmp_path, monkeypatch, capsys, epochs
):
    """An alignment, interrupted and resumed once its code is another; then a warm-up."""
    spec = trials.spec("orca", "1d", {"align.epochs": 3, "warmup.epochs": 1})
    with monkeypatch.context() as former:
        former.setattr("trainables.runtime.stage_cache.code_version", lambda *modules: "former")
        begun = begin(trials, spec, StageStore(str(tmp_path / "former"), tmp_path), "begun")
        for _ in islice(begun.reports(), epochs):
            begun.save(tmp_path / "checkpoint")
    resumed = begin(trials, spec, store, "resumed")
    resumed.load(tmp_path / "checkpoint")
    list(resumed.reports())
    assert "its state was made by other code or devices" in capsys.readouterr().out
    assert not [*tmp_path.glob("stages/results/*")]
    fresh = list(begin(trials, spec, store, "fresh").reports())
    assert fresh[0].computed_by is None


def test_what_was_made_without_a_store_is_not_kept_in_one(trials, store, tmp_path):
    spec = trials.spec("orca", "1d", {"align.epochs": 3})
    begun = trials.begin(spec)
    next(begun.reports())
    begun.save(tmp_path / "checkpoint")
    resumed = begin(trials, spec, store, "resumed")
    resumed.load(tmp_path / "checkpoint")
    list(resumed.reports())
    assert not [*tmp_path.glob("stages/results/*")]


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_trial_that_takes_over_may_be_interrupted_anywhere(trials, store, tmp_path, epochs):
    spec = trials.spec("orca", "1d", {"align.epochs": 3})
    list(begin(trials, spec, store, "first").reports())
    second, checkpoint = begin(trials, spec, store, "second"), tmp_path / "checkpoint"
    for report in islice(second.reports(), epochs):
        if report.computed_by is None or report.epoch == report.num_epochs:
            second.save(checkpoint)  # as the Trainable does
    resumed = begin(trials, spec, store, "second")
    if checkpoint.exists():
        resumed.load(checkpoint)
    rest, plain = list(resumed.reports()), trials.run(spec)
    assert measured(rest) == plain[0][len(plain[0]) - len(rest) :]
    assert same_weights(weights(resumed), plain[1])


@pytest.fixture
def two(trials, store, monkeypatch):
    """The reports of a trial that computes a stage, and of one that comes meanwhile."""
    monkeypatch.setattr("trainables.runtime.stage_cache.POLL_S", 0.0)
    monkeypatch.setattr("trainables.runtime.stage_cache.WAIT_S", 0.0)
    spec = trials.spec("orca", "1d")
    first = begin(trials, spec, store, "first").reports()
    next(first)
    return first, begin(trials, spec, store, "second").steps()


def test_who_comes_while_it_is_computed_waits_and_then_takes_over(two):
    first, second = two
    waiting = list(islice(second, 3))
    assert waiting == [Waiting(stage="align")] * 3
    assert list(first)
    rest = [report for report in second if isinstance(report, Report)]
    assert rest[0].computed_by == "first"


def test_when_who_computes_is_gone_the_next_one_computes(trials, two):
    first, second = two
    assert isinstance(next(second), Waiting)
    first.close()
    rest = [report for report in second if isinstance(report, Report)]
    assert measured(rest) == trials.run(trials.spec("orca", "1d"))[0]
    assert rest[0].computed_by is None


def test_a_damaged_result_is_computed_anew(trials, store, tmp_path, capsys):
    spec = trials.spec("orca", "1d", ALIGN)
    list(begin(trials, spec, store, "first").reports())
    (file,) = tmp_path.glob("stages/results/*/changed.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    reports = list(begin(trials, spec, store, "second").reports())
    assert reports[0].computed_by is None
    assert "damaged" in capsys.readouterr().out
    assert next(begin(trials, spec, store, "third").reports()).computed_by == "second"


def test_a_result_that_does_not_fit_the_state_is_not_taken(trials, store, tmp_path, capsys):
    """A key that two states have in common would be a fault of the key; it is seen all the same."""
    first, other = (trials.spec("orca", "1d", ALIGN, seed=seed) for seed in (0, 1))
    list(begin(trials, first, store, "first").reports())
    (folder,) = tmp_path.glob("stages/results/*")
    key = begin(trials, other, store, "second").shared.keys["align"]
    folder.rename(folder.with_name(key))
    reports = list(begin(trials, other, store, "second").reports())
    assert reports[0].computed_by is None
    assert measured(reports) == trials.run(other)[0]
    assert "does not fit" in capsys.readouterr().out


def test_a_store_that_cannot_be_written_costs_the_sharing_and_not_the_trial(
    trials, tmp_path, capsys
):
    (tmp_path / "stages").write_text("not a folder")
    broken = StageStore(str(tmp_path / "stages"), tmp_path / "scratch", timeout_s=1.0)
    spec = trials.spec("orca", "1d", ALIGN)
    reports = list(begin(trials, spec, broken, "first").reports())
    assert reports == trials.run(spec)[0]
    assert "not shared" in capsys.readouterr().out


def no_space(*_: object, **__: object) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")


def test_a_full_store_costs_the_sharing_and_not_the_trial(trials, store, monkeypatch, capsys):
    monkeypatch.setattr("trainables.storage.tensors.save_file", no_space)
    spec = trials.spec("orca", "1d", ALIGN)
    assert list(begin(trials, spec, store, "first").reports()) == trials.run(spec)[0]
    assert "was not kept: no space left on" in capsys.readouterr().out


def gone(path: Path) -> None:
    shutil.rmtree(path.parent)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def refused(path: Path) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.mark.parametrize("fault", [gone, refused])
def test_a_result_that_cannot_be_read_costs_the_sharing_and_not_the_trial(
    trials, store, monkeypatch, fault
):
    spec = trials.spec("orca", "1d", ALIGN)
    list(begin(trials, spec, store, "first").reports())
    monkeypatch.setattr("trainables.storage.stage_store.load_file", fault)
    reports = list(begin(trials, spec, store, "second").reports())
    assert reports == trials.run(spec)[0]


def test_a_folder_that_knows_no_locks_costs_the_sharing_and_not_the_trial(
    trials, store, monkeypatch, capsys
):
    real = fcntl.flock

    def flock(file: IO[str], how: int) -> None:
        if how & fcntl.LOCK_NB:  # of a claim
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        real(file, how)

    monkeypatch.setattr("trainables.storage.claims.fcntl.flock", flock)
    spec = trials.spec("orca", "1d", ALIGN)
    assert list(begin(trials, spec, store, "first").reports()) == trials.run(spec)[0]
    assert "cannot be locked" in capsys.readouterr().out


def test_who_may_read_a_file_may_read_a_result(trials, store, tmp_path):
    list(begin(trials, trials.spec("orca", "1d", ALIGN), store, "first").reports())
    modes = {file.stat().st_mode for file in tmp_path.glob("stages/results/*/*")}
    (tmp_path / "any file").touch()
    assert modes == {(tmp_path / "any file").stat().st_mode}
