"""The end of a launch: no wait for a ledger that is away, and notifications of how it ended."""

import io
import signal
import time
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from sweeper.commands import launch, look
from sweeper.console import stderr
from sweeper.core.policies import Action
from sweeper.driver import supervisor
from sweeper.driver.driver import policy_of, time_limit
from sweeper.driver.messages import Ended, Refused
from sweeper.errors import (
    BackendUnreachable,
    Interrupted,
    StorageFull,
    SweeperError,
    SweepIsHeld,
    UsageError,
)
from sweeper.ledger import EndCause, Ledger
from sweeper.ledger.database import url_in
from sweeper.ledger.lease import Lease
from sweeper.ledger.reading import CURSOR
from sweeper.model import Outcome, TrialKind, TrialState
from sweeper.planning import resuming
from sweeper.planning.budgets import driven_s, ended_early
from sweeper.planning.catalog import catalog
from sweeper.planning.load import Options
from sweeper.results.read import read_sweep
from sweeper.spec.loader import loads_sweep
from sweeper.spec.sweep import Sweep
from sweeper.tracking.mlflow_recorder import SyncStatus
from tests.bad_inputs.rows import VALID
from tests.support.servers.postgres import postgres
from tests.support.servers.webhook import webhook
from tests.support.trials import COMPLETE, begin, measured, sampled

AWAY = BackendUnreachable("the ledger at postgresql://db?token=hunter2 does not answer.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "ends", "told"),
    [
        (Ended(signal=signal.SIGINT), Interrupted, r"^SIGINT: the ledger at .* does not answer.*"
         r"Go on with: sweeper resume study$"),
        (Ended(signal=signal.SIGTERM), Interrupted, "^SIGTERM: the ledger"),
        (AWAY, BackendUnreachable, f"^{AWAY}$".replace("?", r"\?")),
    ],
)  # fmt: skip
def test_who_ends_a_sweep_does_not_wait_for_its_ledger(tmp_path, monkeypatch, outcome, ends, told):
    sweep = loads_sweep(VALID.replace("name: study", "name: study\nresources: {gpu: 0}"), catalog())
    with postgres() as server, closing(Ledger(server.url, "study")) as ledger:
        resuming.match(ledger, sweep, VALID)
        stopped: list[float] = []

        def supervise(job: Any, ledger: Ledger, lease: Lease, console: Console) -> Ended:
            ledger.start({})
            server.stop()
            stopped.append(time.monotonic())
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(launch, "supervise", supervise)
        with ledger.hold() as lease, pytest.raises(ends, match=told) as ended:
            launch.run(sweep, ledger, lease, tmp_path, Options(), stderr())
        assert time.monotonic() - stopped[0] < 20  # of a minute's patience
    number = outcome.signal if isinstance(outcome, Ended) else 5 - 128
    assert ended.value.exit_code == 128 + number


