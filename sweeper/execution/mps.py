"""NVIDIA's Multi-Process Service (MPS), which lets processes that share a GPU use it at once.

Without it their kernels take turns: the GPU belongs to one process for a slice of time, also while
that process leaves most of it idle. A process becomes a client of MPS by its environment alone. See
https://docs.nvidia.com/deploy/mps.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import CannotSchedule
from sweeper.execution.cluster import is_allowed

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
DEFAULT = Path("/tmp/nvidia-mps")  # noqa: S108  # NVIDIA's own
PATIENCE_S = 20.0


def pipes() -> Path:
    """Return the folder in which processes with this environment look for MPS."""
    return Path(os.environ.get(PIPES) or DEFAULT)


def is_installed() -> bool:
    """Return whether this machine can start MPS."""
    return shutil.which(CONTROL) is not None


def is_running() -> bool:
    """Return whether processes with this environment are clients of MPS.

    A container may see the pipes of its host without the control program: then the pipes count.
    """
    if not (pipes() / "control").exists():
        return False
    return not is_installed() or _tell("get_server_list", {}) is None


@contextmanager
def running(logs: Path) -> Iterator[dict[str, str]]:
    """Yield the variables of processes that are to use MPS, and start it here unless it runs.

    What was started is stopped at the end. It then has pipes of its own, so that it serves no other
    process of this machine.

    Args:
        logs: The folder of its logs, if it is started.

    Raises:
        CannotSchedule: It does not start.
    """
    if is_running():
        yield {}
        return
    logs.mkdir(parents=True, exist_ok=True)
    # The path of a socket has 108 characters at most, and a sweep's folder may be a shared one.
    with tempfile.TemporaryDirectory(prefix="sweeper-mps-", ignore_cleanup_errors=True) as folder:
        variables = {PIPES: folder, LOGS: str(logs)}
        if fault := _control(variables, "-d"):
            raise CannotSchedule(f"resources.mps: {CONTROL} does not start: {fault} (see {logs})")
        try:
            yield variables
        finally:
            _tell("quit", variables)


def _tell(command: str, variables: dict[str, str]) -> str | None:
    """Send a command to MPS; return why that failed, or None."""
    return _control(variables, given=f"{command}\n")


def _control(variables: dict[str, str], *arguments: str, given: str = "") -> str | None:
    """Run the control program; return why it failed, or None."""
    # It sees every GPU: it would count again those that CUDA_VISIBLE_DEVICES names, but its clients
    # name GPUs as the machine counts them.
    known = {name: value for name, value in os.environ.items() if is_allowed(name)}
    known.pop("CUDA_VISIBLE_DEVICES", None)
    try:
        done = subprocess.run(
            [CONTROL, *arguments],
            input=given,
            # A daemon would keep a pipe of ours open, and we would wait for its end.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=known | variables,
            text=True,
            timeout=PATIENCE_S,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return f"exit code {done.returncode}" if done.returncode else None
