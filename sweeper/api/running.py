"""The run of a sweep in a process of its own, while the Python program waits and shows progress.

An interrupt of the program is handed on, as Ctrl-C in a terminal is: after the first one the sweep
saves its running trials and ends, after a second one it ends at once.
"""

import json
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from sweeper.api.progress import Lines, View, display
from sweeper.api.requests import REQUESTS, LaunchRequest, LaunchResult
from sweeper.errors import Interrupted, SweeperError
from sweeper.planning import child
from sweeper.planning.sweep_folder import SWEEPS

POLL_S = 0.2
DRAINS_S = 5.0  # for what an ended process has written


def run(request: LaunchRequest, folder: Path) -> None:
    """Run a request to its end, and show its progress.

    Args:
        request: The launch, or the continuation of a sweep.
        folder: The folder of the sweep, which may not exist yet.

    Raises:
        Interrupted: The program was interrupted. The sweep is resumable.
        SweeperError: The request ended with this error.
    """
    # A program, such as the kernel of a notebook, may have replaced sys.stderr: then lines go
    # through it.
    stderr = sys.__stderr__
    is_terminal = stderr is not None and sys.stderr is stderr and stderr.isatty()
    process = subprocess.Popen(
        child.command("sweeper.api", folder.name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if is_terminal else subprocess.PIPE,  # on a terminal it draws a live table
        env=child.environment(**{SWEEPS: str(folder.parent)}),
        text=True,
        errors="replace",
        start_new_session=True,  # an interrupt is ours to hand on
    )
    try:
        answer = _attend(process, request, folder)
    finally:
        if process.poll() is None:  # an error of our own
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if answer.error is not None:
        raise answer.error
    # Higher codes are those of signals. A lower one, as after failed trials, raises nothing.
    if answer.exit_code >= 128:
        passed = request.options.function is not None
        how = "the same call of sweeper.tune" if passed else f"sweeper resume {folder.name}"
        text = f"sweep `{folder.name}` was interrupted; go on with: {how}"
        raise Interrupted(text, answer.exit_code - 128)


def _attend(process: subprocess.Popen[str], request: LaunchRequest, folder: Path) -> LaunchResult:
    """Send a request, show the progress, hand on interrupts, and return the answer."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    output: list[str] = []
    assert process.stdin is not None
    assert process.stdout is not None
    # Both pipes are read at once, since a full one would stop the process.
    readers = [threading.Thread(target=_read_all, args=(process.stdout, output), daemon=True)]
    if process.stderr is not None:
        readers.append(threading.Thread(target=_read, args=(process.stderr, lines), daemon=True))
    for reader in readers:
        reader.start()
    # A process that has died already says why in its answer or its exit code.
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(REQUESTS.dump_json(request).decode())
    with display(folder) as shown:
        # An interrupt is handed on and does not end the wait: the sweep saves its trials first.
        while True:
            try:
                _show_until_end(process, lines, shown)
                break
            except KeyboardInterrupt:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
        for reader in readers:
            reader.join(DRAINS_S)  # a process that outlives the sweep may hold standard error
        _show_until_end(process, lines, shown)
    return _parse("".join(output), process.returncode)


def _show_until_end(
    process: subprocess.Popen[str], lines: "queue.SimpleQueue[str]", shown: Lines | View
) -> None:
    """Show the lines of a process until it has ended and all are shown."""
    while True:
        # This is asked before lines are read, so that the last look misses none.
        is_over = process.poll() is not None
        try:
            while True:
                shown.add(lines.get(timeout=0 if is_over else POLL_S))
        except queue.Empty:
            shown.tick()
        if is_over:
            return


def _read(stream: IO[str], lines: "queue.SimpleQueue[str]") -> None:
    for line in stream:
        lines.put(line)


def _read_all(stream: IO[str], output: list[str]) -> None:
    output.append(stream.read())


def _parse(output: str, code: int) -> LaunchResult:
    """Return the answer of a process; an error if it died without one."""
    for line in reversed(output.splitlines()):
        with suppress(ValueError):
            return LaunchResult.from_json(json.loads(line))
    # The interrupt came before the process could answer, such as during its imports.
    if code in (-signal.SIGINT, 128 + signal.SIGINT):
        return LaunchResult(error=Interrupted("interrupted before the sweep began"))
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return LaunchResult(error=SweeperError(f"the process of the sweep died ({how})."))
