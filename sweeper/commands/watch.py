"""The page of a sweep while it runs: served to this machine, and updated by events.

Nothing is done while nobody looks. The part that says how far the sweep is follows each event of
the ledger. The whole page, which takes long to draw for many trials, is drawn again as often as a
small share of one core allows.
"""

import hmac
import json
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from sweeper.address import host_of, is_loopback
from sweeper.commands.result import Message
from sweeper.driver.follower import Follower, time_after
from sweeper.driver.pages import report_of
from sweeper.errors import UsageError
from sweeper.execution.cluster import TOKEN, token_in
from sweeper.ledger import Ledger
from sweeper.planning.catalog import usable_home
from sweeper.planning.sweep_folder import IsElsewhere, existing, started
from sweeper.render.page.report import live_part

HOST = "127.0.0.1"
POLL_S = 0.5
REFRESH_S = 5.0  # after which a browser hears of the time to go, without an event
PAGE_SHARE = 0.01  # of a core that drawing the page takes
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src "
    "'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, kw_only=True)
class Served(Message):
    """The page of a sweep, which is served as long as the command runs."""

    sweep: str
    address: str
    token_file: Path


class LivePage:
    """The page about a sweep, and the part of it that follows each event, for several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._follower = ledger, Follower(ledger)
        self._reading, self._drawing = Lock(), Lock()
        self._page, self._update = "", ""
        self._wanted = self._drawn = 0  # versions of the page
        self._is_behind = True
        self._next_read = self._next_update = self._next_page = 0.0

    def look(self) -> str:
        """Return the version that the page has or is to get, and its changing part, as JSON."""
        with self._reading:
            # Several readers ask the ledger no more often than one.
            if (now := time.monotonic()) >= self._next_read:
                self._next_read = now + 0.9 * POLL_S
                has_news = self._follower.read()
                self._is_behind |= has_news
                may_draw = now >= self._next_page or self._follower.is_over
                # No version is announced before the last one was drawn, and none is drawn unasked.
                if self._is_behind and may_draw and self._wanted == self._drawn:
                    self._wanted, self._is_behind, has_news = self._wanted + 1, False, True
                if has_news or now >= self._next_update:
                    self._next_update = now + REFRESH_S
                    part = live_part(self._follower.lines(), self._follower.table())
                    self._update = json.dumps({"version": self._wanted, "at": now, "part": part})
            return self._update

    def page(self) -> str:
        """Return the whole page, as new as its share of a core allows."""
        # Before any browser reads events, only this notices that a page is due.
        self.look()
        with self._drawing:
            if self._drawn != (wanted := self._wanted):
                began = time.thread_time()
                self._page = report_of(self._ledger, version=wanted)
                self._next_page = time_after(began, PAGE_SHARE)
                self._drawn = wanted
            return self._page


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fault: BaseException | None = None

    def __init__(self, port: int, page: LivePage, token: str) -> None:
        super().__init__((HOST, port), _Handler)
        self.page, self.token = page, token.strip().encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """End the command by an error of a request, unless it says that the browser has left."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.fault = error
            self.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the page or its updates; no path leads to a file."""
        # A foreign site may let the name of its own host lead to this machine.
        if not is_loopback(host_of(self.headers.get("Host", ""))):
            self._answer(403, "This page is at 127.0.0.1 and localhost alone.")
        elif not self._has_token():
            challenge = {"WWW-Authenticate": 'Basic realm="the token, as password"'}
            self._answer(401, "The password is the token; no name is needed.", challenge)
        elif self.path == "/":
            self._answer(200, self.server.page.page())
        elif self.path == "/events":
            self._begin(200, {"Content-Type": "text/event-stream"})
            sent = ""
            # The loop ends by an error of the next write after the browser has left.
            while True:
                if (update := self.server.page.look()) != sent:
                    self.wfile.write(f"data: {update}\n\n".encode())
                sent = update
                time.sleep(POLL_S)
        else:
            self._answer(404, "There is no such page.")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _has_token(self) -> bool:
        try:
            given = b64decode(self.headers.get("Authorization", "").removeprefix("Basic "))
        except ValueError:
            return False
        # The time that this comparison takes tells nothing about the token.
        return hmac.compare_digest(given.partition(b":")[2], self.server.token)

    def _answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self._begin(status, {"Content-Type": "text/html; charset=utf-8", **(headers or {})})
        self.wfile.write(text.encode())

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def watch(name: str, port: int, *, say: Callable[[Served], None]) -> None:
    """Serve the page of a sweep on the loopback interface until a signal ends this process.

    Args:
        name: Name of the sweep.
        port: Port to listen at; 0: a free one.
        say: Called with the address of the page, once it is served.

    Raises:
        NotFound: There is no such sweep, or it was deleted meanwhile.
        UsageError: The sweep is on a cluster, or the port is taken.
        BackendUnreachable: The ledger does not answer any more.
    """
    try:
        folder = existing(name)
    except IsElsewhere as error:
        raise UsageError(
            f"{error} Watch it there: `sweeper watch {name}` in {error.remote.workdir}, and "
            "`ssh -L` from here."
        ) from error
    token = token_in(file := usable_home() / TOKEN)
    with started(folder) as (ledger, _):
        try:
            server = _Server(port, LivePage(ledger), token)
        except (OSError, OverflowError) as error:
            raise UsageError(f"--port {port}: cannot listen there ({error}).") from error
        with server:
            address = f"http://{HOST}:{server.server_port}"
            text = f"the page of {name}: {address} (asks for the token in {file}, as password)"
            say(Served(message=text, sweep=name, address=address, token_file=file))
            server.serve_forever()
        if server.fault is not None:
            raise server.fault
