"""The changes to the MLflow runs of a sweep, as a pure function of the ledger's events.

    sweep run  >  study run  >  trial run          (parent by the tag `mlflow.parentRunId`)

Notes, which are written together with the cursor, record what was shipped. They contain the epochs
of each trial, so that a repeated epoch is not shown twice, and the best trial of each study so far,
which includes replicates after the end of the sweep. The same events and notes give the same
changes, whatever the sizes of the batches.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sweeper.core.pareto import front
from sweeper.core.ranking import CANDIDATES, ranked
from sweeper.ledger import Event, EventKind
from sweeper.model import CONSTRAINT, DataDraw, StudyFacts, Trial, TrialKind, TrialState
from sweeper.spec.goals import Goals
from sweeper.text import JsonObject
from sweeper.tracking.outline import SWEEP, Entity, Outline

STATUS = {  # MLflow has no status for pruned, paused or interrupted: see the tag `sweeper.state`
    TrialState.WAITING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.PAUSED: "SCHEDULED",  # KILLED once its sweep has ended
}
Values = Mapping[str, float | None]  # name of a metric -> value
Note = dict[str, Any]  # stored as JSON with the cursor
SUMMARY_STEP = 0  # step of values that do not change while a study runs
WHY = ("reason", "failure")  # of the end of an attempt
FLOOR = "floor"  # metric: test error of the best predictor without a network
OBJECTIVE = "Objective"  # section of charts; MLflow sorts capital letters first


def _floor(data: StudyFacts | DataDraw | None) -> dict[str, float]:
    """Return the floor of a task's data, if it is recorded."""
    return {} if data is None or data.floor is None else {FLOOR: data.floor.value}


def first_chart(objective: str) -> str:
    """Return the name of the objective's chart that comes before all other charts."""
    return f"{OBJECTIVE}/{objective.rpartition('/')[2]}"


class MetricPoint(NamedTuple):
    """One value of one metric. `at` is the event's time in milliseconds since the Unix epoch."""

    key: str
    value: float
    at: int
    step: int


@dataclass
class Change:
    """The changes that a batch of events makes to one run."""

    since: int  # ms; start of the run if this batch is its first
    points: list[MetricPoint] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    ended_at: int | None = None  # ms
    checkpoint: str | None = None  # name of a checkpoint to store with the run
    files: dict[str, str] = field(default_factory=dict)  # file name -> text to store with the run
    drops_checkpoint: bool = False  # delete the stored checkpoint
    has_news: bool = False  # the note of the run changes
    is_closed: bool = False  # the sweep has ended: write summary and files
    model_of: int | None = None  # the best trial of an ended study, whose model is to be stored
    taken_over: dict[str, str] = field(default_factory=dict)  # stage -> trial that computed it
    outdated: set[str] = field(default_factory=set)  # tags to delete

    def tag(self, tags: Mapping[str, object]) -> None:
        """Set tags; delete those without a value."""
        for name, value in tags.items():
            # A later event of the batch may set what an earlier one deletes, and the reverse.
            self.tags.pop(name, None)
            self.outdated.discard(name)
            if value is None or value == "":
                self.outdated.add(name)
            else:
                self.tags[name] = str(value)

    def turn(self, status: str, at: int) -> None:
        """Set the status and, if the status ends the run, the time."""
        self.status = status
        self.ended_at = None if status in ("RUNNING", "SCHEDULED") else at


def changes(
    events: Iterable[Event], outline: Outline, notes: Mapping[str, str]
) -> tuple[dict[Entity, Change], dict[str, str]]:
    """Return the changes to each run, parents first, and the notes to store."""
    batch = _Batch(outline, notes)
    for event in events:
        batch.take(event)
    return dict(sorted(batch.runs.items(), key=lambda item: _depth(item[0]))), batch.notes


def failure_log(event: Event) -> dict[str, str]:
    """Return the last log lines of an ended attempt, by the name of the artifact."""
    if event.kind is not EventKind.ATTEMPT_ENDED or not event.payload.get("log"):
        return {}
    return {f"failures/attempt-{event.attempt}.txt": event.payload["log"]}


def _depth(entity: Entity) -> int:
    return (entity.study is not None) + (entity.number is not None)


