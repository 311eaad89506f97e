"""The ledger: what is committed stays, in order, once; and late writers are kept out."""

import threading
import time
from contextlib import closing
from dataclasses import astuple, replace

import pytest
from sqlalchemy import create_engine, text

from sweeper.errors import NotFound, UsageError
from sweeper.ledger import EventKind, Ledger
from sweeper.ledger.database import Database
from sweeper.ledger.ledger import StaleAttempt
from sweeper.ledger.records import AttemptUse
from sweeper.model import (
    Outcome,
    Study,
    StudyFacts,
    Trial,
    TrialQueued,
    TrialState,
    apply,
)
from tests.support.costs import cpu_s
from tests.support.ledgers import NAME, finished_ledger, new_ledger, script
from tests.support.servers.postgres import postgres
from tests.support.trials import measured, sampled
from trainables.report import Measurement

STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)


def trial(number: int = 0) -> Trial:
    return sampled(STUDY.name, number, params={"refine.lr": 0.1}, seed=2**62)


def epoch(number: int, value: float, stage: str = "refine") -> Measurement:
    return measured(number, value, stage=stage, num_epochs=9, metrics={"val/nrmse": value})


@pytest.fixture
def ledger(tmp_path):
    ledger = new_ledger(tmp_path)
    ledger.add_study(STUDY, StudyFacts.from_json({"baselines": {"mean": 1.0}}))
    ledger.add_trial(trial())
    yield ledger
    ledger.close()


def test_what_was_written_is_read_back(ledger):
    assert ledger.studies() == (STUDY,)
    assert ledger.trials(STUDY.name) == (trial(),)
    assert ledger.facts(STUDY.name) == StudyFacts(baselines={"mean": 1.0})
    with pytest.raises(NotFound, match="no study `nft/other`"):
        ledger.facts("nft/other")


def test_a_launch_leaves_what_ran_it_with_the_sweep_and_its_own_facts_in_the_event(ledger):
    ledger.start({"host": "one"}, slots=2)
    ledger.start({"host": "two"}, slots=3)
    assert ledger.sweep().provenance == {"host": "two"}
    started = [e.payload for e in ledger.events(0) if e.kind is EventKind.SWEEP_STARTED]
    assert started == [{"host": "one", "slots": 2}, {"host": "two", "slots": 3}]


def test_a_late_writer_of_an_earlier_attempt_is_refused_and_changes_nothing(ledger):
    first = ledger.start_attempt(STUDY.name, 0)
    second = ledger.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, second, epoch(1, 0.5))
    before = (ledger.trials(), ledger.events())
    with pytest.raises(StaleAttempt):
        ledger.measure(STUDY.name, 0, first, epoch(1, 0.1))
    with pytest.raises(StaleAttempt):
        ledger.end_attempt(STUDY.name, 0, first, Outcome(state=TrialState.FAILED))
    assert (ledger.trials(), ledger.events()) == before


def test_a_late_writer_of_a_paused_trial_is_refused_until_it_is_promoted(ledger):
    attempt = ledger.start_attempt(STUDY.name, 0)
    paused = Outcome(state=TrialState.PAUSED, reason="not promoted", counts=False)
    ledger.measure(STUDY.name, 0, attempt, epoch(1, 0.5), paused)
    (before,) = ledger.trials(STUDY.name)
    assert (before.state, before.uncounted) == (TrialState.PAUSED, 1)
    for late in (lambda: ledger.measure(STUDY.name, 0, attempt, epoch(2, 0.1)),
                 lambda: ledger.end_attempt(STUDY.name, 0, attempt, paused)):  # fmt: skip
        with pytest.raises(StaleAttempt):
            late()
    assert ledger.trials(STUDY.name) == (before,)
    kinds = [event.kind for event in ledger.events(study=STUDY.name, number=0)]
    assert EventKind.TRIAL_ENDED not in kinds
    ledger.measure(STUDY.name, 0, ledger.start_attempt(STUDY.name, 0), epoch(2, 0.1))


