"""A function of a user as a program, in a thread of the worker.

The function stands still in `Trial.report` until the service has decided about the report, so that
a trial that is pruned or paused trains nothing more.
"""

import os
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any, SupportsFloat

import numpy as np
import wrapt

from trainables.errors import ConfigError, TrainableError
from trainables.methods.program import files_of
from trainables.runtime.attempt_log import filtering
from trainables.runtime.programs import BoundedLog, Reported
from trainables.seeding import derive_seed
from trainables.spec import ProgramSpec, ProgramTrial

PATIENCE_S = 30.0  # for a function that is to end
# The folder that this process imports programs from, with the modules that it had before.
_in_use: dict[str, frozenset[str]] = {}


class Stopped(BaseException):
    """The end of a function whose trial is over; raised by `Trial.report`."""


class Trial:
    """The handle by which a function knows its trial, and reports to it.

    Attributes:
        seed: The seed of the trial, below 2**32; from it all random numbers should follow.
        data: The name of its data set; "" if the sweep names none.
        folder: A folder of the trial for any files. All attempts have the same one.
    """

    def __init__(
        self, trial: ProgramTrial, folder: Path, restored: Path | None, save: Callable[[Path], None]
    ) -> None:
        self.seed, self.data, self.folder = trial.seed, trial.data, folder
        self._restored, self._save = restored, save
        self._asks = self._is_over = False
        self.reports: SimpleQueue[Reported | Exception | None] = SimpleQueue()
        self.go_on: SimpleQueue[bool] = SimpleQueue()

    @property
    def should_stop(self) -> bool:
        """True once the trial is over. A function that reads it may return by itself."""
        self._asks = True
        return self._is_over

    def report(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Report the metrics of a step, and wait for the decision about them.

        Args:
            step: Number of the step, from 1 on and rising.
            metrics: Values by name, among them the metric of the program.

        Raises:
            ConfigError: The step is no whole number, or a value no number.
            Stopped: The trial is over. Do not catch it, unless to raise it again.
        """
        if self._is_over:
            raise Stopped
        self.reports.put(Reported.of(step, metrics))
        self._is_over = not self.go_on.get()
        # A function that asks `should_stop` ends by itself; no other learns of the end.
        if self._is_over and not self._asks:
            raise Stopped

    def save(self, path: str | Path) -> None:
        """Keep a file or folder as the state from which the trial can go on after the next report.

        It is copied before this returns.

        Raises:
            OSError: It is not there, or there is no space.
        """
        self._save(Path(path))

    def restore(self) -> Path | None:
        """Return what the trial has saved last, under the same name; None: begin anew."""
        return self._restored


class Function:
    """A running function.

    Args:
        function: The function; None: it is imported.
        trial: The trial.
        folder: The folder of its files.
        restored: What it goes on from.
        save: Keeps a path as its state.
        threads: CPU threads of torch.
    """

    pids: Sequence[int] = ()  # it runs in this process

    def __init__(
        self,
        function: Callable[..., Any] | None,
        trial: ProgramTrial,
        folder: Path,
        restored: Path | None,
        save: Callable[[Path], None],
        threads: int,
    ) -> None:
        self._function = function or imported(trial.program)
        self._params, self._threads = dict(trial.params), threads
        self._trial = Trial(trial, folder, restored, save)
        self._thread = threading.Thread(target=self._run, name="program", daemon=True)

    def next(self) -> Reported | None:
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._trial.go_on.put(True)
        found = self._trial.reports.get()
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self) -> None:
        log = BoundedLog()
        with filtering(log.shows):
            ended = self._ended()
        log.close()
        self._trial.reports.put(ended)

    def _ended(self) -> Exception | None:
        """Run the function to its end, and return why it failed, if it did."""
        try:
            seed_program(self._trial.seed, self._threads)
            self._function(self._params, self._trial)
        except Stopped:
            return None
        except Exception as error:
            return error
        except BaseException as error:  # such as `sys.exit`, which would end this thread alone
            code = getattr(error, "code", error)
            if code not in (None, 0):
                return TrainableError(f"the function ended by {type(error).__name__}({code})")
        return None

    def close(self) -> None:
        self._trial.go_on.put(False)
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
        # A thread cannot be ended from outside, so that this process can run no other trial.
        if self._thread.is_alive():
            raise RuntimeError(f"the function runs {PATIENCE_S:.0f} s after its trial has ended")


def seed_program(seed: int, threads: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, and set torch's threads.

    For torch this is done when it is imported, if it is not yet: a program may do without it.
    """
    derived = derive_seed(seed, "program")
    random.seed(derived)
    np.random.seed(derived % 2**32)
    wrapt.register_post_import_hook(partial(_prepare_torch, derived, threads), "torch")


def _prepare_torch(derived: int, threads: int, torch: ModuleType) -> None:
    torch.manual_seed(derived)
    torch.set_num_threads(threads)


def imported(program: ProgramSpec) -> Callable[..., Any]:
    """Import a function, from the program's folder or from what is installed.

    Raises:
        ConfigError: There is no such function, or another module has the name of its module.
    """
    assert program.function is not None
    module, _, name = program.function.partition(":")
    if program.code:
        _use(program.folder)
    found = import_module(module)
    file = getattr(found, "__file__", None) or "Python itself"
    if program.code and os.path.realpath(file) not in map(os.path.realpath, files_of(program)):
        raise ConfigError(
            f"`{program.function}`: `{module}` is already imported from {file}, and so cannot be "
            f"from {program.folder}: rename it"
        )
    try:
        function: Callable[..., Any] = getattr(found, name)
    except AttributeError as error:
        raise ConfigError(f"`{program.function}`: {module} has no `{name}`") from error
    return function


def _use(folder: str) -> None:
    """Import from a program's folder, and forget the modules of the folder before.

    A process runs the trials of several programs, whose modules may have the same names.
    """
    for former in [each for each in _in_use if each != folder]:
        before = _in_use.pop(former)
        names = [name for name in sys.modules if name.partition(".")[0] not in before]
        there = {name for name in names if "." not in name and _lies_in(former, sys.modules[name])}
        for name in names:
            if name.partition(".")[0] in there:
                del sys.modules[name]
        with suppress(ValueError):
            sys.path.remove(former)
    if folder not in _in_use or folder not in sys.path:
        _in_use[folder] = frozenset(sys.modules)
        sys.path.insert(0, folder)


def _lies_in(folder: str, module: ModuleType) -> bool:
    """Return whether a module lies directly in a folder."""
    if (spec := getattr(module, "__spec__", None)) is None:
        return False
    paths = spec.submodule_search_locations or [spec.origin or ""]
    return any(str(Path(path).parent) == folder for path in paths)
