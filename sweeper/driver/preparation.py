"""Prepares a sweep in a process of its own, while the driver connects to Ray.

So both take their time at once, and a driver, which may run for days, holds no network.
"""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from sweeper.config.sweep import Sweep
from sweeper.errors import SweeperError, from_record
from sweeper.planning import child
from trainables.tasks.generation import Progress

Facts = dict[str, dict[str, Any]]


class Preparation:
    """What the process says, line by line, as it comes."""

    def __init__(self, said: IO[str]) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(said,), name="preparation", daemon=True).start()

    def _read(self, said: IO[str]) -> None:
        with said:
            for line in said:
                self._lines.put(line)
        self._lines.put(None)

    def facts(self, progress: Progress) -> Facts:
        """Waits until all is there; returns what is to be recorded of each study.

        Raises:
            FileFaults: Something cannot be had, or a leading trial cannot begin.
            SweeperError: The process died.
        """
        while (line := self._lines.get()) is not None:
            told: Mapping[str, Any] = json.loads(line)
            if "error" in told:
                raise from_record(told["error"])
            if "facts" in told:
                facts: Facts = told["facts"]
                return facts
            progress(*told["progress"])
        raise SweeperError(
            "preparing data and weights ended without a word: its process was killed, by the "
            "system for want of memory perhaps; once there is more, launch again."
        )


@contextmanager
def preparing(sweep: Sweep) -> Iterator[Preparation]:
    """Begins to prepare a sweep; what is not done when this is left is ended."""
    process = subprocess.Popen(
        child.command("sweeper.driver.prepare"),
        env=child.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin as pipe:
            json.dump({"name": sweep.name, "profile": sweep.profile, "file": sweep.resolved}, pipe)
        yield Preparation(process.stdout)
    finally:
        process.kill()
        process.wait()
