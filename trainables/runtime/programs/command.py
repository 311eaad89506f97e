"""A command of a user as a program: a group of processes that ends with its trial.

Each line of standard output that is a JSON object with `step` is a report; all other lines, and
standard error, are the log. The group stands still (SIGSTOP) from a report until the decision about
it. No shell is involved.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from trainables.errors import ConfigError, TrainableError
from trainables.methods.program import PLACEHOLDER, SEED
from trainables.runtime.programs import Reported
from trainables.spec import ProgramTrial

MAX_LINE = 2**20  # bytes; a longer line is cut
MAX_LOG = 2**20  # bytes that are shown as they come, and the last lines after them
LAST_LINES = 200
POLL_S = 0.05
GRACE_S = 5.0  # between SIGTERM and SIGKILL
DRAINS_S = 2.0  # for output of processes that have left the group
# A process of its own, for a worker that is killed can end nothing. It outlives the worker's end of
# the pipe by the time of one call.
GUARD = "import os,sys;sys.stdin.buffer.read();os.killpg(int(sys.argv[1]),9)"


class Command:
    """A running command.

    Args:
        trial: The trial.
        folder: The folder of its files.
        restored: What it goes on from.
        save: Keeps a path as its state.
        threads: CPU threads that it should use.
    """

    def __init__(
        self,
        trial: ProgramTrial,
        folder: Path,
        restored: Path | None,
        save: Callable[[Path], None],
        threads: int,
    ) -> None:
        self._trial, self._folder, self._restored = trial, folder, restored
        self._save, self._threads = save, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: SimpleQueue[tuple[bool, bytes]] = SimpleQueue()  # whether it may be a report
        self._open = 2  # streams
        self._log = _Log()

    @property
    def pids(self) -> list[int]:
        """The first process of the group."""
        return [] if self._process is None else [self._process.pid]

    def next(self) -> Reported | None:
        if self._process is None:
            self._start()
        else:
            self._signal(signal.SIGCONT)
        while (line := self._line()) is not None:
            can_report, text = line
            if can_report and (found := _as_object(text)) is not None:
                self._signal(signal.SIGSTOP)
                return self._reported(found)
            self._log.add(text, is_error=not can_report)
        self._check_end()
        return None

    def _start(self) -> None:
        words = filled(self._trial.program.command, {**self._trial.params, SEED: self._trial.seed})
        try:
            process = subprocess.Popen(
                words,
                cwd=self._trial.program.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(f"`{words[0]}` cannot be started: {error}") from error
        self._process = process
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", GUARD, str(process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for stream, can_report in ((process.stdout, True), (process.stderr, False)):
            arguments = (stream, can_report)
            threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def _environment(self) -> dict[str, str]:
        # A script of the user's imports what lies beside it, unlike our own processes.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        return {
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(self._threads),
            "SWEEPER_PARAMS": json.dumps(self._trial.params),
            "SWEEPER_SEED": str(self._trial.seed),
            "SWEEPER_CHECKPOINT": str(self._restored or ""),
            "SWEEPER_FOLDER": str(self._folder),
        }

    def _read(self, stream: IO[bytes], can_report: bool) -> None:
        with stream:
            for line in iter(partial(stream.readline, MAX_LINE), b""):
                self._lines.put((can_report, line))
        self._lines.put((can_report, b""))

    def _line(self) -> tuple[bool, bytes] | None:
        """Return the next line; None once the process has ended and all lines are read."""
        assert self._process is not None
        has_ended = False
        while self._open:
            try:
                found = self._lines.get(timeout=DRAINS_S)
            except Empty:
                # A process that has left the group may hold the streams for ever.
                if has_ended:
                    break
                if has_ended := self._has_exited(os.WNOHANG):
                    self._signal(signal.SIGKILL)
                continue
            if found[1]:
                return found
            self._open -= 1
        return None

    def _reported(self, found: Mapping[str, Any]) -> Reported:
        given = {key: value for key, value in found.items() if key not in ("step", "checkpoint")}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"step {found['step']}: `{name}` is no number")
        if (saved := found.get("checkpoint")) is not None:
            self._save(Path(self._trial.program.folder, str(saved)))
        return Reported(found["step"], {name: float(value) for name, value in given.items()})

    def _check_end(self) -> None:
        """End what is left of the group, and check that the command has succeeded."""
        assert self._process is not None
        self._has_exited()
        self._signal(signal.SIGKILL)  # what it has left in its group
        code = self._process.wait()
        last = self._log.last_error or self._log.last
        self._log.close()
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            name = self._trial.program.name
            raise TrainableError(f"`{name}` ended with {how}{': ' * bool(last)}{last}")

    def _has_exited(self, options: int = 0) -> bool:
        """Wait for the first process and return whether it has exited; its id stays taken."""
        assert self._process is not None
        wanted = os.WEXITED | os.WNOWAIT | options
        return os.waitid(os.P_PID, self._process.pid, wanted) is not None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            until = time.monotonic() + GRACE_S
            while not self._has_exited(os.WNOHANG) and time.monotonic() < until:
                time.sleep(POLL_S)
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._log.close()
        # Killed before its pipe is closed, so that it ends no group of a later process.
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()


class _Log:
    """The log of a command: its beginning as it comes, and its last lines at the end."""

    def __init__(self) -> None:
        self._shown = self._left_out = 0
        self._kept: deque[str] = deque(maxlen=LAST_LINES)
        self.last = self.last_error = ""  # lines, of both streams and of standard error

    def add(self, line: bytes, *, is_error: bool) -> None:
        text = line.decode(errors="replace").rstrip("\n")
        self.last = text.strip() or self.last
        # The order of lines from two streams is not theirs, so that the last error counts alone.
        if is_error:
            self.last_error = text.strip() or self.last_error
        if self._shown < MAX_LOG:
            self._shown += len(line)
            print(text, flush=True)
            return
        self._left_out += len(line)
        self._kept.append(text[:1000])

    def close(self) -> None:
        """Print the last lines, if some were left out."""
        if self._left_out:
            print(f"... {self._left_out} bytes; the last lines of them:", *self._kept, sep="\n")
            self._left_out = 0


def filled(command: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    """Return the words of a command with `{name}` replaced; a word stays one word."""

    def text_of(match: re.Match[str]) -> str:
        value = values[match[1]] if match[1] in values else match[0]
        return value if isinstance(value, str) else json.dumps(value)

    return [PLACEHOLDER.sub(text_of, word) for word in command]


def _as_object(line: bytes) -> dict[str, Any] | None:
    """Return a line that is a report: a JSON object with a whole number `step`."""
    if not line.lstrip().startswith(b"{"):
        return None
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        step = found.get("step")
        if isinstance(step, int) and not isinstance(step, bool):
            return dict(found)
    return None