def test_what_a_driver_says_once_a_signal_came_does_not_hide_the_signal(
    tmp_path, monkeypatch, capsys
):
    def drive(job: Any, lease: Lease, signals: Any) -> Refused:
        signals.seen += seen
        return Refused(AWAY)

    monkeypatch.setattr(supervisor, "drive", drive)
    seen: list[int] = [signal.SIGINT]
    with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.hold() as lease:
        outcome = supervisor.supervise(None, ledger, lease, stderr())
        assert outcome.signal == signal.SIGINT
        assert capsys.readouterr().err == f"{AWAY}\n".replace("hunter2", "***")
        seen = []
        with pytest.raises(BackendUnreachable):
            supervisor.supervise(None, ledger, lease, stderr())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "reason", "told", "text"),
    [
        (Ended(), None, ["finished"], "1 trials are complete, 0 failed. Best: mona/x 0.5. sweeper"),
        (Ended(), "the first 3 trials all failed alike: boom.", ["failed"],
         "It ended early: the first 3 trials all failed alike: boom. 1 trials are complete"),
        (Ended(), "`budget.wall` (1 h) is spent", ["finished"], "is spent. 1 trials are complete"),
        (Ended(signal=signal.SIGTERM), None, ["paused"],
         "Stopped: SIGTERM. Go on with: sweeper resume study"),
        (Ended(signal=signal.SIGINT, why="cancelled by ann"), None, ["paused"], "cancelled by ann"),
        (Ended(signal=signal.SIGINT), None, [], ""),
        (StorageFull("no space left on /x."), None, ["needs_person"], "no space left on /x."),
        (AWAY, None, ["needs_person"], "postgresql://db?token=*** does not answer."),
        (SweepIsHeld("another launch took over."), None, [], ""),
    ],
)  # fmt: skip
def test_the_end_of_a_launch_is_told_to_whom_the_file_names(
    tmp_path, monkeypatch, outcome, reason, told, text
):
    monkeypatch.setenv("HOOK", "secret-path")

    cause = EndCause.ABORTED if reason is not None and "failed" in reason else None

    def supervise(job: Any, ledger: Ledger, lease: Lease, console: Console) -> Ended:
        ledger.start({})
        attempt = begin(ledger, sampled("mona/x"))
        ledger.measure("mona/x", 0, attempt, measured(1, 0.5, is_final=True), COMPLETE)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.signal is None:
            ledger.end("finished", reason, cause=cause)
        return outcome

    monkeypatch.setattr(launch, "supervise", supervise)
    with webhook() as hook, closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        addresses = f"notify: ['{hook.url}/${{env:HOOK}}']\nresources: {{gpu: 0}}\n"
        sweep = loads_sweep(VALID + addresses, catalog())
        resuming.match(ledger, sweep, VALID)
        with ledger.hold() as lease, suppress(SweeperError):
            launch.run(sweep, ledger, lease, tmp_path, Options(), stderr())
    assert hook.events() == told
    assert set(hook.paths) <= {"/secret-path"}
    assert all(text in body["message"] for body in hook.bodies)
    assert all("secret-path" not in str(body) for body in hook.bodies)


def stored(place: str | None, *more: str) -> Sweep:
    where = [] if place is None else [f"checkpoints: {{store: {place}}}\n"]
    return loads_sweep(VALID + "".join([*where, *more]), catalog())


def test_a_sweep_whose_store_was_moved_goes_on_with_it_where_it_is(tmp_path):
    """It is the same sweep, to which more trials can be added later; nothing else may change."""
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        resuming.match(ledger, stored("/former/store"), VALID)
        ledger.start({})
        resuming.match(ledger, stored("/mnt/store"), VALID)
        record = ledger.sweep()
        assert record is not None
        assert record.resolved["checkpoints"]["store"] == "/mnt/store"
        assert record.config_hash == stored("/mnt/store").config_hash
        assert resuming.from_record(record).checkpoints.store == "/mnt/store"
        with pytest.raises(UsageError, match=r"pruning\.eta: 3"):
            resuming.match(ledger, stored("/x", "pruning: {eta: 4}\n"), VALID)
        with pytest.raises(UsageError, match=r'checkpoints\.store: "/mnt/store" -> null'):
            resuming.match(ledger, stored(None), VALID)
        assert ledger.sweep() == record
        resuming.match(ledger, stored("s3://bucket/store"), VALID)


def test_a_sweep_goes_on_with_another_budget(tmp_path):
    with closing(Ledger.in_folder(tmp_path / "study")) as ledger:
        resuming.match(ledger, loads_sweep(VALID + "budget: {wall: 1h}\n", catalog()), VALID)
        ledger.start({})
        raised = loads_sweep(VALID + "budget: {wall: 2h, epochs: 900}\n", catalog())
        assert resuming.match(ledger, raised, VALID) == raised
        record = ledger.sweep()
        assert record is not None
        assert resuming.from_record(record).budget == raised.budget
        assert record.config_hash == raised.config_hash


STUDY = "mona/pdebench/advection_1d"


