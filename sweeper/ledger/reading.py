"""The ledger of one sweep for any process: reads, and writes without a lease."""

import getpass
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    distinct,
    func,
    insert,
    select,
    update,
)

from sweeper.errors import NotFound
from sweeper.ledger import backup, lease, schema
from sweeper.ledger.database import Database
from sweeper.ledger.records import (
    AFTERWARDS,
    AttemptUse,
    Event,
    EventKind,
    Moment,
    Remark,
    Request,
    RequestKind,
    RequestState,
    SweepRecord,
    Target,
)
from sweeper.ledger.rows import sealed
from sweeper.model import Study, StudyFacts, Trial, TrialKind, TrialOutline, TrialState
from sweeper.text import JsonObject
from trainables.report import Measurement

STUDY_FIELDS = ("name", "method", "task", "objective", "seed")
CURSOR = "cursor"  # entity of a recorder whose ref is the number of the last shipped event
EDGES = (EventKind.SWEEP_STARTED, EventKind.SWEEP_ENDED)
SIZES = (EventKind.SWEEP_STARTED, EventKind.CLUSTER_RESIZED)  # whose payloads have slots
ATTEMPTS = (EventKind.ATTEMPT_STARTED, EventKind.ATTEMPT_ENDED)
DUE = (RequestState.OPEN, RequestState.ACCEPTED)
EVENT_FIELDS = ("seq", "at", "study", "number", "attempt", "payload")
ONE_TRIAL = select(schema.trials).where(
    *(schema.trials.c[name] == bindparam(name) for name in ("sweep", "study", "number"))
)


