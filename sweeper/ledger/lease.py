"""The lease of a sweep, a row of the ledger, which allows one driver for each sweep on any host.

A dead holder on this host is replaced at once. A holder on another host counts as dead if it has
not renewed the lease for `TTL_S` by the database's clock. An SQLite file has none: on a shared disk
the clocks of two hosts are compared, which must agree within some seconds. Every write of a driver
names its lease, so that a driver without the lease cannot write.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from sweeper.errors import SweeperError, SweepIsHeld
from sweeper.ledger import schema
from sweeper.ledger.database import Database
from sweeper.text import JsonObject

# Several renewals in a row have to fail before another host may take a lease.
TTL_S = 20.0
RENEW_S = 4.0
TABLE = schema.leases
CHANGE = update(TABLE).where(
    TABLE.c.sweep == bindparam("of_sweep"), TABLE.c.owner == bindparam("of_owner")
)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The current or former holder of a lease."""

    owner: str
    host: str
    place: str
    pid: int
    started: float
    since: float

    def is_dead_here(self) -> bool:
        """Return whether the holder ran on this machine and has ended."""
        if self.place != place():
            return False
        started = start_of(self.pid)
        # Process ids are reused: another start time is another process.
        return started is None or abs(started - self.started) > 1

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"host {self.host}, pid {self.pid}, since {since}"


@dataclass
class Lease:
    """A lease that this process holds. `lost` is set when another process takes it."""

    owner: str
    before: Holder | None  # the previous holder, if it did not release the lease
    lost: threading.Event = field(default_factory=threading.Event)


@contextmanager
def hold(database: Database, sweep: str) -> Iterator[Lease]:
    """Hold the lease of `sweep`, and renew it in the background.

    Raises:
        SweepIsHeld: Another process runs this sweep. The message names it.
    """
    lease = acquire(database, sweep)
    over = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(database, sweep, lease, over), name="lease", daemon=True
    )
    thread.start()
    try:
        yield lease
    finally:
        # A renewal on its way changes nothing afterwards, since
        # the row names another owner or none.
        over.set()
        with suppress(SweeperError):  # the lease expires by itself
            database.write(
                lambda connection: _change(connection, sweep, lease.owner, {"owner": None}),
                patience_s=1,
            )


def acquire(database: Database, sweep: str) -> Lease:
    """Take the lease of `sweep`.

    Raises:
        SweepIsHeld: Another process holds it.
    """
    owner = uuid.uuid4().hex

    def take(connection: Connection) -> Lease:
        # PostgreSQL makes a second launch wait here. SQLite has locked the whole file already.
        query = select(TABLE).where(TABLE.c.sweep == sweep).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        now = database.now(connection)
        before = _holder(row)
        # On the same kernel the process itself is checked, which is faster and safer than the age.
        if row is not None and before is not None:
            is_dead = before.is_dead_here() or (
                before.place != place() and now - row["renewed"] > TTL_S
            )
            if not is_dead:
                raise SweepIsHeld(
                    f"sweep `{sweep}` is running ({before}); follow it with `sweeper logs -f "
                    f"{sweep}`, or end it with `sweeper stop {sweep}`."
                )
        mine = {
            "owner": owner,
            "host": socket.gethostname(),
            "place": place(),
            "pid": os.getpid(),
            "started": start_of(os.getpid()),
            "since": now,
            "renewed": now,
        }
        if row is None:
            connection.execute(insert(TABLE).values(sweep=sweep, **mine))
        else:
            connection.execute(update(TABLE).where(TABLE.c.sweep == sweep).values(mine))
        return Lease(owner, before)

    try:
        return database.write(take)
    except IntegrityError as error:  # another process has inserted the row at the same moment
        raise SweepIsHeld(f"sweep `{sweep}` has just been launched by another process.") from error


def living_holder(database: Database, sweep: str) -> Holder | None:
    """Return the current driver of the sweep, if there is one."""

    def look(connection: Connection) -> Holder | None:
        query = select(TABLE).where(TABLE.c.sweep == sweep)
        row = connection.execute(query).mappings().one_or_none()
        found = _holder(row)
        if row is None or found is None or found.is_dead_here():
            return None
        # A process of this kernel was seen alive just now, even if it is stopped and cannot renew.
        is_fresh = database.now(connection) - row["renewed"] <= TTL_S
        return found if is_fresh or found.place == place() else None

    return database.read(look)


class Fence:
    """A `Mark` that allows a transaction only to the owner of the lease."""

    def __init__(self, sweep: str, owner: str) -> None:
        self._sweep, self._owner = sweep, owner
        self._token = uuid.uuid4().hex

    def leave(self, connection: Connection) -> None:
        """Leave the mark.

        Raises:
            SweepIsHeld: Another process holds the lease.
        """
        if not _change(connection, self._sweep, self._owner, {"last_write": self._token}):
            raise SweepIsHeld(
                f"this launch has lost the lease of sweep `{self._sweep}`: another one drives it."
            )

    def is_there(self, connection: Connection) -> bool:
        last = connection.scalar(select(TABLE.c.last_write).where(TABLE.c.sweep == self._sweep))
        return bool(last == self._token)


def place() -> str:
    """Return the id of the kernel and the process namespace in which process ids are valid."""
    # A container has the boot id of its host, but process ids of its own.
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts) or f"{socket.gethostname()} {psutil.boot_time():.0f}"


def start_of(pid: int) -> float | None:
    """Return the start time of a process, or None if it has ended; a zombie has ended, too.

    The unit is the kernel's ticks since boot, which do not depend on the clock. Without /proc it is
    seconds since the Unix epoch.
    """
    if not Path("/proc/self/stat").exists():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name in parentheses, may contain spaces and parentheses.
    state, *numbers = stat.rpartition(b")")[2].split()
    # The state is field 3 of the file, so that `numbers[18]` is field 22, the start in clock ticks.
    return None if state in (b"Z", b"X") else float(numbers[18])


def _renew(database: Database, sweep: str, lease: Lease, over: threading.Event) -> None:
    def renew(connection: Connection) -> bool:
        return _change(connection, sweep, lease.owner, {"renewed": database.now(connection)})

    while not over.wait(RENEW_S):
        with suppress(SweeperError):  # the database is unreachable; later writes are fenced
            if not database.write(renew):
                lease.lost.set()
                return


def _change(connection: Connection, sweep: str, owner: str, values: JsonObject) -> bool:
    mine = {"of_sweep": sweep, "of_owner": owner}
    return connection.execute(CHANGE, {**values, **mine}).rowcount == 1


def _holder(row: RowMapping | None) -> Holder | None:
    if row is None or row["owner"] is None:
        return None
    names = ("owner", "host", "place", "pid", "started", "since")
    return Holder(**{name: row[name] for name in names})
