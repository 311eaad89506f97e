"""The core-seconds of a command and of all that it starts, however briefly a process lives.

    python -m tests.support.core_seconds FILE COMMAND...

Where a control group may be made, it counts. Elsewhere the command runs below this process, which
adopts whatever loses its parent: the kernel adds the time of each process that was waited for to
its parent's children. A process whose parent ignores the ends of its children, as Ray's raylet
does, is looked at while it runs.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
SIGCHLD_BIT = 1 << (signal.SIGCHLD - 1)
LOOK_S = 0.05
GRACE_S = 10.0  # for what the command has started and not awaited
GROUPS = Path("/sys/fs/cgroup")


def metered(file: Path) -> list[str]:
    """Return the beginning of a command whose core-seconds `spent` finds in the file."""
    return [sys.executable, "-m", "tests.support.core_seconds", str(file)]


def spent(file: Path) -> float:
    """Return the core-seconds of an ended command."""
    found = json.loads(file.read_text())
    return float(found.get("group", found["family"]))


class Family:
    """All processes below this one, until none is left."""

    def __init__(self) -> None:
        self._unawaited: dict[tuple[int, float], float] = {}  # core-seconds when last seen
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self, command: Sequence[str]) -> int:
        """Run a command, and return its exit code; wait for what it leaves behind, for a while."""
        child = subprocess.Popen(command)
        while child.poll() is None:
            self._look()
        deadline = time.monotonic() + GRACE_S
        with suppress(ChildProcessError):  # none is left
            while time.monotonic() < deadline:
                awaited, _ = os.waitpid(-1, os.WNOHANG)
                if not awaited:
                    self._look()
                # It was adopted from a parent that would not have waited for it.
                for key in [key for key in self._unawaited if key[0] == awaited]:
                    del self._unawaited[key]
        return child.returncode

    def _look(self) -> None:
        time.sleep(LOOK_S)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, OSError):
                if _ignores_ends(process.ppid()):
                    key = process.pid, process.create_time()
                    # With the times of children that it has waited for.
                    self._unawaited[key] = sum(process.cpu_times()[:4])

    @property
    def core_seconds(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime + sum(self._unawaited.values())


def _ignores_ends(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & SIGCHLD_BIT)


@contextmanager
def own_group() -> Iterator[Path | None]:
    """Move this process into a control group of its own; yield its folder, if one may be made."""
    parent = GROUPS / "cpuacct" if (GROUPS / "cpuacct").is_dir() else GROUPS
    group = parent / f"core-seconds-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:  # not root, and nothing was delegated
        with suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        with suppress(OSError):  # something still runs in it
            (parent / "cgroup.procs").write_text(str(os.getpid()))
            group.rmdir()


def of_group(group: Path) -> float:
    """Return the core-seconds of a control group, of either version."""
    if (usage := group / "cpuacct.usage").exists():
        return int(usage.read_text()) / 1e9
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6


def main(arguments: Sequence[str]) -> int:
    """Run the command, and write its core-seconds."""
    file, command = Path(arguments[0]), arguments[1:]
    family = Family()
    with own_group() as group:
        before = 0.0 if group is None else of_group(group) - time.process_time()
        code = family.run(command)
        counts = {"family": family.core_seconds}
        if group is not None:
            counts["group"] = of_group(group) - time.process_time() - before
    file.write_text(json.dumps(counts))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