class _Batch:
    def __init__(self, outline: Outline, notes: Mapping[str, str]) -> None:
        self.outline, self._old = outline, notes
        self.runs: dict[Entity, Change] = {}
        self.notes: dict[str, str] = {}

    def _run(self, entity: Entity, at: int) -> Change:
        return self.runs.setdefault(entity, Change(since=at))

    def _note(self, key: str) -> Note:
        return dict(json.loads(self.notes.get(key) or self._old.get(key) or "{}"))

    def take(self, event: Event) -> None:
        """Change the run of an event; ends of trials and sweeps also change those above it."""
        at = round(event.at * 1000)
        run = self._run(Entity(event.study, event.number), at)
        if (handle := HANDLERS.get(event.kind)) is not None:
            handle(self, run, event, at)

    def _start_sweep(self, run: Change, event: Event, at: int) -> None:
        run.turn("RUNNING", at)
        run.tags["sweeper.state"] = "running"
        if event.payload.get("git_commit"):
            run.tags["sweeper.git_commit"] = str(event.payload["git_commit"])

    def _add_study(self, run: Change, event: Event, at: int) -> None:
        baselines = event.payload.get("facts", {}).get("baselines") or {}
        values = {f"baseline/{name}": value for name, value in baselines.items()}
        facts = self.outline.facts.get(str(event.study))
        self._add_points(run, values | _floor(facts), at, SUMMARY_STEP, "its data")

    def _wait(self, run: Change, event: Event, at: int) -> None:
        self._set_state(run, TrialState.WAITING, at)

    def _start_attempt(self, run: Change, event: Event, at: int) -> None:
        self._set_state(run, TrialState.RUNNING, at)
        run.tags["sweeper.attempt"] = str(event.attempt)
        if event.attempt != 1:  # those of the end of the attempt before
            run.tag(dict.fromkeys(map("sweeper.{}".format, WHY)))
        # A study that has ended runs again, as after an extension.
        study = self._run(Entity(event.study), at)
        study.turn("RUNNING", at)
        study.tags["sweeper.state"] = "running"

    def _drop_checkpoint(self, run: Change, event: Event, at: int) -> None:
        # An earlier event of this batch may ask for the checkpoint, which is gone by now.
        run.checkpoint, run.drops_checkpoint = None, True
        run.tags["sweeper.checkpoint"] = f"deleted: {event.payload['reason']}"

    def _add_remark(self, run: Change, event: Event, at: int) -> None:
        if event.number is not None:
            run.tags["sweeper.note"] = str(event.payload["text"])

    @staticmethod
    def _set_state(run: Change, state: TrialState, at: int) -> None:
        run.turn(STATUS[state], at)
        run.tags["sweeper.state"] = state

    def _end_attempt(self, run: Change, event: Event, at: int) -> None:
        """Show the failure of an attempt, and the number of batch halvings after it."""
        payload = event.payload
        state = TrialState(payload["state"])
        run.files |= failure_log(event)
        if payload.get("halvings"):
            run.tags["sweeper.halvings"] = str(payload["halvings"])
        # The end of a trial is an event of its own, which shows its state and reason.
        if not state.is_finished:
            self._set_state(run, state, at)
            self._explain(run, payload)
        if payload.get("quantities") and state is TrialState.COMPLETE:
            self._show_quantities(run, Entity(event.study, event.number), payload, at)

    def _show_quantities(self, run: Change, entity: Entity, payload: JsonObject, at: int) -> None:
        """Show the quantities of a complete trial, its feasibility, and the front with it.

        The note has the front alone: a trial that another one beats never comes back to it.
        """
        study, quantities = self.outline.studies[str(entity.study)], payload["quantities"]
        goals = Goals.of(self.outline.record.resolved, study.objective)
        values = {f"goals/{name}": value for name, value in quantities.items()}
        self._add_points(run, values, at, SUMMARY_STEP, "its end")
        is_feasible = payload.get("failure") != CONSTRAINT
        if goals.constraints:
            run.tags["sweeper.feasible"] = str(is_feasible).lower()
        if not goals.has_several:
            return
        run.tags["sweeper.pareto"] = "false"
        is_candidate = is_feasible and self.outline.trials[entity].kind in CANDIDATES
        if not is_candidate or not set(goals.objectives) <= quantities.keys():
            return
        before = self._note(f"front/{study.name}")
        points = {int(number): tuple(point) for number, point in before.items()}
        points[int(entity.number or 0)] = tuple(quantities[name] for name in goals.objectives)
        found = front(points)
        for number in points:
            if (number in found) != (str(number) in before):
                changed = self._run(Entity(study.name, number), at)
                changed.tags["sweeper.pareto"] = str(number in found).lower()
        self.notes[f"front/{study.name}"] = json.dumps({n: points[n] for n in found})
        self._run(Entity(study.name), at).tags["sweeper.front"] = ", ".join(map(str, found))

    @staticmethod
    def _explain(run: Change, payload: JsonObject) -> None:
        run.tag({f"sweeper.{name}": payload[name] for name in WHY if payload.get(name)})

    @staticmethod
    def _add_points(run: Change, values: Values, at: int, step: int, where: str) -> None:
        """Add finite values as points; report other values in a tag."""
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                run.points.append(MetricPoint(name, float(value), at, step))
            else:
                run.tags["sweeper.nonfinite"] = f"{name} = {value} at {where}"

    def _measure(self, run: Change, event: Event, at: int) -> None:
        payload = event.payload
        stage, epoch = str(payload["stage"]), int(payload["epoch"])
        key = f"epochs/{event.study}/{event.number}"
        shown = self._note(key)
        if epoch <= shown.get(stage, -1):
            return  # a later attempt has repeated it
        self.notes[key] = json.dumps({**shown, stage: epoch})
        if payload.get("computed_by"):
            # The note on a run names all stages that were taken over, whichever batch had them.
            shared = f"shared/{event.study}/{event.number}"
            run.taken_over = {**self._note(shared), stage: str(payload["computed_by"])}
            self.notes[shared] = json.dumps(run.taken_over)
        if payload.get("precision"):
            run.tags["sweeper.precision"] = str(payload["precision"])
        values = {f"{stage}/seconds": payload.get("seconds", 0.0)}
        if payload.get("peak_memory_bytes") is not None:
            values[f"{stage}/peak_memory_bytes"] = payload["peak_memory_bytes"]
        values |= payload["metrics"]  # last: a program may have metrics of these names
        objective = self.outline.studies[str(event.study)].objective
        if objective in payload["metrics"]:
            values[first_chart(objective)] = payload["metrics"][objective]
        self._add_points(run, values, at, epoch, f"{stage} epoch {epoch}")

    def _end_trial(self, run: Change, event: Event, at: int) -> None:
        payload, trial = event.payload, self.outline.trials[Entity(event.study, event.number)]
        state = TrialState(payload["state"])
        objective = self.outline.studies[trial.study].objective
        self._set_state(run, state, at)
        self._explain(run, payload)
        run.checkpoint = trial.checkpoint
        value = payload.get("value")
        self._show_own_best(run, trial, value, payload.get("best_epoch"), at)
        study = self._run(Entity(trial.study), at)
        study.has_news = self._run(SWEEP, at).has_news = True
        # Replicates change the best only at the end of the sweep, in `_settle`, and reruns never.
        if trial.kind.is_searched or trial.kind is TrialKind.SUGGESTED:
            values = {objective: value, **(payload.get("test") or {})}
            is_feasible = payload.get("failure") != CONSTRAINT
            self._tally(study, trial, state, values, at, is_feasible=is_feasible)

    def _show_own_best(
        self, run: Change, trial: Trial, value: float | None, epoch: int | None, at: int
    ) -> None:
        """Show the best value of a trial that has ended, at its epoch."""
        if value is not None:
            best = {f"best/{self.outline.studies[trial.study].objective}": value}
            floor = _floor(self.outline.data_of(trial))
            self._add_points(run, floor, at, SUMMARY_STEP, "its data")
            self._add_points(run, best, at, int(epoch or SUMMARY_STEP), "its end")

    def _tally(
        self,
        study: Change,
        trial: Trial,
        state: TrialState,
        values: Values,
        at: int,
        *,
        is_feasible: bool,
    ) -> None:
        """Show a complete trial on its study's run if it is the control, the preset or the best."""
        key = f"tally/{trial.study}"
        tally = self._note(key)
        step = tally["done"] = tally.get("done", 0) + 1
        # `_end_trial` puts the objective first.
        objective = next(iter(values))
        value = values[objective]
        if state is TrialState.COMPLETE and value is not None:
            if trial.kind is not TrialKind.SAMPLED:
                led = {f"{trial.kind}/{name}": v for name, v in values.items()}
                self._add_points(study, led, at, step, f"trial {trial.number}")
            # Of equal values the earlier trial is the best, whichever ended first.
            leader = tally.get("best", math.inf), tally.get("trial", 0)
            is_candidate = is_feasible and trial.kind in CANDIDATES and math.isfinite(value)
            if is_candidate and (value, trial.number) < leader:
                tally |= {"best": value, "trial": trial.number}
                self._show_best(study, trial, values, at, tally)
        self.notes[key] = json.dumps(tally)

    def _show_best(self, study: Change, trial: Trial, values: Values, at: int, tally: Note) -> None:
        """Show the best trial of a study on its run, with values and settings."""
        objective = next(iter(values))
        shown = {**values, first_chart(objective): values[objective]}
        self._add_points(study, shown, at, tally.get("done", 0), f"trial {trial.number}")
        study.tags["sweeper.best_trial"] = str(trial.number)
        # MLflow keeps old tags: those of the former best trial's parameters are deleted.
        former = dict.fromkeys(tally.get("params", ()))
        chosen = {**former, **{name: str(value) for name, value in trial.params.items()}}
        study.tag({f"sweeper.best.{name}": value for name, value in chosen.items()})
        tally |= {"params": list(trial.params), "shown": trial.number}

    def _settle(self, study: Change, trials: Iterable[Trial], at: int) -> None:
        """Show a study's best trial at the end, if the replicates have changed it."""
        best = next(iter(ranked(trials)), None)
        if best is None:
            return
        key = f"tally/{best.study}"
        tally = self._note(key)
        if best.number != tally.get("shown"):
            values = {self.outline.studies[best.study].objective: best.value, **best.test}
            self._show_best(study, best, values, at, tally)
            self.notes[key] = json.dumps(tally)

    def _end_sweep(self, sweep: Change, event: Event, at: int) -> None:
        """Close every run at the end of a sweep."""
        state = str(event.payload["state"])
        sweep.turn("FINISHED" if state == "finished" else "KILLED", at)
        sweep.tags["sweeper.state"] = state
        sweep.has_news = sweep.is_closed = True
        for name in self.outline.studies:
            mine = {e: t for e, t in self.outline.trials.items() if t.study == name}
            for entity, trial in mine.items():
                if trial.state is TrialState.PAUSED:
                    self._close_paused(self._run(entity, at), trial, state, at)
                elif not trial.state.is_finished:
                    self._set_state(self._run(entity, at), TrialState.INTERRUPTED, at)
            study = self._run(Entity(name), at)
            self._settle(study, mine.values(), at)
            if state != "interrupted":
                study.model_of = next((trial.number for trial in ranked(mine.values())), None)
            over = state == "finished" and all(t.state.is_settled for t in mine.values())
            solved = any(t.state is TrialState.COMPLETE for t in mine.values())
            study.turn(("FINISHED" if solved else "FAILED") if over else "KILLED", at)
            study.tags["sweeper.state"] = "finished" if over else "interrupted"
            study.has_news = study.is_closed = True

    def _close_paused(self, run: Change, trial: Trial, state: str, at: int) -> None:
        """Close the run of a paused trial at the end of its sweep; a promotion reopens it.

        Its checkpoint and its best value are recorded like those of a pruned trial, unless the
        sweep goes on later.
        """
        self._set_state(run, TrialState.PAUSED, at)
        run.turn("KILLED", at)
        if state == "finished":
            run.checkpoint = trial.checkpoint
            self._show_own_best(run, trial, trial.value, trial.best_epoch, at)


HANDLERS = {
    EventKind.SWEEP_STARTED: _Batch._start_sweep,
    EventKind.STUDY_ADDED: _Batch._add_study,
    EventKind.TRIAL_ADDED: _Batch._wait,
    EventKind.TRIAL_REOPENED: _Batch._wait,
    EventKind.ATTEMPT_STARTED: _Batch._start_attempt,
    EventKind.MEASURED: _Batch._measure,
    EventKind.ATTEMPT_ENDED: _Batch._end_attempt,
    EventKind.CHECKPOINT_DROPPED: _Batch._drop_checkpoint,
    EventKind.NOTED: _Batch._add_remark,
    EventKind.TRIAL_ENDED: _Batch._end_trial,
    EventKind.SWEEP_ENDED: _Batch._end_sweep,
}
