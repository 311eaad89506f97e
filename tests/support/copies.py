"""Plain copies, and contests against them: the shortest turns, and the peak of memory."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def plain_copy(source: Path, target: Path) -> None:
    """Copy a file, or the files of a folder, and sync them."""
    target.mkdir()
    for path in [source] if source.is_file() else source.iterdir():
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as file:
            os.fsync(file.fileno())


def shortest(
    *contestants: Callable[[Path], object],
    folder: Path,
    rounds: int,
    clock: Callable[[], float],
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
