"""The recorder of a sweep in MLflow, with the ledger as its queue.

Training never waits for MLflow. The recorder reads committed events after a cursor, in a thread of
its own. Events stay pending until MLflow answers again, or until `sweeper sync`. The cursor moves
after a batch has arrived. If the process dies in between, the batch is shipped twice, but this
changes nothing: the recorder looks for runs by a tag before it creates them, and each metric has
the time of its event, so that MLflow stores the same point only once.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweeper.errors import BackendUnreachable, SweeperError
from sweeper.ledger import Event, EventKind, Ledger
from sweeper.ledger.reading import CURSOR
from sweeper.model import Trial
from sweeper.tracking.logged_models import ModelFiles, ModelRecord
from sweeper.tracking.mlflow_store import (
    PARENT,
    MlflowStore,
    RecordRefused,
    absolute,
    tracking_uri,
    without_password,
)
from sweeper.tracking.outline import (
    SWEEP,
    Entity,
    Outline,
    identity_tags,
    read_outline,
    run_name,
    run_params,
    taken_over_tags,
)
from sweeper.tracking.run_tree import SUMMARY_STEP, Change, MetricPoint, changes, failure_log

EVENTS_A_BATCH = 2000
MANY = 50  # trials; a single query is faster for more
MAX_PAUSE_S = 60.0
TAGS = "sweeper.tag."  # prefix of the tags that users give a sweep
RETRY_S = 1.0  # longest pause between attempts at the end of a sweep
MAX_ERROR = 300  # characters of the first line; databases add their statements
AWAY_S = 60.0  # longest wait for an unreachable MLflow at the end of a sweep


class Pages(Protocol):
    """Notes, summaries and files for the runs of a sweep (`study` None) and of its studies."""

    def note(self, ledger: Ledger, study: str | None) -> str:
        """Return Markdown for the run's description."""
        ...

    def summary(self, ledger: Ledger, study: str | None) -> Mapping[str, float]:
        """Return metrics for the run of an ended sweep."""
        ...

    def files(self, ledger: Ledger, study: str | None) -> Mapping[str, str]:
        """Return artifacts for the run of an ended sweep, by file name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sources of what runs have besides events.

    Attributes:
        pages: Descriptions and files for the runs of the sweep and its studies; None: none.
        place_of: A function from a trial and the name of its checkpoint to the checkpoint's place.
        model_of: A function from a trial and the name of its validation metric to a context with
            its model. The best trial of an ended study becomes a logged model. None: no models.
        mark_of: A function from a trial to the mark of the runs that its program writes, which are
            put under its run. None: programs write none.
    """

    pages: Pages | None = None
    place_of: Callable[[Trial, str], str] = lambda trial, checkpoint: checkpoint
    model_of: Callable[[Trial, str], AbstractContextManager[ModelFiles]] | None = None
    mark_of: Callable[[Trial], str] | None = None


EVENTS_ALONE = Sources()


@dataclass(frozen=True, kw_only=True)
class SyncStatus:
    """The progress of a recorder. `pending` is the number of events that MLflow lacks."""

    shipped: int  # by this recorder
    pending: int
    last_error: str | None
    uri: str  # without a password
    page: str | None = None  # address of the experiment's runs in a browser, if it is known
    refused: int = 0  # changes that MLflow refuses for good, such as for a deleted run
    restored: int = 0  # runs with restored artifacts


