"""A function of a user as a program, in a thread of the worker.

The function stands still in `Trial.report` until the service has decided about the report, so that
a trial that is pruned or paused trains nothing more.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any, SupportsFloat

from trainables.errors import ConfigError, TrainableError
from trainables.runtime.attempt_log import filtering
from trainables.runtime.programs import BoundedLog, Reported
from trainables.seeding import seed_globals
from trainables.spec import ProgramSpec, ProgramTrial

PATIENCE_S = 30.0  # for a function that is to end


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
            Stopped: The trial is over. Do not catch it, unless to raise it again.
        """
        if self._is_over:
            raise Stopped
        values = {name: float(value) for name, value in metrics.items()}
        self.reports.put(Reported(int(step), values))
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
    """

    pids: Sequence[int] = ()  # it runs in this process

    def __init__(
        self,
        function: Callable[..., Any] | None,
        trial: ProgramTrial,
        folder: Path,
        restored: Path | None,
        save: Callable[[Path], None],
    ) -> None:
        self._function = function or imported(trial.program)
        self._params = dict(trial.params)
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
            seed_globals(self._trial.seed, "program")
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
        if self._thread.is_alive():
            raise RuntimeError(f"the function runs {PATIENCE_S:.0f} s after its trial has ended")


def imported(program: ProgramSpec) -> Callable[..., Any]:
    """Import a function, from the program's folder or from what is installed.

    Raises:
        ConfigError: There is no such function.
    """
    assert program.function is not None
    module, _, name = program.function.partition(":")
    if program.code and program.folder not in sys.path:
        sys.path.insert(0, program.folder)
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except AttributeError as error:
        raise ConfigError(f"`{program.function}`: {module} has no `{name}`") from error
    return found