def begun(folder: Path, sweep: Sweep, *, trials: int) -> Ledger:
    """Return the ledger of a stopped sweep: each trial took 10 s and four epochs of its stage."""
    folder.mkdir(exist_ok=True)
    times = iter(range(0, 10_000, 5))
    ledger = Ledger(url_in(folder), sweep.name, clock=lambda: float(next(times)))
    resuming.match(ledger, sweep, VALID)
    ledger.start({})
    kinds = (TrialKind.PRESET, TrialKind.CONTROL)
    for number in range(trials):
        kind = kinds[number] if number < 2 else TrialKind.SAMPLED
        attempt = begin(ledger, sampled(STUDY, number, kind=kind))
        for epoch in range(1, 5):
            told = measured(epoch, 1.0, num_epochs=4, is_final=epoch == 4)
            ledger.measure(STUDY, number, attempt, told, COMPLETE if epoch == 4 else None)
    ledger.end("stopped")
    ship(ledger)
    return ledger


def ship(ledger: Ledger) -> SyncStatus:
    """Ship all records, as a recorder does."""
    pending = ledger.unshipped()
    ledger.note_mirror("mlflow", {CURSOR: str(ledger.events()[-1].seq)})
    return SyncStatus(shipped=pending, pending=0, last_error=None, uri="sqlite:///mlflow.db")


@pytest.fixture
def started(tmp_path, monkeypatch) -> list[object]:
    """The drivers that launches have started; each ends at once, and MLflow takes all records."""
    found: list[object] = []
    monkeypatch.setenv("SWEEPER_SWEEPS", str(tmp_path))
    monkeypatch.setattr(launch, "supervise", lambda *job: found.append(job) or Ended())

    def make_recorder(ledger: Ledger, *_: object) -> SimpleNamespace:
        return SimpleNamespace(sync=lambda: ship(ledger))

    monkeypatch.setattr(launch, "make_recorder", make_recorder)
    return found


def recorded() -> Console:
    """Return a console whose lines can be read."""
    return Console(width=500, record=True, file=io.StringIO())


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("{wall: 30s}", ["study: 4 of 8 trials are done. `budget.wall` (30 s) is spent; to go on, "
                         "raise it: sweeper launch FILE --set budget.wall=TIME"]),
        ("{wall: 1h}", None),
        ("{no_improvement: 2}", [
            f"{STUDY}: its search ended early: 2 trials in a row have not improved the best "
            "(`budget.no_improvement: 2`).",
            "study is finished (4 of 4 trials); nothing to do."]),
        ("{no_improvement: 3}", None),
        ("{no_improvement: 2, wall: 30s}", [
            f"{STUDY}: its search ended early: 2 trials in a row have not improved the best "
            "(`budget.no_improvement: 2`).",
            "study is finished (4 of 4 trials); nothing to do."]),
    ],
)  # fmt: skip
def test_a_spent_budget_starts_nothing_and_says_why(tmp_path, started, budget, told):
    sweep = loads_sweep(VALID + f"resources: {{gpu: 0}}\nbudget: {budget}\n", catalog())
    console = recorded()
    with closing(begun(tmp_path, sweep, trials=4)) as ledger, ledger.hold() as lease:
        summary = launch.run(sweep, ledger, lease, tmp_path, Options(), console)
    assert bool(started) == (told is None)
    if told is not None:
        is_ended = "no_improvement" in budget
        caught_up = ["MLflow lacked 1 record; it has all now."]
        assert console.export_text().splitlines() == told + caught_up * is_ended
        is_late = "wall" in budget and "no_improvement" not in budget
        assert summary.state == ("stopped" if is_late else "finished")
        assert any("is spent; to go on" in note for note in summary.notes) == is_late
        (study,) = summary.studies
        assert (study.ended_early is None) == is_late
        assert summary.exit_code == 0


def test_the_clock_of_a_budget_counts_earlier_launches(tmp_path):
    sweep = loads_sweep(VALID, catalog())
    with closing(begun(tmp_path, sweep, trials=3)) as ledger:
        driven = driven_s(ledger)
        assert driven > 60
        assert not time_limit(driven + 60, driven)()
        assert time_limit(driven - 1, driven)()
        assert not time_limit(None, driven)()
        ledger.start({})  # a second launch, which has run for no time yet
        assert driven_s(ledger) == driven