class LedgerReader:
    """A reader of one sweep's ledger."""

    def __init__(self, database: Database, sweep: str) -> None:
        self.name, self._database = sweep, database

    def close(self) -> None:
        self._database.close()

    @property
    def is_shared(self) -> bool:
        """True if other hosts can write to it."""
        return self._database.is_shared

    def sweep(self) -> SweepRecord | None:
        """Return the record of the sweep, or None if it does not exist yet."""
        rows = self._rows(select(schema.sweeps).where(schema.sweeps.c.name == self.name))
        return SweepRecord(**_without_checksum(rows[0])) if rows else None

    def holder(self) -> lease.Holder | None:
        """Return the current driver of the sweep, if there is one."""
        return lease.living_holder(self._database, self.name)

    def studies(self) -> tuple[Study, ...]:
        """Return the studies in the order of the file."""
        return tuple(Study(**{k: row[k] for k in STUDY_FIELDS}) for row in self._study_rows())

    def facts(self, study: str) -> StudyFacts:
        """Return the recorded facts about a study: baselines, data source, hashes."""
        for row in self._study_rows():
            if row["name"] == study:
                return StudyFacts.from_json(row["facts"])
        raise NotFound(f"no study `{study}` in sweep `{self.name}`.")

    def sampler_state(self, study: str) -> JsonObject:
        """Return what the sampler keeps of a study (`SamplerState`); a new study has nothing."""
        rows = (row for row in self._study_rows() if row["name"] == study)
        return next((dict(row["sampler_state"]) for row in rows), {})

    def _study_rows(self) -> list[dict[str, Any]]:
        table = schema.studies
        query = select(table).where(table.c.sweep == self.name).order_by(table.c.position)
        return self._rows(query)

    def trials(
        self,
        study: str | None = None,
        *,
        state: TrialState | None = None,
        kind: TrialKind | None = None,
    ) -> tuple[Trial, ...]:
        """Return the trials of one study or of all studies, in the order of their numbers.

        Args:
            study: Return trials of this study only.
            state: Return trials in this state only.
            kind: Return trials of this kind only.
        """
        table = schema.trials
        query = select(table).where(table.c.sweep == self.name)
        if study is not None:
            query = query.where(table.c.study == study)
        if state is not None:
            query = query.where(table.c.state == state)
        if kind is not None:
            query = query.where(table.c.kind == kind)
        rows = self._rows(query.order_by(table.c.study, table.c.number))
        return tuple(_trial(row) for row in rows)

    def outlines(self, study: str) -> tuple[TrialOutline, ...]:
        """Return the trials of a study without their settings, many times faster than `trials`."""
        table = schema.trials
        mine = table.c.sweep == self.name, table.c.study == study
        chosen = (table.c[each.name] for each in fields(TrialOutline))
        rows = self._rows(select(*chosen).where(*mine).order_by(table.c.number))
        return tuple(
            TrialOutline(
                **{**row, "kind": TrialKind(row["kind"]), "state": TrialState(row["state"])}
            )
            for row in rows
        )

    def count_states(self) -> dict[str, int]:
        """Return the number of trials in each state, zeros included."""
        table = schema.trials
        query = select(table.c.state, func.count().label("trials")).where(
            table.c.sweep == self.name
        )
        rows = self._rows(query.group_by(table.c.state))
        counts = {row["state"]: row["trials"] for row in rows}
        return {state.value: counts.get(state.value, 0) for state in TrialState}

    def trial(self, study: str, number: int) -> Trial:
        """Return one trial.

        Raises:
            NotFound: There is no such trial.
        """
        return self._database.read(lambda opened: trial_in(opened, self.name, study, number))

    def measurements(self, study: str, number: int) -> tuple[Measurement, ...]:
        """Return the measurements of a trial, oldest first.

        An epoch that a later attempt has repeated replaces the earlier one.
        """
        return self.all_measurements(study, number).get(number, ())

    def all_measurements(
        self, study: str, number: int | None = None
    ) -> dict[int, tuple[Measurement, ...]]:
        """Return the measurements of each trial of a study, oldest first."""
        table = schema.events
        query = self._of_kind(study, EventKind.MEASURED, table.c.number, table.c.payload)
        if number is not None:
            query = query.where(table.c.number == number)
        latest: dict[int, dict[tuple[str, int], Measurement]] = {}
        for row in self._rows(query.order_by(table.c.seq)):
            measurement = Measurement(**row["payload"])
            mine = latest.setdefault(row["number"], {})
            # A repeated epoch also takes the place of the earlier one in the order.
            mine[measurement.stage, measurement.epoch] = measurement
        return {number: tuple(mine.values()) for number, mine in latest.items()}

    def use_of_attempts(self, study: str) -> tuple[AttemptUse, ...]:
        """Return the recorded epochs and seconds of each attempt at the trials of a study."""
        table = schema.events
        # A payload lacks the seconds if they are 0.
        latest = func.max(table.c.payload["seconds"].as_float())
        seconds = func.coalesce(latest, 0.0).label("seconds")
        # The last epoch of a program may be recorded again, as the final one.
        stage, epoch = (table.c.payload[key].as_string() for key in ("stage", "epoch"))
        epochs = func.count(distinct(stage + ":" + epoch)).label("epochs")
        of_attempt = (table.c.number, table.c.attempt)
        query = self._of_kind(study, EventKind.MEASURED, *of_attempt, epochs, seconds)
        return tuple(AttemptUse(**row) for row in self._rows(query.group_by(*of_attempt)))

    def quantities(self, study: str) -> dict[int, dict[str, float]]:
        """Return the quantities of each trial for objectives and constraints, as of its last stop.

        A trial that has none, such as one of a search without such goals, is left out.
        """
        table = schema.events
        query = self._of_kind(study, EventKind.ATTEMPT_ENDED, table.c.number, table.c.payload)
        rows = self._rows(query.order_by(table.c.seq))
        return {
            row["number"]: dict(row["payload"]["quantities"])
            for row in rows
            if row["payload"].get("quantities")
        }

    def order_of_ends(self, study: str) -> tuple[int, ...]:
        """Return the numbers of the trials of a study that have ended, by their latest end."""
        table = schema.events
        query = self._of_kind(study, EventKind.TRIAL_ENDED, table.c.number)
        query = query.group_by(table.c.number).order_by(func.max(table.c.seq))
        return tuple(row["number"] for row in self._rows(query))

    def _of_kind(self, study: str, kind: EventKind, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a query for columns of the events of one kind in a study."""
        table = schema.events
        return select(*columns).where(
            table.c.sweep == self.name, table.c.study == study, table.c.kind == kind
        )

    def events(
        self,
        after: int = 0,
        limit: int = 10_000,
        *,
        study: str | None = None,
        number: int | None = None,
        kinds: Collection[EventKind] = (),
    ) -> tuple[Event, ...]:
        """Return events, oldest first.

        Args:
            after: Return events after this sequence number.
            limit: The maximum number of events.
            study: Return events of this study only.
            number: Return events of this trial only.
            kinds: Return events of these kinds only; if empty, of all kinds.
        """
        table = schema.events
        query = select(table).where(table.c.sweep == self.name, table.c.seq > after)
        if study is not None:
            query = query.where(table.c.study == study)
        if number is not None:
            query = query.where(table.c.number == number)
        if kinds:
            query = query.where(table.c.kind.in_(kinds))
        return tuple(
            Event(kind=EventKind(row["kind"]), **{k: row[k] for k in EVENT_FIELDS})
            for row in self._rows(query.order_by(table.c.seq).limit(limit))
        )

    def count_events(self, after: int = 0, kinds: Collection[EventKind] = ()) -> int:
        """Return the number of events after `after`, of these kinds or, if empty, of all."""
        table = schema.events
        query = select(func.count()).where(table.c.sweep == self.name, table.c.seq > after)
        if kinds:
            query = query.where(table.c.kind.in_(kinds))
        return int(self._database.read(lambda connection: connection.scalar(query) or 0))

    def count_taken_over(self) -> int:
        """Return the number of epochs that trials took over from other trials."""
        table = schema.events
        builder = table.c.payload["computed_by"].as_string()
        query = select(func.count()).where(
            table.c.sweep == self.name, table.c.kind == EventKind.MEASURED, builder.is_not(None)
        )
        return int(self._database.read(lambda connection: connection.scalar(query) or 0))

    def timeline(self) -> tuple[Moment, ...]:
        """Return the events that the use of time depends on, oldest first, faster than `events`.

        These are the starts and ends of the sweep and of attempts, changes of the cluster's size,
        the last event of a driver before each start or end of the sweep, and the last one of all.
        Only starts and ends of the sweep and changes of the size have payloads.
        """
        table, edge = schema.events, schema.events.alias()
        mine = table.c.sweep == self.name
        columns = [table.c[name] for name in ("seq", "at", "kind", "study", "number")]
        facts = (*EDGES, *SIZES)
        payload = case((table.c.kind.in_(facts), table.c.payload)).label("payload")
        # One pass finds all but a few: most of the events are measurements, which are left out.
        chosen = select(*[*columns, payload]).where(mine, table.c.kind.in_((*facts, *ATTEMPTS)))
        # A sweep has run until the last event that only a driver writes. After a driver's death
        # other commands may add more.
        last = select(func.max(table.c.seq)).where(mine, table.c.kind.not_in(AFTERWARDS))
        before = last.where(table.c.seq < edge.c.seq).correlate(edge).scalar_subquery()

        def look(connection: Connection) -> tuple[Moment, ...]:
            found = {
                seq: Moment(at, kind, study, number, payload or {})
                for seq, at, kind, study, number, payload in connection.execute(chosen)
            }
            edges = [seq for seq, moment in found.items() if moment.kind in EDGES]
            lasts = connection.scalars(select(before).where(edge.c.seq.in_(edges))).all()
            wanted = {*lasts, connection.scalar(last)} - found.keys() - {None}
            others = select(*columns).where(table.c.seq.in_(wanted))
            for seq, at, kind, study, number in connection.execute(others).all():
                found[seq] = Moment(at, kind, study, number, {})
            return tuple(found[seq] for seq in sorted(found))

        return self._database.read(look)

    def mirror(self, recorder: str) -> dict[str, str]:
        """Return the ids under which a recorder has shipped entities."""
        table = schema.mirrors
        mine = (table.c.sweep == self.name) & (table.c.recorder == recorder)
        rows = self._rows(select(table.c.entity, table.c.ref).where(mine))
        return {row["entity"]: row["ref"] for row in rows}

    def unshipped(self) -> int:
        """Return the number of events behind the cursor of the recorder that has shipped most."""
        table = schema.mirrors
        mine = (table.c.sweep == self.name) & (table.c.entity == CURSOR)
        rows = self._rows(select(table.c.ref).where(mine))
        return self.count_events(after=max((int(row["ref"] or 0) for row in rows), default=0))

    def is_restored(self) -> bool:
        """Return whether this ledger is a copy that replaces a damaged ledger."""
        recorder, entity = backup.RESTORED
        return entity in self.mirror(recorder)

    def tags(self) -> dict[str, str]:
        """Return the tags of the sweep by name."""
        table = schema.labels
        query = select(table.c.name, table.c.value).where(table.c.sweep == self.name)
        return {row["name"]: row["value"] for row in self._rows(query.order_by(table.c.name))}

    def remarks(self) -> tuple[Remark, ...]:
        """Return the notes of users about the sweep, oldest first."""
        table = schema.remarks
        query = select(table.c.at, table.c.by, table.c.text).where(table.c.sweep == self.name)
        return tuple(Remark(**row) for row in self._rows(query.order_by(table.c.id)))

    def requests(self, after: int = 0) -> tuple[Request, ...]:
        """Return the requests of users about the whole sweep that follow the request `after`."""
        table = schema.requests
        return self._requests(table.c.study.is_(None), table.c.id > after)

    def requests_about_trials(
        self, *, ids: Sequence[int] | None = None, states: Sequence[RequestState] = DUE
    ) -> tuple[Request, ...]:
        """Return these requests about trials, or those in some states; by default those due."""
        table = schema.requests
        chosen = table.c.state.in_(states) if ids is None else table.c.id.in_(ids)
        return self._requests(table.c.study.is_not(None), chosen)

    def _requests(self, *conditions: ColumnElement[bool]) -> tuple[Request, ...]:
        table = schema.requests
        query = select(table).where(table.c.sweep == self.name, *conditions)
        rows = self._rows(query.order_by(table.c.id))
        return tuple(_request(row) for row in rows)

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        return self._database.read(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )


def trial_in(connection: Connection, sweep: str, study: str, number: int) -> Trial:
    """Return a trial within a transaction.

    Raises:
        NotFound: There is no such trial.
    """
    mine = {"sweep": sweep, "study": study, "number": number}
    row = connection.execute(ONE_TRIAL, mine).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no trial {number} in study `{study}` of sweep `{sweep}`.")
    return _trial(dict(row))


def running_in(connection: Connection, sweep: str) -> tuple[Trial, ...]:
    """Return the running trials of a sweep within a transaction."""
    table = schema.trials
    query = select(table).where(table.c.sweep == sweep, table.c.state == TrialState.RUNNING)
    rows = connection.execute(query.order_by(table.c.study, table.c.number)).mappings()
    return tuple(_trial(dict(row)) for row in rows)


def _without_checksum(row: JsonObject) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != schema.CHECKSUM}


def _request(row: JsonObject) -> Request:
    values = {name: value for name, value in row.items() if name != "sweep"}
    kind, state = RequestKind(row["kind"]), RequestState(row["state"])
    return Request(**{**values, "kind": kind, "state": state})


def _trial(row: JsonObject) -> Trial:
    values = {name: value for name, value in _without_checksum(row).items() if name != "sweep"}
    values["kind"], values["state"] = TrialKind(row["kind"]), TrialState(row["state"])
    values["seed"], values["sampled"] = int(row["seed"]), tuple(row["sampled"])
    return Trial(**values)


class OpenLedger(LedgerReader):
    """The ledger of a sweep, with the writes that need no lease.

    These are the cursors of recorders and the requests, tags and notes of users, but never trials.
    """

    def note_mirror(self, recorder: str, refs: Mapping[str, str]) -> None:
        """Record the ids under which a recorder has shipped entities."""
        table = schema.mirrors

        def write(connection: Connection) -> None:
            for entity, ref in refs.items():
                keys = {"sweep": self.name, "recorder": recorder, "entity": entity}
                row = sealed(table, {**keys, "ref": ref})
                mine = [table.c[k] == v for k, v in keys.items()]
                # SQLAlchemy has no "insert or update" that works in all databases.
                if not connection.execute(update(table).where(*mine).values(row)).rowcount:
                    connection.execute(insert(table).values(row))

        self._database.write(write)

    def request(self, kind: RequestKind, *targets: Target) -> tuple[int, ...]:
        """Ask for something of whoever holds the lease, on any host; return ids of requests.

        Without targets the request is about the sweep. All of them are written, or none.
        """

        def write(connection: Connection) -> tuple[int, ...]:
            mine = {"sweep": self.name, "kind": kind, "at": self._database.now(connection)}
            rows = [{**mine, "by": _user(), **asdict(each)} for each in targets or (Target(),)]
            new = insert(schema.requests).returning(schema.requests.c.id)
            return tuple(connection.scalars(new.values(row)).one() for row in rows)

        return self._database.write(write)

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set tags of the sweep; None removes a tag."""
        table = schema.labels

        def write(connection: Connection) -> None:
            for name, value in tags.items():
                mine = table.c.sweep == self.name, table.c.name == name
                connection.execute(delete(table).where(*mine))
                if value is not None:
                    row = {"sweep": self.name, "name": name, "value": value}
                    connection.execute(insert(table).values(sealed(table, row)))

        self._database.write(write)

    def remark(self, text: str) -> None:
        """Add a note about the sweep, with its time and author."""

        def write(connection: Connection) -> None:
            at = self._database.now(connection)
            # No event is appended: the cursor of a recorder could
            # overtake a second writer of events.
            row = {"sweep": self.name, "at": at, "by": _user(), "text": text}
            connection.execute(insert(schema.remarks).values(sealed(schema.remarks, row)))

        self._database.write(write)


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as clusters give to containers
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
