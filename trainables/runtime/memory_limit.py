"""Ends the process once it holds more memory than it may, before the kernel ends another's.

What counts is what only ending the process gives back: mapped files, which the kernel can drop, do
not. Where there is no /proc there is no limit.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["KILLED", "MemoryLimit", "held_bytes"]

STATM = Path("/proc/self/statm")
INTERVAL_S = 0.2
KILLED = 137  # the exit code of a process that SIGKILL ended, as the kernel would


def held_bytes() -> int:
    """Returns what the process holds in memory, without files that are mapped."""
    resident, shared = map(int, STATM.read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class MemoryLimit:
    """Looks every 0.2 s, from its making until `lift`, and ends the process at once where it holds
    more than `limit_bytes`, after it has told `tell`."""

    def __init__(self, limit_bytes: int, tell: Callable[[str], object]) -> None:
        self._limit, self._tell = limit_bytes, tell
        self._lifted = threading.Event()
        if STATM.exists():
            threading.Thread(target=self._watch, name="memory limit", daemon=True).start()

    def lift(self) -> None:
        """Stops looking."""
        self._lifted.set()

    def _watch(self) -> None:
        while not self._lifted.wait(INTERVAL_S):
            held = held_bytes()
            if held > self._limit:
                self._tell(f"HostOutOfMemory: {_gib(held)} held, limit {_gib(self._limit)}")
                os._exit(KILLED)


def _gib(amount: int) -> str:
    return f"{round(amount / 2**30, 2):g} GiB"