class MlflowRecorder:
    """A recorder that follows one ledger.

    Args:
        ledger: The ledger.
        uri: The tracking URI; None: MLFLOW_TRACKING_URI, else the default of MLflow.
        experiment: The name of the experiment.
        sources: The sources of what runs have besides events.
        poll_s: The seconds between two reads of the ledger.
        notify: A function that receives one line when MLflow stops answering, and one when it
            answers again.
        announce: A function that receives the address of the experiment's runs, when a server has
            the experiment.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        uri: str | None,
        experiment: str,
        sources: Sources = EVENTS_ALONE,
        poll_s: float = 1.0,
        notify: Callable[[str], None] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self._ledger, self._experiment = ledger, experiment
        self._pages, self._place_of = sources.pages, sources.place_of
        self._model_of, self._mark_of = sources.model_of, sources.mark_of
        self._poll_s, self._notify, self._announce = poll_s, notify, announce
        self._uri = tracking_uri(uri)
        self.uri = absolute(without_password(self._uri, self._uri))  # for messages
        # An address may have a password, so that the ledger knows MLflow by a hash of it.
        self.name = f"mlflow:{hashlib.sha256(self._uri.encode()).hexdigest()[:16]}"
        self._one_at_a_time = threading.Lock()
        self._stopping = threading.Event()
        self._given_up_at = 0.0  # end of the wait in `stop`, by the monotonic clock
        self._thread: threading.Thread | None = None
        self._store: MlflowStore | None = None
        self._refs: dict[str, str] = {}  # copy of the ledger's mirror: run ids, cursor, notes
        self._outline: Outline | None = None
        self._is_restored = False  # a ledger from a copy may lack points that MLflow has
        self._known: dict[str, dict[str, set[tuple[str, float, int]]]] = {}  # by run and curve
        self._shipped = self._refused = self._put_back = 0
        self._last_error: str | None = None
        self._lost_since: str | None = None
        self._page: str | None = None

    def start(self) -> None:
        """Start to follow the ledger in a thread."""
        self._thread = threading.Thread(target=self._follow, name="mlflow recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> SyncStatus:
        """Ship the remaining events, with retries for at most `timeout_s`, and stop."""
        # The thread reads this time as soon as it sees the event, which is therefore set last.
        self._given_up_at = time.monotonic() + min(timeout_s, AWAY_S)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self.status()

    def sync(self) -> SyncStatus:
        """Ship all events now in this thread, and restore deleted artifacts as far as possible.

        Returns:
            The progress. `last_error` has the reason if MLflow does not answer.
        """
        if self._drain():
            try:
                self._restore_artifacts()
            except Exception as error:  # any error of MLflow's client, its store or the network
                self._lost(without_password(f"{type(error).__name__}: {error}", self._uri))
        return self.status()

    def attach(self, study: str, number: int, folder: Path) -> bool:
        """Add a folder to the artifacts of a trial's run; return whether this was possible."""
        return self._change(Entity(study, number), lambda store, run: store.attach(run, folder))

    def runs(self) -> list[str]:
        """Return the ids of the sweep's shipped runs, parents first."""
        refs = self._ledger.mirror(self.name)
        kinds = ("sweep", "study", "trial")
        found = [(kinds.index(k), ref) for key, ref in refs.items() if (k := _kind(key)) in kinds]
        return [ref for _, ref in sorted(found) if ref]

    def delete_runs(self) -> None:
        """Delete all runs of the sweep, with the sweep's own run last.

        Raises:
            BackendUnreachable: MLflow does not answer.
        """
        try:
            runs = self.runs()
            store = MlflowStore(self._uri, self._experiment) if runs else None
            for run_id in reversed(runs):
                assert store is not None
                with suppress(RecordRefused):  # it was deleted by hand
                    store.delete(run_id)
            outline = read_outline(self._ledger)
            if store is not None and outline is not None:
                with suppress(RecordRefused):  # a server that is older than logged models
                    store.delete_models(_sweep_id(outline))
        except Exception as error:  # any error of MLflow's client, its store or the network
            why = without_password(f"{type(error).__name__}: {error}", self._uri)
            raise BackendUnreachable(
                f"MLflow at {self.uri} does not delete the runs: {why.splitlines()[0]}"
            ) from error

    def describe(self) -> bool:
        """Copy the tags and notes of users to the sweep's run; return whether this was possible."""
        return self._change(
            SWEEP, lambda store, run: store.describe(run, self._remarks(), prefix=TAGS)
        )

    def _change(self, entity: Entity, change: Callable[[MlflowStore, str], None]) -> bool:
        """Change a run at once, beside the queue; return whether this was possible."""
        run_id = self._ledger.mirror(self.name).get(entity.key)
        if not run_id:
            return False
        try:
            change(MlflowStore(self._uri, self._experiment), run_id)
        except Exception:  # any error of MLflow's client, its store or the network
            return False
        return True

    def _remarks(self) -> dict[str, str]:
        tags = {f"{TAGS}{name}": value for name, value in self._ledger.tags().items()}
        notes = "\n".join(map(str, self._ledger.remarks()))
        return tags | ({"sweeper.notes": notes} if notes else {})

    def _follow(self) -> None:
        pause = self._poll_s
        while True:
            # This is asked before events are shipped: the last round has all that came before
            # `stop`.
            is_last = self._stopping.is_set()
            shipped = self._drain()
            if is_last and (shipped or time.monotonic() > self._given_up_at):
                return
            pause = self._poll_s if shipped else min(2 * pause, MAX_PAUSE_S)
            if is_last:
                time.sleep(min(pause, RETRY_S))
            else:
                self._stopping.wait(pause)

    def _drain(self) -> bool:
        """Ship all batches; return False, after a message, if MLflow does not answer."""
        try:
            with self._one_at_a_time:
                while self._ship_batch():
                    pass
        except Exception as error:  # any error of MLflow's client, its store or the network
            self._store = None  # the next answer may come from another store
            self._lost(without_password(f"{type(error).__name__}: {error}", self._uri))
            return False
        if self._lost_since is not None:
            self._say(f"MLflow is back; it has all records since {self._lost_since}.")
            self._last_error = self._lost_since = None
        return True

    def _lost(self, error: str) -> None:
        self._last_error = error.splitlines()[0][:MAX_ERROR]
        if self._lost_since is None:
            self._lost_since = time.strftime("%H:%M:%S")
            self._say(
                f"MLflow at {self.uri} does not take records since "
                f"{self._lost_since}; the sweep goes on, and the ledger keeps them. "
                f"({self._last_error})"
            )

    def _say(self, line: str) -> None:
        if self._notify is not None:
            self._notify(line)

    @property
    def outage(self) -> str | None:
        """The error of an MLflow that does not answer at present; None if it answers."""
        return self._last_error if self._lost_since is not None else None

    def status(self) -> SyncStatus:
        """Return the progress of the recorder."""
        cursor = int(self._ledger.mirror(self.name).get(CURSOR) or 0)
        return SyncStatus(
            shipped=self._shipped,
            pending=self._ledger.count_events(after=cursor),
            last_error=self._last_error,
            uri=self.uri,
            page=self._page,
            refused=self._refused,
            restored=self._put_back,
        )

    # One batch -----------------------------------------------------------------------------

    def _ship_batch(self) -> bool:
        """Ship the next events, and move the cursor; return False if there are none."""
        store = self._open()
        events = self._ledger.events(int(self._refs.get(CURSOR, 0)), EVENTS_A_BATCH)
        if not events:
            return False
        outline = self._fresh_outline(events)
        runs, notes = changes(events, outline, self._refs)
        for entity, change in runs.items():
            try:
                self._apply(store, entity, change, outline)
            except RecordRefused as refusal:  # go on with the other runs
                self._refused += 1
                self._last_error = f"refused: {refusal}"
        # The runs of all trials exist now.
        for entity, change in runs.items():
            if change.model_of is not None:
                self._keep_model(store, Entity(entity.study, change.model_of), outline)
        # Notes and cursor are one write, so that a batch that is shipped again has the same notes.
        self._note({**notes, CURSOR: str(events[-1].seq)})
        self._shipped += len(events)
        return True

    def _open(self) -> MlflowStore:
        """Return the store; start again from the first event if it lacks the sweep's run."""
        if self._store is not None:
            return self._store
        store = MlflowStore(self._uri, self._experiment)
        self._refs = self._ledger.mirror(self.name)
        self._is_restored = self._ledger.is_restored()
        if not store.has_run(self._refs.get(SWEEP.key) or "none"):
            self._note(dict.fromkeys(self._refs, ""))
            self._refs = {}
        self._store = store
        if self._page is None and store.page is not None:
            self._page = store.page
            if self._announce is not None:
                self._announce(store.page)
        return store

    def _fresh_outline(self, events: Sequence[Event]) -> Outline:
        """Return the current outline; of trials, read only those again that the events change."""
        changed = {(e.study, e.number) for e in events if e.kind is not EventKind.MEASURED}
        # An event without a trial may have added a study, or changed the sweep.
        is_wide = any(number is None for _, number in changed) or len(changed) > MANY
        if self._outline is None or is_wide:
            self._outline = read_outline(self._ledger)
            assert self._outline is not None, "events come after the sweep's row"
            return self._outline
        for study, number in changed:
            assert study is not None
            assert number is not None
            self._outline.trials[Entity(study, number)] = self._ledger.trial(study, number)
        return self._outline

    def _note(self, refs: Mapping[str, str]) -> None:
        self._ledger.note_mirror(self.name, refs)
        self._refs |= refs

    def _apply(self, store: MlflowStore, entity: Entity, change: Change, outline: Outline) -> None:
        """Apply a change to a run. The status comes last, so that an ended run is complete."""
        run_id = self._run_id(store, entity, change.since, outline)
        tags = dict(change.tags) | (self._remarks() if entity == SWEEP else {})
        if change.has_news and self._pages is not None:
            tags["mlflow.note.content"] = self._pages.note(self._ledger, entity.study)
        if change.taken_over:
            tags |= taken_over_tags(change.taken_over, outline, self._refs, store.address_of)
        # A checkpoint in a store is linked, not copied.
        if change.checkpoint is not None:
            place = self._place_of(outline.trials[entity], change.checkpoint)
            if "://" in place:
                tags["sweeper.checkpoint"] = place
            elif Path(place).is_dir():
                store.keep(run_id, Path(place))
            else:
                tags["sweeper.checkpoint"] = f"not on this machine: {place}"
        if change.drops_checkpoint:
            store.forget_checkpoint(run_id)
        store.write(run_id, change.files)
        store.clear(run_id, change.outdated)
        store.log(run_id, self._lacking(store, run_id, change.points), tags)
        if change.is_closed and self._pages is not None:
            at = change.since if change.ended_at is None else change.ended_at
            self._summarize(store, run_id, entity, at)
            store.write(run_id, self._pages.files(self._ledger, entity.study))
        if self._mark_of is not None and entity in outline.trials and change.ended_at is not None:
            store.adopt(run_id, self._mark_of(outline.trials[entity]))
        if change.status is not None:
            store.turn(run_id, change.status, change.ended_at)

    def _summarize(self, store: MlflowStore, run_id: str, entity: Entity, at: int) -> None:
        """Log the values of an ended sweep or study that its former end, if any, did not have."""
        assert self._pages is not None
        note = f"summary/{entity.key}"
        before = json.loads(self._refs.get(note) or "{}")
        values = dict(self._pages.summary(self._ledger, entity.study))
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        points = [MetricPoint(name, v, at, SUMMARY_STEP) for name, v in changed.items()]
        store.log(run_id, self._lacking(store, run_id, points), {})
        self._note({note: json.dumps(values)})

    def _keep_model(self, store: MlflowStore, best: Entity, outline: Outline) -> None:
        """Store the model of the best trial of a study; say on the study's run where it is.

        A model that cannot be exported here, such as after a checkpoint was deleted, must not keep
        the other records from MLflow.
        """
        run_id, study_run_id = (self._refs.get(entity.key) for entity in (best, Entity(best.study)))
        # A run that MLflow refused has no id.
        if self._model_of is None or not run_id or not study_run_id:
            return
        trial = outline.trials[best]
        sweep_id = _sweep_id(outline)
        try:
            with self._model_of(trial, outline.studies[trial.study].objective) as files:
                record = ModelRecord(
                    files=files,
                    unique=f"{sweep_id}/model/{trial.study}",
                    sweep_id=sweep_id,
                    run_id=run_id,
                    study_run_id=study_run_id,
                    tags=identity_tags(best, outline),
                    params=run_params(best, outline),
                )
                address = store.keep_model(record)
        except (SweeperError, RecordRefused) as error:
            address = f"none: {without_password(str(error), self._uri)}"
        store.log(study_run_id, (), {"sweeper.model": address})

    def _lacking(
        self, store: MlflowStore, run_id: str, points: list[MetricPoint]
    ) -> list[MetricPoint]:
        """Return the points that a run lacks.

        A point that is shipped twice has the same time, so MLflow stores it once. A ledger that was
        restored from its copy repeats measurements at another time. Such points are left out if
        their values agree.
        """
        if not self._is_restored:
            return points
        known = self._known.setdefault(run_id, {})
        # The history of a curve costs a request, so that each is read once.
        for key in {point.key for point in points} - known.keys():
            known[key] = store.points(run_id, key)
        return [p for p in points if (p.key, p.value, p.step) not in known[p.key]]

    def _restore_artifacts(self) -> None:
        """Restore the artifacts of runs that have none, because a user has deleted them."""
        store, outline = self._open(), read_outline(self._ledger)
        # The artifacts of a sweep that runs have yet to be written.
        if outline is None or outline.record.state in ("new", "running"):
            return
        for entity in (SWEEP, *(Entity(name) for name in outline.studies), *outline.trials):
            run_id = self._refs.get(entity.key)
            if not run_id or not store.has_run(run_id) or store.artifacts(run_id):
                continue
            trial = outline.trials.get(entity)
            kept = None if trial is None else trial.checkpoint
            place = None if trial is None or kept is None else Path(self._place_of(trial, kept))
            has_folder = place is not None and place.is_dir()
            if place is not None and has_folder:
                store.keep(run_id, place)
            files = self._files(entity)
            store.write(run_id, files)
            self._put_back += has_folder or bool(files)

    def _files(self, entity: Entity) -> Mapping[str, str]:
        """Return the text artifacts of a run of an ended sweep, by name."""
        if entity.number is None:
            return self._pages.files(self._ledger, entity.study) if self._pages else {}
        events = self._ledger.events(study=entity.study, number=entity.number)
        return {name: text for event in events for name, text in failure_log(event).items()}

    def _run_id(self, store: MlflowStore, entity: Entity, since: int, outline: Outline) -> str:
        """Return the id of an entity's run; find the run by its tag or create it if necessary."""
        if self._refs.get(entity.key):
            return self._refs[entity.key]
        tags = identity_tags(entity, outline)
        if entity.parent is not None:
            tags[PARENT] = self._run_id(store, entity.parent, since, outline)
        run_id = store.find_or_create(
            f"{_sweep_id(outline)}/{entity.key}",
            name=run_name(entity, outline),
            since=since,
            tags=tags,
            params=run_params(entity, outline),
        )
        self._note({entity.key: run_id})
        return run_id


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _sweep_id(outline: Outline) -> str:
    """Return an id that is unique among sweeps of the same name in an MLflow store."""
    return outline.record.fingerprint[:16]
