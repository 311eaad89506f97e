"""How slots were used, by the clock of events, and what was predicted beside what it took."""

from itertools import islice

import pytest

from sweeper.ledger import EndCause, Event, Ledger, SweepRecord
from sweeper.ledger import EventKind as Kind
from sweeper.ledger.database import url_in
from sweeper.model import Outcome, Trial, TrialKind, TrialState
from sweeper.results.usage import as_json, compared, read_usage, usage_of
from tests.support.ledgers import PROVENANCE, new_ledger, script
from trainables.report import Measurement

STUDY = "nft/t"
PREDICTION = {
    "trial_hours": {"low": 0.001, "expected": 0.002, "high": 0.003},
    "epochs": {"low": 1, "expected": 2, "high": 3},
    "wall_hours": {"low": 1, "expected": 2, "high": 3},
}


def history(*lines) -> list[Event]:
    """Events from (at, kind, trial's number, payload)."""
    return [
        Event(seq=seq, at=at, kind=kind, study="s" if rest[:1] else None,
              number=rest[0] if rest else None, attempt=1 if rest else None,
              payload=rest[1] if rest[1:] else {})
        for seq, (at, kind, *rest) in enumerate(lines)
    ]  # fmt: skip


def start(at, slots=2, prediction=None):
    event = history((at, Kind.SWEEP_STARTED))[0]
    payload = {"slots": slots, "prediction": prediction}
    return Event(**{**vars(event), "payload": {k: v for k, v in payload.items() if v is not None}})


def test_trials_seconds_over_slots_times_wall():
    usage = usage_of(
        [start(0), *history(
            (10, Kind.ATTEMPT_STARTED, 0), (10, Kind.ATTEMPT_STARTED, 1),
            (60, Kind.ATTEMPT_ENDED, 1), (70, Kind.MEASURED, 0), (90, Kind.ATTEMPT_ENDED, 0),
            (100, Kind.SWEEP_ENDED),
        )],
        epochs=1,
    )  # fmt: skip
    assert (usage.wall_s, usage.trial_s, usage.slot_s, usage.epochs) == (100, 130, 200, 1)
    assert usage.utilisation == pytest.approx(0.65)


def test_the_time_between_two_launches_is_nobodys():
    one = [
        *history((5, Kind.ATTEMPT_STARTED, 0), (45, Kind.ATTEMPT_ENDED, 0), (50, Kind.SWEEP_ENDED))
    ]
    later = history(
        (900, Kind.TRIAL_REOPENED, 0), (1010, Kind.ATTEMPT_STARTED, 0),
        (1040, Kind.ATTEMPT_ENDED, 0), (1050, Kind.SWEEP_ENDED),
    )  # fmt: skip
    usage = usage_of([start(0), *one, later[0], start(1000, slots=4), *later[1:]], epochs=0)
    assert (usage.wall_s, usage.trial_s, usage.slot_s) == (100, 70, 2 * 50 + 4 * 50)


@pytest.mark.parametrize(
    "afterwards", [(Kind.SWEEP_ENDED,), (Kind.TRIAL_REOPENED, 0), (Kind.TRIAL_ADDED, 1)]
)
def test_what_ran_when_its_driver_died_ran_until_the_last_that_was_heard(afterwards):
    died = history((10, Kind.ATTEMPT_STARTED, 0), (40, Kind.MEASURED, 0), (9000, *afterwards))
    closed = history((9500, Kind.ATTEMPT_ENDED, 0), (9510, Kind.SWEEP_ENDED))
    usage = usage_of([start(0), *died, start(9490), *closed], epochs=0)
    assert (usage.wall_s, usage.trial_s) == (40 + 20, 30)


def test_what_runs_has_run_until_now():
    usage = usage_of([start(0), *history((10, Kind.ATTEMPT_STARTED, 0))], epochs=0, now=110)
    assert (usage.wall_s, usage.trial_s, usage.utilisation) == (110, 100, 0.5 * 100 / 110)


def test_without_the_number_of_slots_nothing_is_said_of_them():
    usage = usage_of([start(0, slots=None), *history((10, Kind.SWEEP_ENDED))], epochs=0)
    assert (usage.wall_s, usage.utilisation) == (10, None)
    assert usage_of([], epochs=0).utilisation is None


