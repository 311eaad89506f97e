"""Which checkpoints an attempt goes on from, and which is left of a trial that has ended."""

from dataclasses import replace
from pathlib import Path

from sweeper.app.trials import Retention, folder_of_trial, measured
from sweeper.space.schema import Checkpoints
from sweeper.study import Trial, TrialKind, TrialState

FOUND = [Path("attempt-2/refine-0002"), Path("attempt-1/refine-0001"), Path("attempt-1/meta-0001")]


def trial(checkpoint: str | None) -> Trial:
    return Trial(study="s", number=0, kind=TrialKind.SAMPLED, params={}, seed=0,
                 checkpoint=checkpoint)  # fmt: skip


def test_a_checkpoint_that_was_saved_but_not_measured_is_left_out():
    assert measured(trial("attempt-1/refine-0001"), FOUND) == FOUND[1:]


def test_the_measured_one_and_the_fallbacks_before_it_are_kept():
    assert measured(trial("attempt-2/refine-0002"), FOUND) == FOUND


def test_a_trial_that_measured_nothing_starts_afresh():
    assert measured(trial(None), FOUND) == []


def test_what_is_left_of_a_crashed_trial_is_the_checkpoint_that_the_ledger_names(tmp_path):
    """Its process died after it had saved one more, and while it was writing another."""
    attempt = folder_of_trial(tmp_path, trial(None)) / "attempt-1"
    for name in ("refine-0001", "refine-0002", "refine-0003", ".refine-0004.partial"):
        (attempt / name).mkdir(parents=True)
        (attempt / name / "manifest.json").write_text("{}")
    ended = replace(trial(str(attempt / "refine-0002")), state=TrialState.FAILED)
    Retention(tmp_path, Checkpoints()).changed(ended)
    assert [path.name for path in attempt.glob("[!.]*")] == ["refine-0002"]