@pytest.mark.parametrize("state", [TrialState.PAUSED, TrialState.INTERRUPTED, TrialState.FAILED])
def test_a_trial_that_goes_on_has_no_reason_of_its_former_end(ledger, state):
    ended = Outcome(state=state, failure="crash", reason="stopped by a signal")
    ledger.end_attempt(STUDY.name, 0, ledger.start_attempt(STUDY.name, 0), ended)
    (trial,) = ledger.trials(STUDY.name)
    assert (trial.failure, trial.reason) == ("crash", "stopped by a signal")
    if state is TrialState.FAILED:
        ledger.reopen(STUDY.name, 0)
        assert ledger.trial(STUDY.name, 0).reason is None
    assert apply(trial, TrialQueued()).reason is None
    ledger.start_attempt(STUDY.name, 0)
    (outline,) = ledger.outlines(STUDY.name)
    assert (outline.state, outline.failure, outline.reason) == (TrialState.RUNNING, None, None)


def test_a_sweep_that_ends_has_no_running_trial(ledger):
    attempt = ledger.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, attempt, epoch(1, 0.5))
    ledger.add_trial(trial(1))
    ledger.end("interrupted")
    died, waits = ledger.trials(STUDY.name)
    assert (died.state, died.reason, died.uncounted, died.value) == (
        TrialState.INTERRUPTED, "its driver died", 1, 0.5
    )  # fmt: skip
    assert waits.state is TrialState.WAITING
    assert [e.kind for e in ledger.events()][-2:] == [
        EventKind.SWEEP_ENDED,
        EventKind.ATTEMPT_ENDED,
    ]


def test_the_value_is_the_best_so_far_and_its_epoch(ledger):
    attempt = ledger.start_attempt(STUDY.name, 0)
    for number, value in enumerate([0.5, 0.2, 0.3], start=1):
        ledger.measure(STUDY.name, 0, attempt, epoch(number, value))
    (found,) = ledger.trials()
    assert (found.value, found.best_epoch, found.state) == (0.2, 2, TrialState.RUNNING)


def test_epochs_that_a_later_attempt_ran_again_replace_the_earlier_ones(ledger):
    first = ledger.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, first, epoch(1, 0.5, stage="meta"))
    ledger.measure(STUDY.name, 0, first, epoch(1, 0.5))
    ledger.measure(STUDY.name, 0, first, epoch(2, 0.4))
    ledger.end_attempt(STUDY.name, 0, first, Outcome(state=TrialState.WAITING, failure="crash"))
    second = ledger.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, second, epoch(2, 0.41))
    found = [(m.stage, m.epoch, m.objective) for m in ledger.measurements(STUDY.name, 0)]
    assert found == [("meta", 1, 0.5), ("refine", 1, 0.5), ("refine", 2, 0.41)]
    assert sum(e.kind is EventKind.MEASURED for e in ledger.events()) == 4, "history keeps all"


def test_events_come_in_the_order_of_writing_and_in_pages(tmp_path):
    ledger = finished_ledger(tmp_path)
    events = ledger.events()
    assert [e.seq for e in events] == sorted({e.seq for e in events})
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert events[0].kind is EventKind.SWEEP_STARTED
    assert events[-1].kind is EventKind.SWEEP_ENDED
    pages, after = [], 0
    while page := ledger.events(after, limit=7):
        assert len(page) <= 7
        pages += page
        after = page[-1].seq
    assert tuple(pages) == events


@pytest.mark.slow
def test_history_is_append_only(tmp_path):
    ledger = new_ledger(tmp_path)
    before = ()
    for _ in script(ledger, tmp_path):
        events = ledger.events()
        assert events[: len(before)] == before
        assert len(events) > len(before)
        before = events


def test_two_connections_see_each_others_commits(ledger):
    with_other = Ledger(ledger.url, NAME)
    attempt = with_other.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, attempt, epoch(1, 0.5))
    assert with_other.trials() == ledger.trials()
    assert with_other.events() == ledger.events()
    with_other.close()


def test_a_study_added_twice_is_there_once(ledger):
    ledger.add_study(STUDY, StudyFacts.from_json({"baselines": {}}))
    assert ledger.studies() == (STUDY,)
    assert ledger.facts(STUDY.name) == StudyFacts(baselines={"mean": 1.0})


