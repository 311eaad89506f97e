"""What others than the driver write: recorders their place, users their wishes; no trial."""

import getpass
import socket
from collections.abc import Mapping

from sqlalchemy import Connection, insert, update

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
        by = f"{getpass.getuser()}@{socket.gethostname()}"

        def write(connection: Connection) -> None:
            at = self._database.now(connection)
            row = {"sweep": self.name, "kind": kind, "at": at, "by": by}
            connection.execute(insert(schema.requests).values(row))

        self._database.write(write)
