"""What others than the driver write: recorders their place, users their wishes; no trial."""

import getpass
import socket
from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, update

from sweeper.ledger import schema
from sweeper.ledger.reading import LedgerReader


class OpenLedger(LedgerReader):
    """A sweep's ledger for any process that can reach it, whoever holds the lease."""

    def note_mirror(self, recorder: str, refs: Mapping[str, str]) -> None:
        """Notes what a recorder has shipped."""
        table = schema.mirrors

        def write(connection: Connection) -> None:
            for entity, ref in refs.items():
                keys = {"sweep": self.name, "recorder": recorder, "entity": entity}
                mine = [table.c[k] == v for k, v in keys.items()]
                if not connection.execute(update(table).where(*mine).values(ref=ref)).rowcount:
                    connection.execute(insert(table).values(ref=ref, **keys))

        self._database.write(write)

    def request(self, kind: str) -> None:
        """Asks the driver of this sweep, wherever it is, to stop or to cancel."""

        def write(connection: Connection) -> None:
            at = self._database.now(connection)
            row = {"sweep": self.name, "kind": kind, "at": at, "by": _user()}
            connection.execute(insert(schema.requests).values(row))

        self._database.write(write)

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set tags of the sweep; None removes one."""
        table = schema.labels

        def write(connection: Connection) -> None:
            for name, value in tags.items():
                mine = table.c.sweep == self.name, table.c.name == name
                connection.execute(delete(table).where(*mine))
                if value is not None:
                    row = {"sweep": self.name, "name": name, "value": value}
                    connection.execute(insert(table).values(row))

        self._database.write(write)

    def remark(self, text: str) -> None:
        """Note something about the sweep, with its time and who says it."""

        def write(connection: Connection) -> None:
            at = self._database.now(connection)
            row = {"sweep": self.name, "at": at, "by": _user(), "text": text}
            connection.execute(insert(schema.remarks).values(row))

        self._database.write(write)


def _user() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
