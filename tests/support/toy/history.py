"""A comparison of three accounts of a toy sweep: the trials' own history, the ledger, and MLflow.

Each check returns what is wrong, a line each, so that a test says `assert not violations(...)`.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper.ledger import Event, EventKind, Ledger
from sweeper.model import Trial, TrialKind, TrialState
from sweeper.tracking.run_tree import first_chart
from tests.support.toy.curve import values

STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAILED: "FAILED"}
WORK = {EventKind.ATTEMPT_STARTED, EventKind.MEASURED, EventKind.ATTEMPT_ENDED}
Key = tuple[str, int]  # a trial: its study's name and its number


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line that a trial wrote of itself: it started, trained an epoch, or a fault happened."""

    study: str
    number: int
    attempt: int
    event: str
    pid: int
    time: float
    step: int
    stage: str | None = None
    epoch: int | None = None
    value: float | None = None
    kind: str | None = None

    @property
    def key(self) -> Key:
        return self.study, self.number


def read(folder: Path) -> list[Line]:
    """Return the history of the toy sweep in `folder`, oldest line first."""
    files = (folder / "history").glob("*.jsonl")
    lines = [Line(**json.loads(text)) for file in files for text in file.read_text().splitlines()]
    return sorted(lines, key=lambda line: line.time)


def events(ledger: Ledger) -> list[Event]:
    """Return all events of a ledger."""
    found: list[Event] = []
    while more := ledger.events(found[-1].seq if found else 0):
        found += more
    return found


def outcomes(ledger: Ledger) -> dict[Key, tuple[Any, ...]]:
    """Return what each trial came to, to be compared with that of another run of the sweep."""
    return {
        (t.study, t.number): (
            dict(t.params), t.state, t.value, t.best_epoch, dict(t.test),
            [(m.stage, m.epoch, dict(m.metrics)) for m in ledger.measurements(t.study, t.number)],
        )
        for t in ledger.trials()
    }  # fmt: skip


def violations(
    folder: Path, ledger: Ledger, *, planned: Mapping[str, int], faults: int
) -> list[str]:
    """Return how ledger and history contradict the plan or each other.

    Args:
        planned: Trials by study.
        faults: How often something was killed: each may cost a trial one epoch.
    """
    trials = {(t.study, t.number): t for t in ledger.trials()}
    by_trial: defaultdict[Key, list[Event]] = defaultdict(list)
    for event in events(ledger):
        if event.study is not None and event.number is not None:
            by_trial[event.study, event.number].append(event)
    lines: defaultdict[Key, list[Line]] = defaultdict(list)
    for line in read(folder):
        lines[line.key].append(line)
    found = list(_wrong_plan(trials, planned))
    for key in sorted(trials.keys() | lines.keys()):
        if key not in trials:
            found.append(f"{key}: ran, though the ledger lacks it")
            continue
        wrong = [
            *_wrong_events(trials[key], by_trial[key]),
            *_wrong_measurements(trials[key], ledger),
            *_wrong_attempts(lines[key]),
            *_wrong_together(by_trial[key], lines[key], faults),
        ]
        found += [f"{key}: {text}" for text in wrong]
    return found


def _wrong_plan(trials: Mapping[Key, Trial], planned: Mapping[str, int]) -> Iterator[str]:
    expected = {(study, number) for study, count in planned.items() for number in range(count)}
    if missing := expected - trials.keys():
        yield f"missing: {sorted(missing)}"
    if extra := trials.keys() - expected:
        yield f"not planned: {sorted(extra)}"
    sampled = [t for t in trials.values() if t.kind is TrialKind.SAMPLED]
    suggestions = Counter((t.study, json.dumps(dict(t.params), sort_keys=True)) for t in sampled)
    yield from (f"suggested {n} times: {which}" for which, n in suggestions.items() if n > 1)


def _wrong_events(trial: Trial, events: list[Event]) -> Iterator[str]:
    """A trial ends once, finished, and nothing of it happens afterwards."""
    kinds = [event.kind for event in events]
    if not trial.state.is_finished:
        yield f"is {trial.state}"
    if kinds.count(EventKind.TRIAL_ADDED) != 1:
        yield f"was added {kinds.count(EventKind.TRIAL_ADDED)} times"
    if (ends := kinds.count(EventKind.TRIAL_ENDED)) != 1:
        yield f"ended {ends} times"
    elif late := {*kinds[kinds.index(EventKind.TRIAL_ENDED) :]} & WORK:
        yield f"went on after its end: {sorted(late)}"
    attempts = [e.attempt for e in events if e.kind is EventKind.ATTEMPT_STARTED]
    if attempts != list(range(1, len(attempts) + 1)):
        yield f"its attempts are numbered {attempts}"


def _wrong_measurements(trial: Trial, ledger: Ledger) -> Iterator[str]:
    """Epochs leave no gap, and each measures what an undisturbed trial would have."""
    measured = ledger.measurements(trial.study, trial.number)
    for before, after in pairwise(measured):
        follows = after.epoch == (before.epoch + 1 if after.stage == before.stage else 1)
        if not follows:
            yield f"{after.stage} epoch {after.epoch} follows {before.stage} epoch {before.epoch}"
    if measured and measured[0].epoch != 1:
        yield f"begins with epoch {measured[0].epoch}"
    if trial.state is TrialState.COMPLETE and not (measured and measured[-1].is_final):
        yield "is complete without a last epoch"
    for m, value in zip(measured, values(trial.params, trial.seed, len(measured)), strict=True):
        if m.metrics[f"{m.stage}/train_loss"] != value**2:
            yield f"{m.stage} epoch {m.epoch} differs from an undisturbed trial's"
    judged = [m.objective for m in measured if m.objective is not None]
    finite = [value for value in judged if math.isfinite(value)]
    if trial.value != min(finite, default=None):
        yield f"its value is {trial.value}, its best epoch's {min(finite, default=None)}"