def test_the_latest_prediction_is_compared():
    old = {**PREDICTION, "epochs": {"low": 7, "expected": 8, "high": 9}}
    ended = history((3600 * 5, Kind.SWEEP_ENDED))
    usage = usage_of(
        [start(0, prediction=old), start(0, prediction=PREDICTION), start(0), *ended], epochs=0
    )
    verdicts = {each.name: each.verdict for each in compared(usage)}
    assert verdicts == {"trial_hours": "below", "epochs": "below", "wall_hours": "above"}
    found = as_json(usage)["prediction"]["wall_hours"]
    assert found == {"low": 1, "expected": 2, "high": 3, "actual": 5.0, "verdict": "above"}


def test_without_a_prediction_nothing_is_compared():
    usage = usage_of([start(0)], epochs=0)
    assert compared(usage) == []
    assert as_json(usage)["prediction"] is None


@pytest.mark.parametrize("length", [1, 3, 8, 30, 60, 999], ids=lambda n: f"{n} writes")
def test_a_ledgers_timeline_tells_as_much_as_all_its_events(tmp_path, length):
    ledger = new_ledger(tmp_path)
    list(islice(script(ledger, tmp_path), length))
    if length < 999:  # its driver died, and another one goes on
        ledger.start({"slots": 3, "prediction": PREDICTION})
        ledger.note("nobody listens")
    every, heard = ledger.events(), ledger.timeline()
    assert len(heard) < len(every) or length < 30
    assert usage_of(heard, epochs=7) == usage_of(every, epochs=7)
    assert next(e.payload for e in heard if e.payload) == PROVENANCE
    measured = sum(e.kind is Kind.MEASURED for e in every)
    assert read_usage(ledger).epochs == measured


def test_slots_count_for_as_long_as_the_cluster_had_them():
    def size(at, slots):
        return history((at, Kind.CLUSTER_RESIZED))[0].__class__(
            **{**vars(history((at, Kind.CLUSTER_RESIZED))[0]), "payload": {"slots": slots}}
        )

    events = [start(0), size(30, 6), size(40, 1), *history((100, Kind.SWEEP_ENDED))]
    usage = usage_of(events, epochs=0)
    assert (usage.wall_s, usage.slot_s) == (100, 30 * 2 + 10 * 6 + 60 * 1)


def test_the_timeline_has_sizes_of_the_cluster(tmp_path):
    ledger = new_ledger(tmp_path)
    ledger.start(PROVENANCE, slots=2)
    ledger.resize(nodes=3, slots=6, waiting=1)
    ledger.end("finished")
    sizes = [each.payload for each in ledger.timeline() if each.kind == Kind.CLUSTER_RESIZED]
    assert sizes == [{"nodes": 3, "slots": 6, "waiting": 1}]


def reopened(ledger: Ledger) -> None:
    ledger.reopen(STUDY, 0)


def added(ledger: Ledger) -> None:
    ledger.add_trial(Trial(study=STUDY, number=9, kind=TrialKind.RERUN, params={}, seed=0))


def noted(ledger: Ledger) -> None:
    ledger.note("x")


def ended(ledger: Ledger) -> None:
    ledger.end("finished", cause=EndCause.DRIVER_DIED)


@pytest.mark.parametrize("runs", [True, False], ids=["in an attempt", "between attempts"])
@pytest.mark.parametrize("write", [reopened, added, noted, ended])
def test_what_is_written_a_day_after_a_drivers_death_changes_no_time(tmp_path, write, *, runs):
    now = [0.0]
    ledger = Ledger(url_in(tmp_path), "s", clock=lambda: now[0])
    ledger.create(SweepRecord(name="s", experiment="e", resolved={}, config_hash="0",
                              profile="paper", text=""))  # fmt: skip
    ledger.start({})
    for number in range(2):
        trial = Trial(study=STUDY, number=number, kind=TrialKind.SAMPLED, params={}, seed=0)
        ledger.add_trial(trial)
        attempt = ledger.start_attempt(STUDY, number)
        for epoch in range(1, 4):
            now[0] += 600.0
            measured = Measurement(stage="refine", epoch=epoch, num_epochs=4, metrics={})
            ledger.measure(STUDY, number, attempt, measured)
        if number == 0 or not runs:
            ledger.end_attempt(STUDY, number, attempt, Outcome(state=TrialState.FAILED))
    used = read_usage(ledger)
    assert (used.wall_s, used.trial_s) == (3600.0, 3600.0)
    for hours in (24, 48):
        now[0] = hours * 3600.0
        if hours == 24:
            write(ledger)
        else:
            ledger.start({})
        later = read_usage(ledger)
        assert (later.wall_s, later.trial_s) == (3600.0, 3600.0)
