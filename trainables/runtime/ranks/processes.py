"""The other processes of a trial, as the first one sees them.

They are started once, and train one trial after another, as the first process does. A thread for
each reads its answers and notices its death. The first process then fails with `RankError`, and all
are started anew for its next trial. NCCL may wait for a dead process for ever: if this process does
not fail by itself within `GRACE_S`, the thread ends it, and the last lines of its log have the
reason.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from trainables.errors import RankDied, RankError
from trainables.runtime.attempt_log import append
from trainables.runtime.checkpoints import split_optimizer
from trainables.runtime.ranks.group import (
    FIRST,
    PeerLost,
    SeveralRanks,
    broadcast,
    join,
    leave,
    state_tensors,
)
from trainables.runtime.ranks.messages import (
    Begin,
    Begun,
    Broken,
    End,
    Message,
    Train,
    parse,
    to_line,
)
from trainables.spec import AttemptConfig
from trainables.training.ranks import Ranks
from trainables.training.state import TrainState

PROGRAM = "trainables.runtime.ranks.worker"
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
POLL_S = 0.05
CAUSE_S = 5.0  # after a failed exchange, until the process that caused it is known
GRACE_S = 60.0  # for this process to fail by itself after another one


class Rank:
    """One of the other processes."""

    broken: Broken | None = None  # the error that ended it; None while it lives
    has_begun = False  # it has loaded the trial of the last `Begin`

    def __init__(self, number: int, ranks: int, rendezvous: Path, gpu: float) -> None:
        self.number, self._ranks = number, ranks
        # `-P`: the working folder would else come before PYTHONPATH, and its modules would hide
        # others.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM, str(number), str(ranks), str(rendezvous)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(number, os.environ, gpu),
        )
        self._reader = threading.Thread(target=self._read, name=f"rank {number}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def failed_itself(self) -> bool:
        """True if an error of its own ended the process, not the end of another one."""
        return self.broken is not None and not self.broken.by_others

    def write(self, message: Message) -> None:
        """Write a message to the process. The loss of a dead one is noticed elsewhere."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(to_line(message))
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        broken: Broken | None = None
        # A killed process may leave half a line.
        with self._process.stdout as answers, suppress(ValueError):
            for line in answers:
                match parse(line):
                    case Begun():
                        self.has_begun = True
                    case Broken() as broken:
                        break
        # The end of its output is the end of the process, whether it could explain itself or not.
        code = self._process.wait()
        self.broken = broken or Broken(
            error="", reason=_of_exit(code), traceback="", by_others=False
        )

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._reader.join()
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def as_error(self) -> RankError:
        """Return the error that ended the process."""
        broken = self.broken
        assert broken is not None
        kind = RankError if broken.error else RankDied
        who = f"process {self.number + 1} of {self._ranks} (pid {self.pid})"
        reason, *_ = broken.reason.splitlines() or [""]
        error = kind(f"{who}: {broken.error}{': ' * bool(broken.error)}{reason}")
        if broken.traceback:
            error.add_note(broken.traceback)
        return error


