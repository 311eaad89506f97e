"""Plain copies, and contests against them: the shortest turns, and the peak of memory."""

import os
import shutil
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple


def plain_copy(source: Path, target: Path) -> None:
    """Copy a file, or the files of a folder, and sync them."""
    target.mkdir()
    for path in [source] if source.is_file() else source.iterdir():
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as file:
            os.fsync(file.fileno())


def shortest(
    *contestants: Callable[[Path], object], folder: Path, rounds: int, clock: Callable[[], float]
) -> list[float]:
    """Return the fewest seconds of each by a clock; every turn has a folder of its own."""
    seconds = [float("inf")] * len(contestants)
    for turn in range(rounds):
        for number, contestant in enumerate(contestants):
            own = folder / f"{number}-{turn}"
            start = clock()
            contestant(own)
            seconds[number] = min(seconds[number], clock() - start)
            shutil.rmtree(own)
    return seconds


def peak_bytes() -> int:
    """Return the peak of this process's resident memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if "VmHWM" in line)
    return int(line.split()[1]) * 1024


class Measured(NamedTuple):
    """The memory and time of a call in a process of its own."""

    peak: int  # bytes
    text: str


def measured_apart(call: Callable[..., object], *arguments: object) -> Measured:
    """Call a function of a module in a new process, and return its peak of memory."""
    spawn = get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=_measure, args=(answers, call, arguments))
    process.start()
    before, peak, seconds, processor = answers.get(timeout=540)
    process.join(timeout=60)
    return Measured(peak, f"peak {peak / 2**20:.0f} MiB, {before / 2**20:.0f} of them before; "
                          f"{seconds:.0f} s, {processor:.0f} of a processor")  # fmt: skip


def _measure(answers, call: Callable[..., object], arguments: tuple[object, ...]) -> None:
    before, began, processor = peak_bytes(), time.perf_counter(), time.process_time()
    call(*arguments)
    spent = time.perf_counter() - began, time.process_time() - processor
    answers.put((before, peak_bytes(), *spent))
