"""The ledger's row of a trial is what its events lead to: state and history never disagree."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.ledger import StaleAttempt
from sweeper.ledger.records import added, happened
from sweeper.model import (
    AttemptEnded,
    AttemptStarted,
    CheckpointDropped,
    CheckpointNamed,
    EpochMeasured,
    Outcome,
    Study,
    TrialEvent,
    TrialReopened,
    TrialState,
    apply,
)
from tests.support.ledgers import new_ledger
from tests.support.trials import sampled
from trainables.report import Measurement

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)
TRIAL = sampled(STUDY.name, params={"refine.lr": 0.1}, seed=2**62)
numbers = st.floats(allow_nan=False, allow_infinity=False)
measurements = st.builds(
    Measurement,
    stage=st.just("refine"),
    epoch=st.integers(1, 9),
    num_epochs=st.just(9),
    metrics=st.dictionaries(st.sampled_from(["val/nrmse", "refine/loss"]), numbers),
    objective=st.none() | numbers,
    checkpoint=st.none() | st.sampled_from(["attempt-1/refine-0001", "attempt-2/refine-0007"]),
)
outcomes = st.builds(
    Outcome,
    state=st.sampled_from([s for s in TrialState if s is not TrialState.RUNNING]),
    failure=st.none() | st.just("crash"),
    reason=st.none() | st.just("boom"),
    test=st.dictionaries(st.just("test/nrmse"), numbers),
    counts=st.booleans(),
    halvings=st.none() | st.integers(0, 3),
)
events = st.lists(
    st.one_of(
        st.just(AttemptStarted(attempt=0)),
        st.builds(EpochMeasured, measurement=measurements),
        st.just(CheckpointNamed(checkpoint="attempt-2/refine-0003")),
        st.builds(AttemptEnded, outcome=outcomes),
        st.just(TrialReopened()),
        st.just(CheckpointDropped()),
    ),
    max_size=12,
)


def told(ledger: Ledger, wanted: Iterable[TrialEvent]) -> list[TrialEvent]:
    """Have the ledger record events of its trial; return those that it took."""
    taken: list[TrialEvent] = []
    for event in wanted:
        attempt = ledger.trial(STUDY.name, 0).attempt
        try:
            match event:
                case AttemptStarted():
                    number = ledger.start_attempt(STUDY.name, 0)
                    event = AttemptStarted(attempt=number)
                case EpochMeasured(measurement=measurement):
                    ledger.measure(STUDY.name, 0, attempt, measurement)
                case CheckpointNamed(checkpoint=checkpoint):
                    ledger.name_checkpoint(STUDY.name, 0, attempt, checkpoint)
                case AttemptEnded(outcome=outcome):
                    ledger.end_attempt(STUDY.name, 0, attempt, outcome)
                case TrialReopened():
                    ledger.reopen(STUDY.name, 0)
                case CheckpointDropped():
                    ledger.drop_checkpoint(STUDY.name, 0, "full")
        except StaleAttempt:
            continue
        taken.append(event)
    return taken


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(events)
def test_the_row_is_what_the_events_lead_to(wanted: list[TrialEvent]) -> None:
    with TemporaryDirectory() as folder, closing(new_ledger(Path(folder))) as ledger:
        ledger.add_study(STUDY)
        ledger.add_trial(TRIAL)
        taken = told(ledger, wanted)
        row = ledger.trial(STUDY.name, 0)
        assert row == reduce(apply, taken, TRIAL)
        history = [e for e in map(happened, ledger.events()) if e is not None]
        (begun,) = ledger.events(kinds=[EventKind.TRIAL_ADDED])
        assert added(begun) == TRIAL
        replayed = reduce(apply, history, added(begun))
        assert replace(replayed, checkpoint=row.checkpoint) == row, (
            "the history names no checkpoint"
        )


def test_the_history_tells_that_a_checkpoint_was_dropped(tmp_path: Path) -> None:
    wanted = [AttemptStarted(attempt=0), CheckpointNamed(checkpoint="last"), CheckpointDropped()]
    with closing(new_ledger(tmp_path)) as ledger:
        ledger.add_study(STUDY)
        ledger.add_trial(TRIAL)
        told(ledger, wanted)
        assert [*map(happened, ledger.events())][-1] == CheckpointDropped()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.builds(AttemptEnded, outcome=outcomes))
def test_the_end_of_a_trial_is_in_the_history_with_its_value(ended: AttemptEnded) -> None:
    with TemporaryDirectory() as folder, closing(new_ledger(Path(folder))) as ledger:
        ledger.add_study(STUDY)
        ledger.add_trial(TRIAL, ended.outcome)
        row = ledger.trial(STUDY.name, 0)
        assert row == apply(apply(TRIAL, AttemptStarted(attempt=1)), ended)
        kinds = [event.kind for event in ledger.events()][-1:]
        is_ended = ended.outcome.state.is_finished
        assert kinds == [EventKind.TRIAL_ENDED if is_ended else EventKind.ATTEMPT_ENDED]


@given(st.lists(measurements, max_size=9))
def test_the_value_is_the_best_one_and_of_equal_ones_the_first(measured: list[Measurement]) -> None:
    after = reduce(apply, [EpochMeasured(measurement=m) for m in measured], TRIAL)
    values = [(m.objective, m.epoch) for m in measured if m.objective is not None]
    best = min(values, key=lambda each: each[0], default=(None, None))
    assert (after.value, after.best_epoch) == best


@pytest.mark.parametrize("state", [s for s in TrialState if s is not TrialState.RUNNING])
def test_a_reopened_trial_waits_and_has_all_its_attempts_again(state: TrialState) -> None:
    ended = replace(TRIAL, state=state, attempt=3, uncounted=1, value=0.5, checkpoint="c")
    again = apply(ended, TrialReopened())
    assert again == replace(ended, state=TrialState.WAITING, uncounted=0, forgiven=3)
    assert again.counted == 0