def test_only_a_method_is_tried_again_with_smaller_batches_for_lack_of_memory():
    program = "name: s\nprogram: {command: [a], metric: loss}\nsearch: {trials: 1}\n"
    for text, action in ((VALID, Action.HALVE), (program, Action.RETRY)):
        policy = policy_of(loads_sweep(text, catalog()))
        assert {policy.actions[name] for name in ("cuda_oom", "host_oom")} == {action}
        assert policy.actions["data"] is Action.FAIL


WALL = VALID + "resources: {gpu: 0}\nbudget: {wall: 30s}\n"


@pytest.mark.parametrize(
    "command",
    [
        lambda: launch.retry("study", Options(), console=stderr()),
        lambda: launch.rerun("study", f"{STUDY}#1", None, Options(), console=stderr()),
        lambda: launch.extend("study", 9, Options(), console=stderr()),
    ],
    ids=["retry", "rerun", "extend"],
)
def test_a_sweep_without_time_left_takes_no_more_work(tmp_path, started, command):
    sweep = loads_sweep(WALL, catalog())
    with closing(begun(tmp_path / "study", sweep, trials=4)) as ledger:
        attempt = begin(ledger, sampled(STUDY, 4))
        ledger.end_attempt(STUDY, 4, attempt, Outcome(state=TrialState.FAILED))
        before = ledger.sweep(), ledger.trials(), ledger.events()
        with pytest.raises(UsageError, match=r"`budget.wall` \(30 s\) is spent.*raise it: sweeper"):
            command()
        assert (ledger.sweep(), ledger.trials(), ledger.events()) == before
    assert started == []


def test_a_killed_sweep_without_time_left_is_closed_and_shipped(tmp_path, started):
    sweep = loads_sweep(WALL, catalog())
    with closing(begun(tmp_path, sweep, trials=4)) as ledger, ledger.hold() as lease:
        ledger.start({})
        begin(ledger, sampled(STUDY, 4))
        driven = driven_s(ledger)
        ledger.clock = lambda: 1e6  # long after its driver was killed
        summary = launch.run(sweep, ledger, lease, tmp_path, Options(), stderr())
        assert summary.state == "stopped"
        assert any("is spent; to go on" in note for note in summary.notes)
        assert ledger.unshipped() == 0
        assert driven_s(ledger) == driven


def test_a_sweep_that_a_signal_ended_is_not_told_as_finished_once_its_time_is_spent(tmp_path):
    with webhook() as hook:
        sweep = loads_sweep(f"{WALL}notify: ['{hook.url}']\n", catalog())
        with closing(begun(tmp_path, sweep, trials=4)) as ledger, ledger.hold() as lease:
            ledger.start({})
            ledger.end("interrupted")
            ship(ledger)
            launch.run(sweep, ledger, lease, tmp_path, Options(), stderr())
    assert hook.events() == []


@pytest.mark.parametrize(
    ("budget", "goes_on"),
    [("{epochs: 20}", True), ("{}", True), ("{epochs: 15}", False), ("{epochs: 12}", False)],
)
def test_a_finished_sweep_with_a_paused_trial_goes_on_with_a_raised_budget(
    tmp_path, started, budget, goes_on
):
    def swept(budget: str) -> Sweep:
        text = VALID.replace("trials: 8", "trials: 4") + "resources: {gpu: 0}\n"
        return loads_sweep(
            f"{text}pruning: {{type: promote, min_epochs: 3}}\nbudget: {budget}\n", catalog()
        )

    with closing(begun(tmp_path, swept("{epochs: 15}"), trials=3)) as ledger:
        ledger.start({})
        attempt = begin(ledger, sampled(STUDY, 3))
        for epoch in range(1, 4 + 4):
            paused = Outcome(state=TrialState.PAUSED, counts=False) if epoch == 7 else None
            ledger.measure(STUDY, 3, attempt, measured(epoch, 2.0), paused)
        ledger.end("finished")
        reason = "`budget.epochs: 15` is spent"
        assert read_sweep(ledger).studies[0].ended_early == reason
        sweep = resuming.match(ledger, swept(budget), VALID)
        assert bool(ended_early(sweep, ledger, ledger.trials())) != goes_on
        with ledger.hold() as lease:
            launch.run(sweep, ledger, lease, tmp_path, Options(), stderr())
        assert bool(started) == goes_on
        record = ledger.sweep()
        assert record is not None
        assert goes_on or record.state == "finished"


