"""Kills by the kernel because a memory cgroup was full, as the cgroup counts them.

SLURM and containers limit memory in this way. A process dies by SIGKILL without a message; only the
counter of its cgroup tells why.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.core.protocols import Hook

__all__ = ["MemoryKills", "count_here"]

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
COUNTERS = {True: "memory.events", False: "memory.oom_control"}  # by whether it is version 2
LIMITS = {True: "memory.max", False: "memory.limit_in_bytes"}
UNLIMITED = 2**60  # version 1 writes a number beyond any memory
RECENT_S = 60.0  # in which a death follows its kill


@dataclass(frozen=True, kw_only=True)
class Count:
    """The kills of processes because a cgroup's memory was full, and its limit."""

    kills: int
    limit_bytes: int | None


def count_here(root: Path = ROOT, own: Path = OWN) -> Count | None:
    """Return the count of this process's own memory cgroup; None where there is none.

    The counters of version 2 (`memory.events`) hold those of cgroups below, so that the nearest one
    that can be read is taken. In a container its own cgroup is the root of what is mounted.
    """
    for folder, is_v2 in _folders(root, own):
        with suppress(OSError, ValueError):
            return Count(
                kills=_kills(folder / COUNTERS[is_v2]), limit_bytes=_limit(folder / LIMITS[is_v2])
            )
    return None


def _folders(root: Path, own: Path) -> list[tuple[Path, bool]]:
    """Return where the counters may be, the nearest first, each with whether it is version 2."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for number, names, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        is_v2 = number == "0" and not names
        if not is_v2 and "memory" not in names.split(","):
            continue
        mounts = [root, root / "unified"] if is_v2 else [root / "memory", root / names]
        for mount in mounts:
            inside = mount / path.lstrip("/")
            found += [(folder, is_v2) for folder in dict.fromkeys((inside, mount))]
    return sorted(found, key=lambda each: each[1])  # in a hybrid, version 1 has the memory


def _kills(file: Path) -> int:
    """Return the field `oom_kill` of a cgroup's counters."""
    fields = dict(line.split() for line in file.read_text().splitlines())
    try:
        return int(fields["oom_kill"])
    except KeyError as error:  # a kernel before 4.13
        raise ValueError(f"{file}: no oom_kill") from error


def _limit(file: Path) -> int | None:
    """Return a cgroup's limit; None if it has none, as where a limit above it is the one."""
    with suppress(OSError, ValueError):
        limit = int(file.read_text())
        return limit if limit < UNLIMITED else None
    return None


class MemoryKills(Hook):
    """Attributes deaths of trials to kills that the counters of nodes show.

    Args:
        counts: Asks the nodes; by their names, None for a node without a counter.
    """

    def __init__(
        self,
        counts: Callable[[], Mapping[str, Count | None]] = lambda: {"": count_here()},
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts, self._clock = counts, clock
        self._known: dict[str, int] = {}
        self._fresh: list[tuple[float, int | None]] = []  # when each was seen, and the limit
        self.tick()

    def tick(self) -> None:
        """Read the counters; a node that is new counts from now on."""
        for node, count in self._counts().items():
            if count is None:
                continue
            new = count.kills - self._known.get(node, count.kills)
            self._known[node] = count.kills
            self._fresh += [(self._clock(), count.limit_bytes)] * max(0, new)

    def take(self) -> str | None:
        """Return why a trial's process died, if a kill of the last minute is not yet explained."""
        self.tick()
        now = self._clock()
        self._fresh = [each for each in self._fresh if now - each[0] <= RECENT_S]
        if not self._fresh:
            return None
        _, limit = self._fresh.pop(0)
        size = "" if limit is None else f" (its cgroup may hold {round(limit / 2**30, 2):g} GiB)"
        return f"HostOutOfMemory: the kernel killed its process, since memory was full{size}."
