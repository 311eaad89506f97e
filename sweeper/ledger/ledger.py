"""The writes of a driver to the ledger of one sweep. A trial has ended when its row is committed.

Only the driver that holds the sweep's lease writes, with one thread at a time. Every write is one
transaction that appends an event and updates the state with it (`model.apply`). A write of an
earlier attempt is refused, so that a worker that was wrongly taken for dead cannot overwrite its
successor. A write of a driver without the lease is refused, too.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from sweeper.errors import UsageError
from sweeper.ledger import backup, lease, schema
from sweeper.ledger.backup import copy_of
from sweeper.ledger.database import LEDGER, Database, url_in
from sweeper.ledger.reading import DUE, OpenLedger, running_in, trial_in
from sweeper.ledger.records import (
    OF_ATTEMPTS,
    Answer,
    ClusterSize,
    EndCause,
    EventKind,
    SweepRecord,
    lines_of,
)
from sweeper.ledger.rows import damage, sealed
from sweeper.ledger.schema import CHECKSUM
from sweeper.model import (
    DRIVER_DIED,
    AttemptEnded,
    AttemptStarted,
    CheckpointDropped,
    CheckpointNamed,
    EpochMeasured,
    Outcome,
    SamplerState,
    SamplerStateKept,
    Study,
    StudyFacts,
    Trial,
    TrialEvent,
    TrialReopened,
    TrialState,
    apply,
)
from sweeper.text import JsonObject
from trainables.report import Measurement

T = TypeVar("T")
Line = tuple[EventKind, int | None, JsonObject]  # kind, attempt and payload of an event
HURRY_S = 0.5
STATE = (  # columns of a trial that change with events
    "state",
    "attempt",
    "uncounted",
    "forgiven",
    "halvings",
    "value",
    "best_epoch",
    "test",
    "checkpoint",
    "failure",
    "reason",
    "sampler_state",
)
# A statement that is built once takes a third of the time of one that is built for each write.
CHANGE_TRIAL = update(schema.trials).where(
    *(schema.trials.c[name] == bindparam(f"of_{name}") for name in ("sweep", "study", "number"))
)


class StaleAttempt(Exception):
    """A report of an attempt that a later one has replaced. Callers drop it."""


class AnsweredBefore(Exception):
    """A request that was answered: what it asked for is not done again."""


class Ledger(OpenLedger):
    """The ledger of one sweep in the database at `url`.

    Raises:
        BackendUnreachable: The database does not answer.
        UsageError: A newer sweeper wrote the ledger, or the URL has no driver.
    """

    def __init__(self, url: str, sweep: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Database(url), sweep)
        self.url, self.clock = url, clock
        self._owner: str | None = None
        self._writing = threading.Lock()  # a second write would replace the mark before it is read
        self._latest = 0.0

    @classmethod
    def in_folder(cls, folder: Path) -> "Ledger":
        """Open or create the SQLite ledger in the folder of a sweep.

        Raises:
            UsageError: The ledger is damaged, or is empty although it has a copy.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ledger = cls(url_in(folder), folder.name)
        # Copies are made only of ledgers with a started sweep, so this one has lost its content.
        if copy_of(folder / LEDGER).is_file() and ledger.sweep() is None:
            ledger.close()
            raise ledger.damaged("holds no sweep any more")
        return ledger

    def check(self, *, max_events: float = math.inf) -> None:
        """Check the checksums of all rows: of a damaged row, a part could be taken for a result.

        Args:
            max_events: If there are more events, theirs are not checked. A million take 2 s.

        Raises:
            UsageError: The ledger is damaged.
        """
        found = self._database.read(
            lambda connection: damage(connection, self.name, max_events=max_events)
        )
        if found is not None:
            raise self.damaged(f"is damaged ({found})")

    def damaged(self, how: str) -> UsageError:
        """Return an error with the damage of this ledger, and with instructions for recovery."""
        return self._database.damaged(how)

    @contextmanager
    def backed_up(self) -> Iterator[None]:
        """Update the copy of an SQLite ledger every minute."""
        with backup.kept(self._database.file):
            yield

    def on_trouble(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with a line when the database stops answering, and when it answers again."""
        self._database.trouble = tell

    def hurry(self) -> None:
        """Use short timeouts from now on: the user wants to quit."""
        self._database.patience_s = HURRY_S

    @contextmanager
    def hold(self) -> Iterator[lease.Lease]:
        """Hold the sweep's lease, and write under it from now on.

        Raises:
            SweepIsHeld: Another process runs this sweep. The message names it.
        """
        with lease.hold(self._database, self.name) as held:
            self.act_for(held.owner)
            yield held

    def act_for(self, owner: str) -> None:
        """Write under the lease of another process of the same launch from now on."""
        self._owner = owner

    def create(self, record: SweepRecord) -> None:
        """Write the row of the sweep; replace the row of a sweep that never started."""
        table = schema.sweeps

        def write(connection: Connection) -> None:
            mine = table.c.name == self.name
            connection.execute(delete(table).where(mine, table.c.state == "new"))
            values = asdict(record) | {"created_at": self.clock()}
            connection.execute(insert(table).values(sealed(table, values)))

        self._write(write)

    def extend(
        self, resolved: JsonObject, *, config_hash: str | None = None, reopens: bool = False
    ) -> None:
        """Replace the resolved file by one with more trials, replicates or a moved store.

        If it `reopens`, a finished sweep may go on, as if it had been stopped.
        """
        values: dict[str, Any] = {"resolved": dict(resolved)}
        if reopens:
            values["state"] = "stopped"
        if config_hash is not None:
            values["config_hash"] = config_hash
        self._write(lambda connection: self._change_sweep(connection, **values))

    def forget_unstarted(self) -> bool:
        """Remove the sweep's row if it never started; return whether there was such a row."""
        table = schema.sweeps

        def write(connection: Connection) -> bool:
            mine = table.c.name == self.name
            found = connection.execute(delete(table).where(mine, table.c.state == "new"))
            return found.rowcount > 0

        return self._write(write)

    def start(self, provenance: JsonObject, **facts: Any) -> None:
        """Mark the sweep as running, with its provenance and further `facts` about this launch."""
        payload = {**provenance, **facts}

        def write(connection: Connection) -> None:
            self._change_sweep(connection, state="running", provenance=dict(provenance))
            self._append(connection, [(EventKind.SWEEP_STARTED, None, payload)])

        self._write(write)

    def end(self, state: str, reason: str | None = None, *, cause: EndCause | None = None) -> None:
        """Mark the sweep as `finished`, `stopped` or `interrupted`.

        Trials whose ends its driver could not record are interrupted.
        """
        payload = {"state": state, "reason": reason, **({} if cause is None else {"cause": cause})}

        def write(connection: Connection) -> None:
            # The end comes first: the use of time does not count what is written after it.
            self._change_sweep(connection, state=state)
            self._append(connection, [(EventKind.SWEEP_ENDED, None, payload)])
            for trial in running_in(connection, self.name):
                self._record(connection, trial, AttemptEnded(outcome=DRIVER_DIED))

        self._write(write)

    def _change_sweep(self, connection: Connection, **values: Any) -> None:
        table = schema.sweeps
        mine = table.c.name == self.name
        # The checksum covers the whole row, so it is read even if one column changes.
        row = connection.execute(select(table).where(mine)).mappings().one_or_none()
        if row is not None:
            changed = sealed(table, {**row, **values})
            connection.execute(update(table).where(mine).values(changed))

    def add_study(self, study: Study, facts: StudyFacts | None = None) -> None:
        """Add a study with the facts about its data. A second call has no effect."""
        table = schema.studies
        if study.name in {known.name for known in self.studies()}:
            return
        row = {**asdict(study), "facts": (facts or StudyFacts()).to_json()}

        def write(connection: Connection) -> None:
            mine = select(table.c.name).where(table.c.sweep == self.name)
            position = len(connection.scalars(mine).all())
            new = {"sweep": self.name, "position": position, "sampler_state": {}}
            values = sealed(table, {**row, **new})
            connection.execute(insert(table).values(values))
            self._append(connection, [(EventKind.STUDY_ADDED, None, row)], study.name)

        self._write(write)

    def set_facts(self, study: str, facts: StudyFacts) -> None:
        """Replace the facts of a study, as when it gets draws of data for further replicates."""
        self._write(lambda connection: self._change_study(connection, study, facts=facts.to_json()))

    def _change_study(self, connection: Connection, study: str, **values: Any) -> None:
        table = schema.studies
        mine = table.c.sweep == self.name, table.c.name == study
        row = connection.execute(select(table).where(*mine)).mappings().one()
        changed = sealed(table, {**row, **values})
        connection.execute(update(table).where(*mine).values(changed))

    def add_trial(
        self,
        trial: Trial,
        outcome: Outcome | None = None,
        state: SamplerState | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Plan a trial. From now on it will run even if this process dies.

        With an `outcome`, the trial ends at once with its first attempt. An `answer` to the request
        that it follows from is in the same transaction, here and in other methods.

        Raises:
            AnsweredBefore: The request has an answer already. Nothing is written.
        """
        if state is not None:
            trial = apply(trial, SamplerStateKept(state=state.trial))
        values = self._row(trial)
        planned = {k: values[k] for k in ("kind", "params", "sampled", "seed", "origin")}

        def write(connection: Connection) -> None:
            connection.execute(insert(schema.trials), values)
            added = (EventKind.TRIAL_ADDED, None, planned)
            self._append(connection, [added], trial.study, trial.number)
            self._keep(connection, trial.study, state)
            self._answer(connection, answer)
            if outcome is not None:
                ended = AttemptStarted(attempt=1), AttemptEnded(outcome=outcome)
                self._record(connection, trial, *ended)

        self._write(write)

    def reopen(self, study: str, number: int, answer: Answer | None = None) -> Trial:
        """Reopen an ended trial, so that it is tried again from its last checkpoint."""

        def write(connection: Connection) -> Trial:
            self._answer(connection, answer)
            trial = trial_in(connection, self.name, study, number)
            return self._record(connection, trial, TrialReopened())

        return self._write(write)

    def answer(self, answer: Answer) -> None:
        """Answer a request about a trial, of which nothing has to be written but the answer.

        Raises:
            AnsweredBefore: It was obeyed or refused before.
        """
        self._write(lambda connection: self._answer(connection, answer))

    def _answer(self, connection: Connection, answer: Answer | None) -> None:
        if answer is None:
            return
        table = schema.requests
        # Each request is obeyed once: the answer and all that follows from it are one transaction.
        due = table.c.sweep == self.name, table.c.id == answer.request, table.c.state.in_(DUE)
        values: dict[str, Any] = {"state": answer.state, "answer": answer.text}
        if answer.number is not None:
            values["number"] = answer.number
        if not connection.execute(update(table).where(*due).values(values)).rowcount:
            raise AnsweredBefore(f"request {answer.request} of sweep `{self.name}`")

    def start_attempt(self, study: str, number: int, **facts: Any) -> int:
        """Start a new attempt at a trial, fence off earlier ones, and return its number."""

        def write(connection: Connection) -> int:
            trial = trial_in(connection, self.name, study, number)
            started = AttemptStarted(attempt=trial.attempt + 1)
            return self._record(connection, trial, started, facts=facts).attempt

        return self._write(write)

    def take_over(
        self,
        study: str,
        number: int,
        measured: Iterable[Measurement],
        outcome: Outcome,
        state: SamplerState | None = None,
        answer: Answer | None = None,
    ) -> Trial:
        """Record an attempt that is not run, and return the ended trial.

        An equal trial has trained its epochs; of a trial that is skipped there are none.
        """

        def write(connection: Connection) -> Trial:
            self._answer(connection, answer)
            self._keep(connection, study, state)
            trial = trial_in(connection, self.name, study, number)
            kept = [] if state is None else [SamplerStateKept(state=state.trial)]
            started = AttemptStarted(attempt=trial.attempt + 1)
            epochs = (EpochMeasured(measurement=each) for each in measured)
            ended = AttemptEnded(outcome=outcome)
            return self._record(connection, trial, *kept, started, *epochs, ended)

        return self._write(write)

    def measure(
        self,
        study: str,
        number: int,
        attempt: int,
        measurement: Measurement,
        outcome: Outcome | None = None,
        state: SamplerState | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Append a measurement, and update the best objective and the latest checkpoint.

        With an `outcome`, the attempt ends in the same transaction. So does the update of what
        the sampler keeps.

        Raises:
            StaleAttempt: A later attempt at this trial has begun.
        """
        events: list[TrialEvent] = [EpochMeasured(measurement=measurement)]
        if outcome is not None:
            events.append(AttemptEnded(outcome=outcome))
        self._advance(study, number, attempt, *events, state=state, answer=answer)

    def name_checkpoint(self, study: str, number: int, attempt: int, checkpoint: str) -> None:
        """Record the newest complete checkpoint of an attempt that has measured nothing new.

        Raises:
            StaleAttempt: A later attempt at this trial has begun.
        """
        self._advance(study, number, attempt, CheckpointNamed(checkpoint=checkpoint))

    def end_attempt(
        self,
        study: str,
        number: int,
        attempt: int,
        outcome: Outcome,
        state: SamplerState | None = None,
    ) -> None:
        """End an attempt.

        The states COMPLETE, PRUNED and FAILED end the trial, too. A WAITING trial is tried again,
        an INTERRUPTED one can be resumed, and a PAUSED one can be promoted.

        Raises:
            StaleAttempt: A later attempt at this trial has begun.
        """
        self._advance(study, number, attempt, AttemptEnded(outcome=outcome), state=state)

    def drop_checkpoint(self, study: str, number: int, reason: str) -> None:
        """Record the deletion of a trial's checkpoint, with the reason.

        The write waits only briefly for the database, because it delays all other writes.
        """

        def write(connection: Connection) -> None:
            trial = trial_in(connection, self.name, study, number)
            self._record(connection, trial, CheckpointDropped(), facts={"reason": reason})

        self._write(write, patience_s=1.0)

    def _advance(
        self,
        study: str,
        number: int,
        attempt: int,
        *events: TrialEvent,
        state: SamplerState | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Record events of a running attempt, and what the sampler keeps, in one transaction.

        Raises:
            StaleAttempt: The attempt has ended, or is not the latest.
        """

        def write(connection: Connection) -> None:
            # In the same transaction, so that no attempt begins between the check and the write.
            trial = self._current(connection, study, number, attempt)
            self._answer(connection, answer)
            self._keep(connection, study, state)
            has_news = state is not None and state.trial != trial.sampler_state
            kept = [SamplerStateKept(state=state.trial)] if state and has_news else []
            self._record(connection, trial, *kept, *events)

        self._write(write)

    def _keep(self, connection: Connection, study: str, state: SamplerState | None) -> None:
        """Replace what the sampler keeps of a study and of further trials, if it has changed."""
        if state is not None and state.study is not None:
            self._change_study(connection, study, sampler_state=dict(state.study))
        for number, kept in ({} if state is None else state.others).items():
            trial = trial_in(connection, self.name, study, number)
            if kept != trial.sampler_state:
                self._record(connection, trial, SamplerStateKept(state=kept))

    def _current(self, connection: Connection, study: str, number: int, attempt: int) -> Trial:
        """Return the trial of a running attempt.

        Raises:
            StaleAttempt: The attempt has ended, or is not the latest.
        """
        trial = trial_in(connection, self.name, study, number)
        if trial.attempt != attempt or trial.state is not TrialState.RUNNING:
            raise StaleAttempt(
                f"attempt {attempt} of trial {number}: the latest is {trial.attempt}, "
                f"which is {trial.state}"
            )
        return trial

    def _record(
        self,
        connection: Connection,
        before: Trial,
        *events: TrialEvent,
        facts: JsonObject | None = None,
    ) -> Trial:
        """Append events of a trial, with `facts`, update its row, and return its new state."""
        after, lines = before, list[Line]()
        for event in events:
            earlier, after = after, apply(after, event)
            for kind, payload in lines_of(earlier, event, after):
                attempt = after.attempt if kind in OF_ATTEMPTS else None
                lines.append((kind, attempt, {**payload, **(facts or {})}))
        row = self._row(after)
        changes = {k: row[k] for k in STATE if getattr(after, k) != getattr(before, k)}
        # The checksum goes with any change, because it covers the whole row.
        if changes:
            mine = {"of_sweep": self.name, "of_study": before.study, "of_number": before.number}
            connection.execute(CHANGE_TRIAL, {**changes, CHECKSUM: row[CHECKSUM], **mine})
        self._append(connection, lines, before.study, before.number)
        return after

    def _row(self, trial: Trial) -> dict[str, Any]:
        """Return the row of a trial."""
        values = {**vars(trial), "seed": str(trial.seed), "sampled": list(trial.sampled)}
        return sealed(schema.trials, {**values, "sweep": self.name})

    def note(
        self, text: str, study: str | None = None, number: int | None = None, attempt: int = 0
    ) -> None:
        """Append a note to the history, which changes no state."""
        line = EventKind.NOTED, attempt if number is not None else None, {"text": text}
        self._write(lambda connection: self._append(connection, [line], study, number))

    def resize(self, *, nodes: int, slots: int, waiting: int) -> None:
        """Record the size of the cluster, and how many running trials wait for a node."""
        size = asdict(ClusterSize(nodes=nodes, slots=slots, waiting=waiting))
        line = EventKind.CLUSTER_RESIZED, None, size
        self._write(lambda connection: self._append(connection, [line]))

    def forget(self) -> None:
        """Delete every row of the sweep, including its lease."""

        def write(connection: Connection) -> None:
            for table in schema.metadata.sorted_tables:
                column = table.c.get("name" if table is schema.sweeps else "sweep")
                if column is not None:
                    connection.execute(delete(table).where(column == self.name))

        # No mark is left: it would be in the lease, which is deleted
        # with the rest. A second deletion does no harm.
        self._database.write(write)

    def _write(self, do: Callable[[Connection], T], *, patience_s: float = math.inf) -> T:
        # The mark is new for each transaction, so that a retry
        # cannot take another commit for its own.
        mark = None if self._owner is None else lease.Fence(self.name, self._owner)
        with self._writing:
            return self._database.write(do, mark=mark, patience_s=patience_s)

    def _append(
        self,
        connection: Connection,
        lines: Sequence[Line],
        study: str | None = None,
        number: int | None = None,
    ) -> None:
        self._latest = max(self._latest, self.clock())  # times never decrease
        shared = {"sweep": self.name, "at": self._latest, "study": study, "number": number}
        rows = [
            sealed(schema.events, {**shared, "kind": kind, "attempt": attempt, "payload": payload})
            for kind, attempt, payload in lines
        ]
        if rows:
            connection.execute(insert(schema.events), rows)