class RankProcesses:
    """The other processes of the trials of this process; none at first."""

    def __init__(self) -> None:
        self._others: list[Rank] = []
        self._folder: Path | None = None  # of the file in which the processes meet
        self._has_joined = False
        self.log: Path | None = None  # folder of the attempt's log

    @property
    def pids(self) -> list[int]:
        """The process ids of the other processes."""
        return [other.pid for other in self._others]

    def begin(self, attempt: AttemptConfig) -> None:
        """Start the other processes if necessary, and let them load a trial meanwhile."""
        if attempt.processes != len(self._others) + 1 or self._broken() is not None:
            self.stop()
        self.log = Path(attempt.folder)
        if not self._others and attempt.processes > 1:
            self._folder = Path(tempfile.mkdtemp(prefix="sweeper-ranks-"))
            self._others = [
                Rank(number, attempt.processes, self._folder / "rendezvous", attempt.gpu)
                for number in range(1, attempt.processes)
            ]
        for other in self._others:
            other.has_begun = False
            other.write(Begin(spec=attempt.spec, threads=attempt.threads, gpu=attempt.gpu))

    def ranks(self, device: torch.device) -> Ranks[TrainState]:
        """Wait until all processes have loaded the trial, and return them.

        Raises:
            RankError: One of them failed.
        """
        if not self._others:
            return Ranks()
        # A process that cannot load the trial never joins, and the others would wait for it in
        # `join`.
        while not all(other.has_begun for other in self._others):
            self.check()
            time.sleep(POLL_S)
        if not self._has_joined:
            assert self._folder is not None
            with self.explained():
                join(FIRST, len(self._others) + 1, device, self._folder / "rendezvous")
            self._has_joined = True
        return FirstRank(self)

    def order(self, message: Message) -> None:
        """Write a message to all other processes."""
        for other in self._others:
            other.write(message)

    def end(self) -> None:
        """Let the other processes release the trial."""
        self.order(End())

    def check(self) -> None:
        """Check that all other processes live.

        Raises:
            RankError: One of them failed or died.
        """
        if (broken := self._broken()) is not None:
            raise broken.as_error()

    def stop(self) -> None:
        """End the other processes; `begin` starts new ones."""
        for other in self._others:
            other.stop()
        if self._others:
            leave()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._others, self._folder, self._has_joined = [], None, False

    def _broken(self) -> Rank | None:
        """Return the process that failed by itself, or one that failed because of others."""
        broken = [other for other in self._others if other.broken is not None]
        # The first process to leave makes the exchange fail in all others, whose errors explain
        # nothing.
        return next((other for other in broken if other.failed_itself), next(iter(broken), None))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Replace the error of an exchange by that of the process which caused it.

        Raises:
            RankError: Another process failed or died.
        """
        is_over = threading.Event()
        threading.Thread(target=self._watch, args=(is_over,), name="ranks", daemon=True).start()
        try:
            yield
        except Exception as error:
            # A failed exchange has its cause in another process, whose last message may still be on
            # its way.
            cause = self._cause(wait_s=CAUSE_S if isinstance(error, PeerLost) else 0.0)
            if cause is None:
                raise
            raise cause.as_error() from None
        finally:
            is_over.set()

    def _cause(self, *, wait_s: float) -> Rank | None:
        """Return the process that failed, and wait for one that did so by itself."""
        until = time.monotonic() + wait_s
        while True:
            found = self._broken()
            is_certain = found is not None and found.failed_itself
            if is_certain or time.monotonic() >= until:
                return found
            time.sleep(POLL_S)

    def _watch(self, is_over: threading.Event) -> None:
        """End this process if it waits for a dead one."""
        while not is_over.wait(POLL_S * 10):
            if self._broken() is None:
                continue
            if not is_over.wait(GRACE_S):
                found = self._broken()
                assert found is not None
                if self.log is not None:
                    append(self.log, f"{found.as_error()}; this process waited for it, and ends")
                # This process may be inside a call of NCCL, which no exception of Python reaches.
                os._exit(1)
            return


class FirstRank(SeveralRanks):
    """The first process of a trial, which gives the orders."""

    def __init__(self, processes: RankProcesses) -> None:
        self._processes = processes

    @contextmanager
    def epoch(self, state: TrainState) -> Iterator[None]:
        self._processes.check()
        assert state.optimizer is not None
        moments, numbers = split_optimizer(state.optimizer.state_dict())
        with self._processes.explained():
            self._processes.order(
                Train(
                    stage=state.stage,
                    epoch=state.epoch,
                    precision=state.precision,
                    optimizer=numbers,
                    dtypes={name: _plain(each.dtype) for name, each in moments.items()},
                    shapes={name: list(each.shape) for name, each in moments.items()},
                )
            )
            # `Worker._receive` takes these tensors in the same order.
            broadcast([*state_tensors(state), *moments.values()], state.device)
            yield


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def environment(number: int, mine: Mapping[str, str], gpu: float) -> dict[str, str]:
    """Return the environment of a process: the modules of this one, and a GPU of its own.

    Each process sees a single GPU, so that `cuda` means this one in all its threads. The first
    process uses the first GPU of those that it sees.

    Args:
        number: Rank of the process.
        mine: Environment of this process.
        gpu: GPUs of the trial.
    """
    found = {**mine, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if gpu:
        named = [name for name in VISIBLE if mine.get(name)] or [VISIBLE[0]]
        for name in named:
            devices = mine.get(name, "").split(",")
            found[name] = devices[number] if number < len(devices) else str(number)
    return found


def _of_exit(code: int) -> str:
    """Return the end of a process in words."""
    if code >= 0:
        return f"it ended with exit code {code}"
    with suppress(ValueError):
        return f"it was killed by {signal.Signals(-code).name}"
    return f"it was killed by signal {-code}"
