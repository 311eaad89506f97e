"""Notifications of a sweep to the addresses of its file's `notify`.

Each address has a thread of its own, so that none of them ever holds up the sweep or another one.
An address that does not take a notification gives one warning until it takes one again.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from queue import SimpleQueue

from sweeper.delivery import NotDelivered, deliver
from sweeper.errors import UsageError
from sweeper.spec.schema import expand
from sweeper.text import printable, without_secrets

PAUSES_S = (2.0, 5.0)  # before each further attempt at one notification
LAST_S = 12.0  # for the last notification, once the sweep has ended
INTERRUPTED_S = 2.0  # the same, if a signal ended the sweep
SCHEMA = 1


class Event(StrEnum):
    """Change of a sweep that addresses are notified of."""

    FINISHED = "finished"
    FAILED = "failed"  # ended early, or without enough complete trials
    PAUSED = "paused"  # goes on by itself, or by `sweeper resume`
    RESUMED = "resumed"  # after a pause
    NEEDS_PERSON = "needs_person"  # does not go on by itself, or loses nothing but does not record


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One notification: the event, the sweep and a message for people."""

    event: Event
    sweep: str
    message: str
    trials: Mapping[str, int] = field(default_factory=dict)  # by state; empty: not counted
    exit_code: int | None = None  # of the launch, if it has ended
    at: float = field(default_factory=time.time)  # seconds since the Unix epoch

    @property
    def title(self) -> str:
        """The notification in one line, without its message."""
        return f"sweep {self.sweep}: {self.event.value.replace('_', ' ')}"

    @property
    def text(self) -> str:
        """The notification for people."""
        return f"{self.title}. {self.message}"

    def to_json(self) -> dict[str, object]:
        """Return the body of a webhook's request. Chat services show its `text`."""
        return {
            "schema": SCHEMA,
            "event": self.event.value,
            "sweep": self.sweep,
            "text": self.text,
            "message": self.message,
            "trials": dict(self.trials),
            "exit_code": self.exit_code,
            "host": socket.gethostname(),
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds"),
        }


class _Address:
    """One address and its thread."""

    def __init__(self, written: str, label: str, say: Callable[[str], None]) -> None:
        self._written, self._label, self._say = written, label, say
        self._queue: SimpleQueue[Notification | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_warned = False

    def put(self, notification: Notification) -> None:
        if self._thread is None:
            # As a daemon it does not keep the launch from ending while an address hangs.
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        self._queue.put(notification)

    def close(self) -> None:
        """Let the thread end after the notifications so far, each with a single attempt."""
        self._closing.set()
        self._queue.put(None)

    def join(self, patience_s: float) -> None:
        if self._thread is not None:
            self._thread.join(patience_s)

    def _work(self) -> None:
        while (notification := self._queue.get()) is not None:
            try:
                self._deliver(notification)
                self._has_warned = False
            except (NotDelivered, UsageError) as error:
                self._warn(str(error))
            except Exception as error:  # of a service's own code; its text may show the address
                self._warn(type(error).__name__)

    def _deliver(self, notification: Notification) -> None:
        address = expand(self._written, os.environ)  # as late as this, and kept nowhere
        for pause in (*PAUSES_S, None):
            try:
                title, text = notification.title, notification.message
                return deliver(address, title, text, notification.to_json())
            except NotDelivered:
                # A notifier that closes has no time for further attempts.
                if pause is None or self._closing.wait(pause):
                    raise
        return None

    def _warn(self, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._say(f"{self._label} was not notified: {why}. The sweep does not wait for it.")


class Notifier:
    """The notifier of one sweep.

    Args:
        sweep: The name of the sweep.
        addresses: The addresses as the file has them, with `${env:NAME}`.
        say: A function that receives warnings.
    """

    def __init__(self, sweep: str, addresses: Sequence[str], say: Callable[[str], None]) -> None:
        self._sweep = sweep
        self._addresses = [
            _Address(each, f"notify[{i}] ({printable(each)})", say)
            for i, each in enumerate(addresses)
        ]

    def send(
        self,
        event: Event,
        message: str,
        *,
        trials: Mapping[str, int] | None = None,
        exit_code: int | None = None,
    ) -> None:
        """Begin to notify all addresses; return at once."""
        # Messages leave this machine. The text of an error may contain the address of a database.
        notification = Notification(
            event=event,
            sweep=self._sweep,
            message=without_secrets(message),
            trials=trials or {},
            exit_code=exit_code,
        )
        for address in self._addresses:
            address.put(notification)

    def close(self, patience_s: float = LAST_S) -> None:
        """Wait until all notifications are delivered, or for `patience_s` at most."""
        until = time.monotonic() + patience_s
        # All are told to end before the first is waited for, so that they deliver at the same time.
        for address in self._addresses:
            address.close()
        for address in self._addresses:
            address.join(max(0.0, until - time.monotonic()))
