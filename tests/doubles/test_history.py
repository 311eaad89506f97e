"""The checker finds nothing in a sweep that went well, and each way in which one can go wrong."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.core.runner import SweepRunner
from sweeper.execution.ray_executor import as_measurement
from sweeper.model import Decision
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.toy.history import mlflow_violations, outcomes, read, violations
from tests.support.toy.sweep import EXPERIMENT, ToyBuilder, make_plans, open_ledger, parser
from tests.support.toy.trainable import ToyTrainable
from trainables.report import Measured, from_plain
from trainables.trainable import ATTEMPT

STUDY = "toy/task_0"
PLANNED = {STUDY: 5}
OPTIONS = ("--trials", "5", "--epochs", "3", "--align-epochs", "1", "--epoch-s", "0")


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """The folder of a finished toy sweep, run trial by trial in this process."""
    folder = tmp_path_factory.mktemp("sound") / "toy"
    (folder / "history").mkdir(parents=True)
    options = parser().parse_args([str(folder), *OPTIONS])
    ledger = open_ledger(folder)
    ledger.start({})
    plans = make_plans(options)
    ledger.add_study(plans[0].study)
    runner, build = SweepRunner(plans, ledger), ToyBuilder(options)
    while (trial := runner.next_trial()) is not None:
        actor, decision = ToyTrainable({ATTEMPT: build(trial)}), Decision.CONTINUE
        is_last = False
        while decision is Decision.CONTINUE and not is_last:
            result = from_plain(actor.train())
            assert isinstance(result, Measured)
            decision = runner.on_report(trial, as_measurement(result))
            is_last = result.is_last
    ledger.end("finished")
    recorder = MlflowRecorder(ledger, uri=uri_of(folder), experiment=EXPERIMENT)
    assert recorder.sync().pending == 0
    ledger.close()
    return folder


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    """A copy to be spoilt."""
    return shutil.copytree(sound, tmp_path / "toy")


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def found(folder: Path, *, faults: int = 0) -> str:
    """Return the violations that the checker finds in ledger and history."""
    return "\n".join(violations(folder, open_ledger(folder), planned=PLANNED, faults=faults))


def found_in_mlflow(folder: Path) -> str:
    return "\n".join(mlflow_violations(open_ledger(folder), uri_of(folder), EXPERIMENT))


def change_ledger(folder: Path, statement: str, *values) -> None:
    with sqlite3.connect(folder / "ledger.db") as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def append(folder: Path, number: int, event: str, **changes) -> None:
    """Write the last line of a trial's history again, changed and under another time."""
    last = [line for line in read(folder) if line.number == number and line.event == event][-1]
    line = vars(last) | {"time": read(folder)[-1].time + 60} | changes
    with (folder / "history" / "later.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_sound_sweep_has_no_violation(sound):
    assert found(sound) == ""
    assert found_in_mlflow(sound) == ""
    trials = open_ledger(sound).trials()
    assert {trial.state for trial in trials} == {"complete", "pruned"}


def test_outcomes_are_alike_for_the_same_sweep_only(sound, copy):
    expected = outcomes(open_ledger(sound))
    assert outcomes(open_ledger(copy)) == expected
    change_ledger(copy, "UPDATE trials SET value = 0.5 WHERE number = 1")
    assert outcomes(open_ledger(copy)) != expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE trials SET state = 'running' WHERE number = 1", "1): is running"),
        ("DELETE FROM trials WHERE number = 2", "2): ran, though the ledger lacks it"),
        ("DELETE FROM trials WHERE number = 2", "missing: [('toy/task_0', 2)]"),
        ("UPDATE trials SET number = 7 WHERE number = 2", "not planned: [('toy/task_0', 7)]"),
        (
            "UPDATE trials SET params = (SELECT params FROM trials WHERE number = 1) "
            "WHERE number = 2",
            "suggested 2 times",
        ),
        ("DELETE FROM events WHERE kind = 'trial_ended' AND number = 0", "0): ended 0 times"),
        ("UPDATE events SET attempt = 2 WHERE kind = 'attempt_started'", "numbered [2]"),
        (
            "DELETE FROM events WHERE kind = 'measured' AND number = 0 "
            "AND json_extract(payload, '$.stage') = 'refine' "
            "AND json_extract(payload, '$.epoch') = 2",
            "refine epoch 3 follows refine epoch 1",
        ),
        (
            "DELETE FROM events WHERE kind = 'measured' AND number = 0 "
            "AND json_extract(payload, '$.is_final')",
            "is complete without a last epoch",
        ),
        ("UPDATE trials SET value = value / 2 WHERE number = 0", "0): its value is"),
        ("UPDATE trials SET seed = '5' WHERE number = 0", "differs from an undisturbed"),
        (
            "INSERT INTO events (sweep, at, kind, study, number, attempt, payload, checksum) "
            "SELECT sweep, at + 9, 'attempt_started', study, number, 2, '{}', 0 FROM events "
            "WHERE kind = 'trial_ended' AND number = 3",
            "went on after its end: [<EventKind.ATTEMPT_STARTED",
        ),
    ],
)
def test_a_spoilt_ledger_is_found(copy, statement, expected):
    change_ledger(copy, statement)
    assert expected in found(copy)