def test_a_launch_that_died_at_its_end_is_caught_up_once(tmp_path, started):
    """Its records are shipped and its end is told, though the ledger has the sweep as finished."""
    text = VALID.replace("trials: 8", "trials: 4") + "resources: {gpu: 0}\n"
    with webhook() as hook:
        sweep = loads_sweep(f"{text}notify: ['{hook.url}']\n", catalog())
        with closing(begun(tmp_path / "study", sweep, trials=4)) as ledger:
            lacked = 9
            ledger.note_mirror("mlflow", {CURSOR: str(ledger.count_events() + 1 - lacked)})
            ledger.end("finished")  # and then the process was killed
            told = f"MLflow lacks {lacked} records: sweeper sync study"
            assert look.status("study").notes[0] == told
            (line,) = look.sweeps().sweeps
            assert line.reason == told
            with ledger.hold():
                assert look.sweeps().sweeps[0].reason is None, "a launch ships them itself"
        for text in (f"MLflow lacked {lacked} records; it has all now.", ""):
            console = recorded()
            assert launch.resume("study", Options(), console=console).exit_code == 0
            printed = console.export_text()
            assert "study is finished (4 of 4 trials); nothing to do." in printed
            assert text in printed
            assert ("MLflow" in printed) == bool(text)
            assert look.status("study").notes[0] != told
    assert hook.events() == ["finished"]
    assert hook.bodies[0]["message"].startswith("4 trials are complete, 0 failed.")


def test_records_that_mlflow_still_does_not_take_are_told(tmp_path, monkeypatch):
    left = SyncStatus(shipped=0, pending=1, last_error="no route", uri="http://mlflow")
    monkeypatch.setattr(launch, "make_recorder", lambda *_: SimpleNamespace(sync=lambda: left))
    sweep = loads_sweep(VALID.replace("trials: 8", "trials: 4"), catalog())
    console = recorded()
    with closing(begun(tmp_path, sweep, trials=4)) as ledger, ledger.hold() as lease:
        launch.run(sweep, ledger, lease, tmp_path, Options(), console)
    assert console.export_text().splitlines()[-1] == (
        "MLflow at http://mlflow lacks 1 record (no route), which the ledger has: run "
        "`sweeper sync study` once it is back."
    )


def test_a_retry_without_a_failed_trial_does_nothing(tmp_path, started):
    """Not even of an interrupted sweep, which has trials to run."""
    sweep = loads_sweep(VALID + "resources: {gpu: 0}\n", catalog())
    with closing(begun(tmp_path / "study", sweep, trials=1)) as ledger:
        begin(ledger, sampled(STUDY, 4))
        ledger.end("interrupted")
        before = ledger.sweep(), ledger.trials(), ledger.events()
        for has_failed in (False, True):
            console = recorded()
            if has_failed:
                attempt = ledger.start_attempt(STUDY, 4)
                ledger.end_attempt(STUDY, 4, attempt, Outcome(state=TrialState.FAILED))
            summary = launch.retry("study", Options(), console=console)
            told = (
                "1 failed trial is tried again."
                if has_failed
                else "no trial has failed; nothing to do."
            )
            assert console.export_text().splitlines()[0] == f"study: {told}"
            assert bool(started) == has_failed
            if not has_failed:
                assert summary.exit_code == 0
                assert (ledger.sweep(), ledger.trials(), ledger.events()) == before
