"""What this machine computes on, without loading torch."""

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

from sweeper.text import format_bytes

MIB = 2**20


def count_gpus() -> int:
    """Returns the number of NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    found = sum(line.startswith("GPU ") for line in _nvidia_smi("-L"))
    return min(found, len(visible.split(","))) if visible else found


def gpu_name() -> str | None:
    """Returns what the first GPU is called; None without one."""
    gpus = _gpus()
    return gpus[0][0] if gpus else None


def gpu_memory_bytes() -> int | None:
    """Returns the memory of the smallest GPU; None without one."""
    return min((memory for _, memory in _gpus()), default=None)


def cpu_name() -> str:
    """Returns what the processor is called."""
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


@cache
def _gpus() -> list[tuple[str, int]]:
    """Returns name and memory in bytes of every GPU."""
    if not count_gpus():
        return []
    return parse_gpus(_nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits"))


def parse_gpus(lines: list[str]) -> list[tuple[str, int]]:
    """Reads lines such as `NVIDIA H100 80GB HBM3, 81559`; the memory is in MiB."""
    found = (re.fullmatch(r"(.+), (\d+)", line.strip()) for line in lines)
    return [(match[1], int(match[2]) * MIB) for match in found if match]


def _nvidia_smi(*arguments: str) -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def sharers(gpu: float) -> int:
    """Returns how many trials that ask for `gpu` GPUs share one."""
    return int(1 / gpu + 1e-9) if 0 < gpu < 1 else 1


def over_memory(gpu: float, peak_bytes: int, memory_bytes: int | None) -> str | None:
    """Returns what to say where trials of a measured peak do not fit together; None if they do,
    or no GPU is shared or known.

    Args:
        gpu: GPUs that a trial asks for.
        peak_bytes: The most that one held; each process needs some more for CUDA itself.
        memory_bytes: Of the GPU.
    """
    count = sharers(gpu)
    if memory_bytes is None or count < 2 or count * peak_bytes <= memory_bytes:
        return None
    fit = memory_bytes // peak_bytes
    way_out = "write `resources.gpu: 1`" if fit < 2 else f"write `resources.gpu: {1 / fit:.2g}`"
    memory, peak = format_bytes(memory_bytes, "GiB"), format_bytes(peak_bytes, "GiB")
    return (
        f"{count} trials share a GPU of {memory}, and one was measured to hold {peak}: at their "
        "peaks they do not fit together. Where memory runs out, batches are halved; to avoid that, "
        f"{way_out}, or lower a batch size."
    )