def test_a_trial_that_ran_again_after_its_end_is_found(copy):
    append(copy, 0, "started", attempt=2)
    assert "attempt 2 started after its end" in found(copy)


def test_epochs_trained_again_are_counted_against_the_faults(copy):
    append(copy, 0, "started", attempt=2, step=3)
    append(copy, 0, "epoch", attempt=2, step=4)
    assert "1 epochs were trained again for 0 faults" in found(copy)
    assert "trained again" not in found(copy, faults=1)


def test_an_attempt_that_begins_beyond_what_was_reached_is_found(copy):
    append(copy, 0, "started", attempt=2, step=9)
    assert "attempt 2 begins after step 9 of 4" in found(copy)


def test_an_epoch_left_out_and_one_that_nobody_trained_are_found(copy):
    for file in (copy / "history").glob("*.jsonl"):
        lines = [json.loads(text) for text in file.read_text().splitlines()]
        kept = [line for line in lines if (line["number"], line["step"]) != (0, 2)]
        file.write_text("".join(json.dumps(line) + "\n" for line in kept))
    assert "attempt 1: step 3 after 1" in found(copy)
    assert "measured but never trained: [('refine', 1)]" in found(copy)


FIRST = "000 · toy · task_0"  # the run of trial 0


def a_run(folder: Path, name: str = FIRST):
    """The client, and a run."""
    client = MlflowClient(uri_of(folder))
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (run,) = client.search_runs([experiment], f"tags.mlflow.runName = '{name}'")
    return client, run


def add(client: MlflowClient, run, number: str = "0") -> None:
    """Add a run with the tags of another, for a trial."""
    tags = run.data.tags | {"sweeper.trial": number}
    client.create_run(run.info.experiment_id, tags=tags)


@pytest.mark.parametrize(
    ("name", "spoil", "expected"),
    [
        ("toy", lambda c, run, at: c.update_run(at, "RUNNING"), "(None, None): is RUNNING"),
        (FIRST, lambda c, run, at: c.set_terminated(at, "FAILED"), "is FAILED there, and complete"),
        (FIRST, lambda c, run, at: c.delete_run(at), "('toy/task_0', 0): 0 runs"),
        (FIRST, lambda c, run, at: add(c, run), "('toy/task_0', 0): 2 runs"),
        (FIRST, lambda c, run, at: add(c, run, "99"), f"orphan: {FIRST}"),
        (
            FIRST,
            lambda c, run, at: c.set_tag(at, "mlflow.parentRunId", at),
            "('toy/task_0', 0): its parent is ('toy/task_0', 0)",
        ),
    ],
)
def test_a_spoilt_run_is_found(copy, name, spoil, expected):
    client, run = a_run(copy, name)
    spoil(client, run, run.info.run_id)
    assert expected in found_in_mlflow(copy)


def test_a_point_too_many_too_few_or_wrong_is_found(copy):
    client, run = a_run(copy)
    client.log_metric(run.info.run_id, "val/loss", 0.5, step=2)
    assert "('val/loss', 2) is there 2 times" in found_in_mlflow(copy)
    client.log_metric(run.info.run_id, "val/loss", 0.5, step=9)
    assert "('val/loss', 9) is 0.5 there, and set() here" in found_in_mlflow(copy)
    change_ledger(
        copy,
        "UPDATE events SET payload = json_set(payload, '$.metrics.extra', 1.0) "
        "WHERE kind = 'measured' AND number = 1",
    )
    assert "('extra', 1) is there 0 times" in found_in_mlflow(copy)
