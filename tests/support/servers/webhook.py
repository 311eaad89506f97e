"""A server that takes notifications, in a thread of the test."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.servers.http_server import Answer, answering


@dataclass
class Webhook:
    """Requests that came, and the answer to each: `status`, after `delay_s`."""

    url: str = ""
    status: int = 200
    delay_s: float = 0.0
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve until the end of the context."""
    hook = Webhook()

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        if request.command == "GET":
            hook.paths.append(f"GET {request.path}")
            return 404, {}, b""
        hook.paths.append(request.path)
        hook.bodies.append(json.loads(body))
        time.sleep(hook.delay_s)
        elsewhere = {"Location": f"{hook.url}/elsewhere"} if hook.status == 302 else {}
        return hook.status, elsewhere, b""

    with answering(answer) as hook.url:
        yield hook
