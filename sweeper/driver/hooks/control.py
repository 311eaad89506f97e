"""Requests that users make from other terminals, through the ledger."""

import signal
from collections.abc import Callable

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.errors import BackendUnreachable
from sweeper.ledger import Ledger, RequestKind


class Control(Hook):
    """Obeys requests about trials, and those about the sweep after the one numbered `after`."""

    def __init__(
        self, ledger: Ledger, runner: SweepRunner, after: int, say: Callable[[str], None]
    ) -> None:
        self._ledger, self._runner, self._after, self._say = ledger, runner, after, say
        self.cancelled: str | None = None  # by whom

    def obey(self) -> None:
        """Obey or refuse the requests about trials that are due, whenever they were made."""
        try:
            due = self._ledger.requests_about_trials()
        except BackendUnreachable:
            # Requests stay open in the ledger, where a later tick finds them.
            return
        for request in due:
            if (news := self._runner.obey(request)) is not None:
                self._say(news)

    def tick(self) -> None:
        """Read new requests: `stop` drains the sweep, `cancel` ends it as Ctrl-C would."""
        self.obey()
        try:
            requests = self._ledger.requests(self._after)
        except BackendUnreachable:
            return  # a write will wait for the database, and report that
        for request in requests:
            # Noted before it is obeyed, so that each request is obeyed once.
            self._after = request.id
            if request.kind is RequestKind.STOP:
                self._say(f"{request.by} asked to stop: running trials finish, none starts.")
                self._runner.drain()
            elif self.cancelled is None:
                self.cancelled = f"cancelled by {request.by}"
                signal.raise_signal(signal.SIGINT)
