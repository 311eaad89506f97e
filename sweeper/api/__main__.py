"""The process that runs a sweep for a Python program, as `python -m sweeper.api NAME`.

The program, such as the kernel of a notebook, keeps its signal handlers and has no lease: only this
process has. The sweep's name on its command line is for people. Standard output carries the answer,
standard error the progress.
"""

import os
import signal
import traceback
from functools import partial
from pathlib import Path

from sweeper.api.requests import REQUESTS, LaunchAction, LaunchRequest, LaunchResult
from sweeper.commands import launch
from sweeper.commands.look import Summary
from sweeper.console import make_plain, stderr
from sweeper.errors import Interrupted, SweeperError, UsageError, storage_fault
from sweeper.planning import child
from sweeper.planning.sweep_folder import IsElsewhere


def main() -> None:
    """Run one request and write its answer."""
    request = REQUESTS.validate_python(child.read_input())
    make_plain()
    # The sweep ends in its own time when the program ends: running trials are saved.
    child.end_with_parent(partial(os.kill, os.getpid(), signal.SIGTERM))
    with child.take_output() as out:
        child.write_line(out, _answer(request).to_json())


def _answer(request: LaunchRequest) -> LaunchResult:
    try:
        return LaunchResult(exit_code=_run(request).exit_code)
    except IsElsewhere as error:
        text = f"{error} Continue it by the command: sweeper {request.action} {request.sweep}"
        return LaunchResult(error=UsageError(text))
    except SweeperError as error:
        return LaunchResult(error=error)
    except KeyboardInterrupt:
        return LaunchResult(error=Interrupted("interrupted before the sweep began"))
    except Exception as error:
        fault = storage_fault(error) if isinstance(error, OSError) else None
        return LaunchResult(error=fault or _unexpected(error))


def _unexpected(error: Exception) -> SweeperError:
    """Print a traceback, and return an error of our own for users."""
    traceback.print_exc()
    return SweeperError(f"internal error: {type(error).__name__}: {error}")


def _run(request: LaunchRequest) -> Summary:
    console, options, sweep = stderr(), request.options, request.sweep
    match request.action:
        case LaunchAction.LAUNCH:
            return launch.launch(Path(request.file), options, console=console)
        case LaunchAction.RESUME:
            return launch.resume(sweep, options, console=console)
        case LaunchAction.EXTEND:
            assert request.trials is not None
            return launch.extend(sweep, request.trials, options, console=console)
        case LaunchAction.RETRY:
            return launch.retry(sweep, options, console=console)
        case LaunchAction.RERUN:
            return launch.rerun(sweep, request.trial, request.seed, options, console=console)


if __name__ == "__main__":
    main()
