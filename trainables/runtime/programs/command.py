"""A command of a user as a program: a group of processes that ends with its trial.

Each line of standard output that is a JSON object with `step` is a report, or each such line of the
file that the command appends to, or of a second command, which reads what the first one has
reported elsewhere. All other lines, and standard error, are the log. The group stands still
(SIGSTOP) from a report until the decision about it. No shell is involved.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from trainables.errors import ConfigError, TrainableError
from trainables.methods.program import DATA, FOLDER, PLACEHOLDER, SEED
from trainables.runtime.programs import BoundedLog, Reported
from trainables.spec import ProgramTrial

OUTPUT, ERROR, RESULTS = "output", "error", "results"  # sources of lines
MAX_LINE = 2**20  # bytes; a longer line is cut
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
        self._reporter: subprocess.Popen[bytes] | None = None
        self._lines: SimpleQueue[tuple[str, bytes]] = SimpleQueue()  # each with its source
        named = None if trial.program.writes_runs else trial.program.results
        self._file = None if named is None else folder / named
        self._reports_on = RESULTS if named or trial.reporter else OUTPUT
        self._open = 0  # streams and files that are read
        self._log = BoundedLog()
        self._last = self._last_error = ""  # lines, of both streams and of standard error

    @property
    def pids(self) -> list[int]:
        """The processes of the command's session, which a script or a launcher begins."""
        if self._process is None:
            return []
        first, found = self._process.pid, []
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getsid(int(each.name)) == first:
                    found.append(int(each.name))
        return found or [first]

    def next(self) -> Reported | None:
        if self._process is None:
            self._start()
        else:
            self._signal(signal.SIGCONT)
        while (line := self._line()) is not None:
            source, text = line
            if source == self._reports_on and (found := self._as_object(text)) is not None:
                self._signal(signal.SIGSTOP)
                return self._reported(found)
            self._show(text, is_error=source == ERROR)
        self._check_end()
        return None

    def _start(self) -> None:
        trial, folder = self._trial, str(self._folder)
        of_trial = {SEED: trial.seed, FOLDER: folder, DATA: trial.data}
        words = filled(trial.program.command, {**trial.params, **of_trial})
        if self._file is not None:  # of an earlier attempt, whose reports are known
            self._file.unlink(missing_ok=True)
        try:
            process = subprocess.Popen(
                words,
                cwd=trial.program.folder,
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
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            partial(self._read, process.stdout, OUTPUT),
            partial(self._read, process.stderr, ERROR),
        ]
        if self._file is not None:
            readers.append(partial(self._follow, self._file))
        if trial.reporter:
            self._reporter = reporter = subprocess.Popen(
                trial.reporter,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert reporter.stdout is not None
            readers.append(partial(self._read, reporter.stdout, RESULTS))
            threading.Thread(target=self._end_reporter, args=(reporter,), daemon=True).start()
        self._open = len(readers)
        for reader in readers:
            threading.Thread(target=reader, daemon=True).start()

    def _environment(self) -> dict[str, str]:
        # A script of the user's imports what lies beside it, unlike our own processes.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        return {
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(self._threads),
            "SWEEPER_PARAMS": json.dumps(self._trial.params),
            "SWEEPER_SEED": str(self._trial.seed),
            "SWEEPER_DATA": self._trial.data,
            "SWEEPER_CHECKPOINT": str(self._restored or ""),
            "SWEEPER_FOLDER": str(self._folder),
            **self._trial.environment,
        }

    def _end_reporter(self, reporter: subprocess.Popen[bytes]) -> None:
        """Close the reporter's input once the command has ended; then it reads a last time."""
        while not self._has_exited(os.WNOHANG):
            time.sleep(POLL_S)
        assert reporter.stdin is not None
        reporter.stdin.close()

    def _read(self, stream: IO[bytes], source: str) -> None:
        lines, until = iter(partial(stream.readline, MAX_LINE), b""), math.inf
        with stream:
            for line in lines:
                self._lines.put((source, line))
                # What the command has left behind may print for ever.
                if until == math.inf and source != RESULTS and self._has_exited(os.WNOHANG):
                    until = time.monotonic() + DRAINS_S
                if time.monotonic() > until:
                    break
            self._lines.put((source, b""))
            for _ in lines:  # it may go on
                pass

    def _follow(self, path: Path) -> None:
        """Read what the command appends to a file until it has ended."""
        at, last, has_ended = 0, b"", False
        while not has_ended:
            # Asked first, so that what it writes last is read.
            has_ended = self._has_exited(os.WNOHANG)
            with suppress(OSError), path.open("rb") as file:
                file.seek(at - len(last))
                if file.read(len(last)) != last:  # it was begun anew
                    at, last = file.seek(0), b""
                for line in iter(partial(file.readline, MAX_LINE), b""):
                    if not (line.endswith(b"\n") or len(line) == MAX_LINE or has_ended):
                        break  # half a line
                    at, last = at + len(line), line
                    self._lines.put((RESULTS, line))
            time.sleep(0 if has_ended else POLL_S)
        self._lines.put((RESULTS, b""))

    def _show(self, line: bytes, *, is_error: bool) -> None:
        text = line.decode(errors="replace").rstrip("\n")
        self._last = text.strip() or self._last
        # The order of lines from two streams is not theirs, so that the last error counts alone.
        if is_error:
            self._last_error = text.strip() or self._last_error
        if self._log.shows(f"{text}\n"):
            print(text, flush=True)

    def _line(self) -> tuple[str, bytes] | None:
        """Return the next line; None once the process has ended and all lines are read."""
        assert self._process is not None
        has_ended = False
        while self._open:
            try:
                found = self._lines.get(timeout=DRAINS_S)
            except Empty:
                # A process that has left the group may hold the streams for ever.
                if has_ended and (self._reporter is None or self._reporter.poll() is not None):
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
        reported = Reported.of(found["step"], given)
        if saved := found.get("checkpoint"):
            path = Path(self._trial.program.folder, str(saved))
            if not path.exists():
                raise TrainableError(
                    f"step {reported.step}: its `checkpoint` {path} is not there: write it before "
                    "its line, and not again at once"
                )
            self._save(path)
        return reported

    def _as_object(self, line: bytes) -> dict[str, Any] | None:
        """Return a line that is a report: a JSON object with a whole number `step`.

        With another `step` it is none that counts, but a line of the log if it has no metric.
        """
        if not line.lstrip().startswith(b"{"):
            return None
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            is_whole = isinstance(step := found.get("step"), int) and not isinstance(step, bool)
            if is_whole or ("step" in found and self._trial.program.metric in found):
                return dict(found)
        return None

    def _check_end(self) -> None:
        """End what is left of the group, and check that the command has succeeded."""
        assert self._process is not None
        self._has_exited()
        self._signal(signal.SIGKILL)  # what it has left in its group
        code = self._process.wait()
        last = self._last_error or self._last
        self._log.close()
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            name = self._trial.program.name
            raise TrainableError(f"`{name}` ended with {how}{': ' * bool(last)}{last}")

    def _has_exited(self, options: int = 0) -> bool:
        """Wait for the first process and return whether it has exited; its id stays taken."""
        assert self._process is not None
        wanted = os.WEXITED | os.WNOWAIT | options
        try:
            return os.waitid(os.P_PID, self._process.pid, wanted) is not None
        except ChildProcessError:  # it has, and was waited for
            return True

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        if self._process is None:
            return
        if self._reporter is not None:
            self._reporter.kill()
            self._reporter.wait()
        if self._process.returncode is None:
            # A process that stands still handles SIGTERM only once it goes on.
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


def filled(command: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    """Return the words of a command with `{name}` replaced; a word stays one word."""

    def text_of(match: re.Match[str]) -> str:
        value = values[match[1]] if match[1] in values else match[0]
        return value if isinstance(value, str) else json.dumps(value)

    return [PLACEHOLDER.sub(text_of, word) for word in command]
