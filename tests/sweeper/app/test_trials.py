"""Which checkpoints an attempt goes on from: those of epochs that the ledger has, newest first."""

from pathlib import Path

from sweeper.app.trials import measured
from sweeper.study import Trial, TrialKind

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
