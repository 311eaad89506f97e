"""Memory of a worker: a limit that ends the process, and the peak of a trial.

Mapped files do not count against the limit, because the kernel can drop them. Without /proc there
is no limit.

A process runs many trials, so the peak is reset for each of them. Outside Linux and without a GPU
this is not possible, and the peaks of earlier trials count too.
"""

import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PROCESS = Path("/proc/self")
STATM = PROCESS / "statm"
INTERVAL_S = 0.2
KILLED = 137  # exit code of a process that the kernel ended by SIGKILL
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")  # old torch reads the second alone
RESET_PEAK = "5"  # resets the peak of resident memory; see proc(5)


def held_bytes(process: Path = PROCESS) -> int:
    """Return the resident memory of a process in bytes, without mapped files; 0 if it has ended."""
    try:
        resident, shared = map(int, (process / "statm").read_text().split()[1:3])
    except OSError:
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class MemoryLimit:
    """Thread that ends the process once its memory exceeds `limit_bytes`.

    It checks every 0.2 s until `lift` is called. Before it ends the process, it calls `tell` with
    one line. The memory of `others`, process ids of processes that end with this one, counts too.
    """

    def __init__(
        self,
        limit_bytes: int,
        tell: Callable[[str], object],
        others: Callable[[], Sequence[int]] = lambda: (),
    ) -> None:
        self._limit, self._tell, self._others = limit_bytes, tell, others
        self._lifted = threading.Event()
        if STATM.exists():
            threading.Thread(target=self._watch, name="memory limit", daemon=True).start()

    def lift(self) -> None:
        """Remove the limit."""
        self._lifted.set()

    def _watch(self) -> None:
        while not self._lifted.wait(INTERVAL_S):
            held = held_bytes() + sum(held_bytes(PROCESS.with_name(str(i))) for i in self._others())
            if held > self._limit:
                # The service looks for this word in the log of a dead attempt, to tell a lack of
                # memory from a crash.
                self._tell(f"HostOutOfMemory: {_gib(held)} held, limit {_gib(self._limit)}")
                # `sys.exit` would end this thread alone.
                os._exit(KILLED)


def _gib(amount: int) -> str:
    return f"{round(amount / 2**30, 2):g} GiB"


def allocator_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make CUDA's allocator waste little memory between tensors.

    They must be set before torch is imported. A setting of the user's stays as it is.
    """
    if any(name in environment for name in ALLOCATOR):
        return {}
    return dict.fromkeys(ALLOCATOR, "expandable_segments:True")


def count_anew(on_gpu: bool) -> None:
    """Reset the peak to the memory that is in use now, on the GPU or in main memory."""
    if on_gpu:
        from trainables.runtime.device import reset_gpu_peak

        reset_gpu_peak()
        return
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text(RESET_PEAK)


def peak_bytes(on_gpu: bool, others: Sequence[int] = ()) -> int:
    """Return the peak memory since `count_anew`, in bytes.

    It is that of the whole process: on a GPU if it uses one, or else in main memory. In main
    memory the peaks of `others`, process ids, are added.
    """
    if on_gpu:
        from trainables.runtime.device import gpu_peak

        return gpu_peak()
    theirs = sum(peak_of(PROCESS.with_name(str(pid))) or 0 for pid in others)
    if (mine := peak_of(PROCESS)) is not None:
        return mine + theirs
    # `ru_maxrss` is in bytes on macOS, and in KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_of(process: Path) -> int | None:
    """Return the peak of a process's resident memory in bytes; None if it is not known.

    Args:
        process: The folder of the process in /proc.
    """
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", (process / "status").read_text()):
            return int(found[1]) * 1024
    return None