def test_sweeps_in_one_database_do_not_mix(ledger, tmp_path):
    other = new_ledger(tmp_path, "other")
    assert (other.studies(), other.trials(), other.events()) == ((), (), ())
    other.note_mirror("r", {"cursor": "9"})
    assert ledger.mirror("r") == {}
    other.close()


def test_a_ledger_of_a_schema_that_was_never_released_is_refused_and_not_changed(tmp_path):
    ledger = new_ledger(tmp_path)
    engine = create_engine(ledger.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sweeper_schema SET version = 3"))
    with pytest.raises(UsageError, match=r"schema 3\); this one knows schema 7: .* another --name"):
        Ledger(ledger.url, NAME)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT max(version) FROM sweeper_schema")) == 3
    engine.dispose()
    ledger.close()


def test_notes_of_a_recorder_are_kept_and_replaced(ledger):
    ledger.note_mirror("mlflow", {"cursor": "1", "sweep": "a"})
    ledger.note_mirror("mlflow", {"cursor": "2"})
    assert ledger.mirror("mlflow") == {"cursor": "2", "sweep": "a"}
    assert ledger.mirror("another") == {}


@pytest.mark.slow
def test_the_thousandth_event_costs_what_the_first_did(ledger):
    attempt = ledger.start_attempt(STUDY.name, 0)

    def seconds(first: int, last: int) -> float:
        def measure() -> None:
            for number in range(first, last):
                ledger.measure(STUDY.name, 0, attempt, epoch(number, 1 / number))

        return cpu_s(measure)

    seconds(1, 100)  # warm
    early, late = seconds(100, 200), None
    seconds(200, 1200)
    late = seconds(1200, 1300)
    assert late < 3 * early + 0.1, f"{early=} {late=}"


def test_of_a_drivers_threads_one_writes_at_a_time(ledger, monkeypatch):
    """The mark by which a commit is known whose answer was lost is that of the last one."""
    inside, most, write = [], [], Database.write

    def slow(*args, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        write(*args, **options)
        inside.pop()

    monkeypatch.setattr(Database, "write", slow)
    threads = [threading.Thread(target=ledger.note, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def check_use(ledger: Ledger) -> None:
    """Check what a ledger with one new trial tells of attempts and of the order of ends."""
    ledger.add_trial(trial(1))
    first = ledger.start_attempt(STUDY.name, 0)
    for number, seconds in ((1, 10.0), (2, 25.5)):
        measured = replace(epoch(number, 1.0), seconds=seconds)
        ledger.measure(STUDY.name, 0, first, measured, None)
    ledger.end_attempt(STUDY.name, 0, first, Outcome(state=TrialState.WAITING))
    other = ledger.start_attempt(STUDY.name, 1)
    complete = Outcome(state=TrialState.COMPLETE)
    ledger.measure(STUDY.name, 1, other, replace(epoch(1, 1.0), seconds=3.0), complete)
    again = ledger.start_attempt(STUDY.name, 0)
    ledger.measure(STUDY.name, 0, again, replace(epoch(3, 1.0), seconds=4.0), complete)
    assert sorted(ledger.use_of_attempts(STUDY.name), key=astuple) == [
        AttemptUse(number=0, attempt=first, epochs=2, seconds=25.5),
        AttemptUse(number=0, attempt=again, epochs=1, seconds=4.0),
        AttemptUse(number=1, attempt=other, epochs=1, seconds=3.0),
    ]
    assert ledger.order_of_ends(STUDY.name) == (1, 0)
    assert ledger.use_of_attempts("nft/other") == ledger.order_of_ends("nft/other") == ()


def test_the_use_of_each_attempt_and_the_order_of_ends_are_read_back(ledger):
    check_use(ledger)


@pytest.mark.slow
def test_postgres_reads_the_use_of_attempts_alike():
    with postgres() as server, closing(Ledger(server.url, NAME)) as ledger:
        ledger.add_study(STUDY)
        ledger.add_trial(trial())
        check_use(ledger)
