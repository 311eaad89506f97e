"""The most memory that a trial held where it computes: on a GPU, its tensors; else, the process.

A process outlives its trials, so that counting starts anew with each. Where that cannot be (outside
Linux, and without a GPU) what earlier trials held counts on.
"""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

__all__ = ["count_anew", "peak_bytes"]

PROCESS = Path("/proc/self")
RESET_PEAK = "5"  # as proc(5) has it


def count_anew(device: torch.device) -> None:
    """Forgets what was held before; what still is held counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text(RESET_PEAK)


def peak_bytes(device: torch.device) -> int:
    """Returns the most bytes that were held at once since then."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text())
        if found:
            return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