def _wrong_attempts(lines: list[Line]) -> Iterator[str]:
    """An attempt begins where one before it had come to, and trains epoch after epoch."""
    reached, at = 0, {}  # the furthest step of all attempts; where each attempt is
    for line in lines:
        if line.event == "started":
            if line.attempt in at:
                yield f"attempt {line.attempt} was started twice"
            if line.step > reached:
                yield f"attempt {line.attempt} begins after step {line.step} of {reached}"
            at[line.attempt] = line.step
        elif line.event == "epoch":
            if line.step != at.get(line.attempt, -1) + 1:
                yield f"attempt {line.attempt}: step {line.step} after {at.get(line.attempt)}"
            at[line.attempt] = line.step
            reached = max(reached, line.step)


def _wrong_together(events: list[Event], lines: list[Line], faults: int) -> Iterator[str]:
    """Yield the faults of a history. Every epoch of the ledger was trained, few of them twice, and
    none after the end of the trial."""
    trained = [(line.stage, line.epoch) for line in lines if line.event == "epoch"]
    again = len(trained) - len(set(trained))
    if again > faults:
        yield f"{again} epochs were trained again for {faults} faults"
    measured = [e.payload for e in events if e.kind is EventKind.MEASURED]
    if invented := {(m["stage"], m["epoch"]) for m in measured} - set(trained):
        yield f"measured but never trained: {sorted(invented)}"
    ended = [e.at for e in events if e.kind is EventKind.TRIAL_ENDED]
    late = [line for line in lines if line.event == "started" and ended and line.time > ended[0]]
    yield from (f"attempt {line.attempt} started after its end" for line in late)


def mlflow_violations(ledger: Ledger, uri: str, experiment: str) -> list[str]:
    """Return how MLflow differs from the ledger of a sweep that has ended: runs, their states,
    each point of each curve.
    """
    client = MlflowClient(uri)
    runs = _runs(client, experiment)
    owned: defaultdict[tuple[str | None, int | None], list[Run]] = defaultdict(list)
    for run in runs:
        number = run.data.tags.get("sweeper.trial")
        owner = run.data.tags.get("sweeper.study"), int(number) if number else None
        owned[owner].append(run)
    trials = {(t.study, t.number): t for t in ledger.trials()}
    expected = {(None, None), *((s.name, None) for s in ledger.studies()), *trials}
    found = [f"orphan: {run.info.run_name}" for o in owned.keys() - expected for run in owned[o]]
    found += [f"{o}: {len(owned[o])} runs" for o in expected if len(owned[o]) != 1]
    ids = {run.info.run_id: owner for owner, some in owned.items() for run in some}
    for run in runs:
        study, number = owner = ids[run.info.run_id]
        parent = ids.get(run.data.tags.get("mlflow.parentRunId", ""))
        above = None if study is None else (None, None) if number is None else (study, None)
        if parent != above:
            found.append(f"{owner}: its parent is {parent}")
        if run.info.status in ("RUNNING", "SCHEDULED"):
            found.append(f"{owner}: is {run.info.status}")
    points = _points(ledger)
    for key, trial in trials.items():
        for run in owned[key]:
            if trial.state in STATUS and run.info.status != STATUS[trial.state]:
                found.append(f"{key}: is {run.info.status} there, and {trial.state} here")
            found += [f"{key}: {text}" for text in _wrong_curves(client, run, points[key])]
    return found


def _runs(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None, f"MLflow has no experiment {experiment}"
    runs: list[Run] = []
    page = client.search_runs([found.experiment_id], max_results=1000)
    runs += page
    while page.token:
        page = client.search_runs([found.experiment_id], max_results=1000, page_token=page.token)
        runs += page
    return runs


Points = defaultdict[tuple[str, int], set[float]]  # values by metric and step: of each attempt


def _points(ledger: Ledger) -> defaultdict[Key, Points]:
    points: defaultdict[Key, Points] = defaultdict(lambda: defaultdict(set))
    objectives = {study.name: study.objective for study in ledger.studies()}
    for event in events(ledger):
        if event.kind is EventKind.MEASURED:
            assert event.study is not None
            assert event.number is not None
            measured, stage = event.payload, event.payload["stage"]
            measurements = {
                **measured["metrics"],
                f"{stage}/seconds": measured.get("seconds", 0.0),
                f"{stage}/peak_memory_bytes": measured.get("peak_memory_bytes"),
            }
            objective = objectives[event.study]
            if objective in measured["metrics"]:
                measurements[first_chart(objective)] = measured["metrics"][objective]
            for name, value in measurements.items():
                if value is not None and math.isfinite(value):
                    points[event.study, event.number][name, measured["epoch"]].add(value)
    return points


def _wrong_curves(client: MlflowClient, run: Run, points: Points) -> Iterator[str]:
    there: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for name in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, name):
            there[name, point.step].append(point.value)
    for where in sorted(points.keys() | there.keys()):
        if where[0].startswith("best/"):
            continue
        if len(there[where]) != 1:
            yield f"{where} is there {len(there[where])} times"
        elif there[where][0] not in points[where]:
            yield f"{where} is {there[where][0]} there, and {points[where]} here"
