"""Reads and writes one sweep's ledger. A trial is done when its row is committed, nothing else.

One process writes: the driver that holds the sweep's lease. Every write is one transaction that
appends an event and updates the state it leads to. A write of an attempt that is no longer the
latest is refused, so that a worker thought dead cannot overwrite its successor.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from sweeper.errors import NotFound
from sweeper.ledger import schema
from sweeper.ledger.database import Database
from sweeper.ledger.records import Event, EventKind, SweepRecord
from sweeper.study import Measurement, Study, Trial, TrialKind, TrialState


class StaleAttempt(Exception):
    """A report of an attempt that another one has replaced; to be dropped."""


class Ledger:
    """The ledger of one sweep in the database at `url`.

    Raises:
        BackendUnreachable: The database does not answer.
        UsageError: The ledger was written by a newer sweeper, or the URL has no driver.
    """

    def __init__(self, url: str, sweep: str, *, clock: Callable[[], float] = time.time) -> None:
        self.url, self.name, self._clock = url, sweep, clock
        self._database = Database(url)

    @classmethod
    def in_folder(cls, folder: Path) -> "Ledger":
        """Opens (or creates) the SQLite ledger of the sweep whose folder this is."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'ledger.db'}", folder.name)

    def close(self) -> None:
        self._database.close()

    # The sweep and its studies -------------------------------------------------------------

    def create(self, record: SweepRecord) -> None:
        """Writes the sweep's own row, over that of one which never started."""
        table = schema.sweeps
        mine = table.c.name == self.name
        with self._database.transaction() as connection:
            connection.execute(delete(table).where(mine, table.c.state == "new"))
            values = asdict(record) | {"created_at": self._clock()}
            connection.execute(insert(table).values(values))

    def sweep(self) -> SweepRecord | None:
        """Returns the sweep's row, or None before `create`."""
        with self._database.reading() as connection:
            query = select(schema.sweeps).where(schema.sweeps.c.name == self.name)
            row = connection.execute(query).mappings().one_or_none()
        return SweepRecord(**row) if row else None

    def extend(self, resolved: Mapping[str, Any]) -> None:
        """Replaces the resolved file by one with more trials."""
        with self._database.transaction() as connection:
            connection.execute(
                update(schema.sweeps)
                .where(schema.sweeps.c.name == self.name)
                .values(resolved=dict(resolved))
            )

    def start(self, provenance: Mapping[str, Any]) -> None:
        """Marks the sweep as running, and says by what."""
        self._set_state("running", EventKind.SWEEP_STARTED, provenance)

    def end(self, state: str) -> None:
        """Marks the sweep as `finished` or `interrupted`."""
        self._set_state(state, EventKind.SWEEP_ENDED, {"state": state})

    def _set_state(self, state: str, kind: EventKind, payload: Mapping[str, Any]) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                update(schema.sweeps).where(schema.sweeps.c.name == self.name).values(state=state)
            )
            self._append(connection, kind, payload=payload)

    def add_study(self, study: Study, facts: Mapping[str, Any]) -> None:
        """Adds a study with what is known of its data. A second time is a no-op."""
        table = schema.studies
        with self._database.transaction() as connection:
            mine = select(table.c.name).where(table.c.sweep == self.name)
            names = connection.scalars(mine).all()
            if study.name in names:
                return
            connection.execute(
                insert(table).values(
                    sweep=self.name, position=len(names), facts=dict(facts), **asdict(study)
                )
            )
            payload = {**asdict(study), "facts": dict(facts)}
            self._append(connection, EventKind.STUDY_ADDED, study=study.name, payload=payload)

    def studies(self) -> tuple[Study, ...]:
        """Returns the studies in the order of the file."""
        return tuple(
            Study(**{k: row[k] for k in ("name", "method", "task", "objective", "seed")})
            for row in self._study_rows()
        )

    def facts(self, study: str) -> dict[str, Any]:
        """Returns what was recorded of a study's data: baselines, data source, hashes."""
        for row in self._study_rows():
            if row["name"] == study:
                return dict(row["facts"])
        raise NotFound(f"no study `{study}` in sweep `{self.name}`.")

    def _study_rows(self) -> list[Mapping[str, Any]]:
        table = schema.studies
        query = select(table).where(table.c.sweep == self.name).order_by(table.c.position)
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # Trials --------------------------------------------------------------------------------

    def add_trial(self, trial: Trial) -> None:
        """Plans a trial: from here on it will run, whatever happens to this process."""
        with self._database.transaction() as connection:
            values = {**asdict(trial), "params": dict(trial.params), "seed": str(trial.seed)}
            values["sampled"] = list(trial.sampled)
            connection.execute(insert(schema.trials).values(sweep=self.name, **values))
            self._append(connection, EventKind.TRIAL_ADDED, trial.study, trial.number, None, values)

    def start_attempt(self, study: str, number: int, **facts: Any) -> int:
        """Returns the number of a new attempt at a trial, which fences off the ones before."""
        with self._database.transaction() as connection:
            attempt = self._row(connection, study, number)["attempt"] + 1
            self._update(connection, study, number, attempt=attempt, state=TrialState.RUNNING)
            self._append(connection, EventKind.ATTEMPT_STARTED, study, number, attempt, facts)
        return int(attempt)

    def measure(self, study: str, number: int, attempt: int, measurement: Measurement) -> None:
        """Appends a measurement, and keeps the best objective and the latest checkpoint.

        Raises:
            StaleAttempt: A later attempt at this trial has begun.
        """
        with self._database.transaction() as connection:
            row = self._row(connection, study, number)
            self._fence(row, attempt)
            changes: dict[str, Any] = {}
            if measurement.checkpoint is not None:
                changes["checkpoint"] = measurement.checkpoint
            value = measurement.objective
            if value is not None and (row["value"] is None or value < row["value"]):
                changes |= {"value": value, "best_epoch": measurement.epoch}
            if changes:
                self._update(connection, study, number, **changes)
            payload = asdict(measurement)
            self._append(connection, EventKind.MEASURED, study, number, attempt, payload)

    def end_attempt(
        self,
        study: str,
        number: int,
        attempt: int,
        state: TrialState,
        *,
        failure: str | None = None,
        reason: str | None = None,
        log: str | None = None,
        test: Mapping[str, float] | None = None,
    ) -> None:
        """Ends an attempt, and with a finished `state` the trial: COMPLETE, PRUNED or FAILED.

        WAITING leaves the trial to be tried again, INTERRUPTED to be resumed.

        Raises:
            StaleAttempt: A later attempt at this trial has begun.
        """
        outcome = {"state": state, "failure": failure, "reason": reason}
        with self._database.transaction() as connection:
            self._fence(self._row(connection, study, number), attempt)
            ended = {**outcome, "log": log}
            self._append(connection, EventKind.ATTEMPT_ENDED, study, number, attempt, ended)
            self._update(connection, study, number, **outcome, test=dict(test or {}))
            if state.is_finished:
                row = self._row(connection, study, number)
                final = {**outcome, **{k: row[k] for k in ("value", "best_epoch", "test")}}
                self._append(connection, EventKind.TRIAL_ENDED, study, number, attempt, final)

    def trials(self, study: str | None = None) -> tuple[Trial, ...]:
        """Returns the trials of one study, or of all, by number."""
        table = schema.trials
        query = select(table).where(table.c.sweep == self.name)
        if study is not None:
            query = query.where(table.c.study == study)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(table.c.study, table.c.number)).mappings()
            return tuple(_trial(dict(row)) for row in rows)

    def measurements(self, study: str, number: int) -> tuple[Measurement, ...]:
        """Returns what a trial measured, oldest first.

        Epochs that a later attempt ran again replace those of the attempt before.
        """
        table = schema.events
        query = select(table.c.payload).where(
            table.c.sweep == self.name,
            table.c.study == study,
            table.c.number == number,
            table.c.kind == EventKind.MEASURED,
        )
        with self._database.reading() as connection:
            payloads = connection.scalars(query.order_by(table.c.seq)).all()
        latest: dict[tuple[str, int], Measurement] = {}
        for payload in payloads:
            latest[payload["stage"], payload["epoch"]] = Measurement(**payload)
        return tuple(latest.values())

    # What followers need -------------------------------------------------------------------

    def events(self, after: int = 0, limit: int = 10_000) -> tuple[Event, ...]:
        """Returns the events that follow `after`, oldest first."""
        table = schema.events
        query = select(table).where(table.c.sweep == self.name, table.c.seq > after)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(table.c.seq).limit(limit)).mappings()
            fields = ("seq", "at", "study", "number", "attempt", "payload")
            return tuple(
                Event(kind=EventKind(row["kind"]), **{k: row[k] for k in fields}) for row in rows
            )

    def mirror(self, recorder: str) -> dict[str, str]:
        """Returns what a recorder noted of what it has shipped: entity -> its id there."""
        table = schema.mirrors
        mine = (table.c.sweep == self.name) & (table.c.recorder == recorder)
        with self._database.reading() as connection:
            rows = connection.execute(select(table.c.entity, table.c.ref).where(mine))
            return {row.entity: row.ref for row in rows}

    def note_mirror(self, recorder: str, refs: Mapping[str, str]) -> None:
        """Notes what a recorder has shipped."""
        table = schema.mirrors
        with self._database.transaction() as connection:
            for entity, ref in refs.items():
                keys = {"sweep": self.name, "recorder": recorder, "entity": entity}
                mine = [table.c[k] == v for k, v in keys.items()]
                if not connection.execute(update(table).where(*mine).values(ref=ref)).rowcount:
                    connection.execute(insert(table).values(ref=ref, **keys))

    # Inside --------------------------------------------------------------------------------

    def _append(
        self,
        connection: Connection,
        kind: EventKind,
        study: str | None = None,
        number: int | None = None,
        attempt: int | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        connection.execute(
            insert(schema.events).values(
                sweep=self.name,
                at=self._clock(),
                kind=kind,
                study=study,
                number=number,
                attempt=attempt,
                payload=dict(payload or {}),
            )
        )

    def _mine(self, study: str, number: int) -> tuple[Any, ...]:
        table = schema.trials
        return table.c.sweep == self.name, table.c.study == study, table.c.number == number

    def _row(self, connection: Connection, study: str, number: int) -> Mapping[str, Any]:
        query = select(schema.trials).where(*self._mine(study, number))
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound(f"no trial {number} in study `{study}` of sweep `{self.name}`.")
        return dict(row)

    def _update(self, connection: Connection, study: str, number: int, **values: Any) -> None:
        connection.execute(update(schema.trials).where(*self._mine(study, number)).values(values))

    @staticmethod
    def _fence(row: Mapping[str, Any], attempt: int) -> None:
        if row["attempt"] != attempt or TrialState(row["state"]).is_finished:
            raise StaleAttempt(f"attempt {attempt} of trial {row['number']}: {row['attempt']} runs")


def _trial(row: Mapping[str, Any]) -> Trial:
    types = {"kind": TrialKind, "state": TrialState, "seed": int, "sampled": tuple}
    return Trial(**{k: types.get(k, lambda it: it)(v) for k, v in row.items() if k != "sweep"})
