"""The kernel's kills of processes in full memory cgroups, read from the cgroups' counters.

SLURM and containers limit memory by cgroups. The process dies by SIGKILL without a message; only
the counter of its cgroup shows the reason.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.core.protocols import Hook

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
COUNTERS = {True: "memory.events", False: "memory.oom_control"}  # is it version 2? -> file
LIMITS = {True: "memory.max", False: "memory.limit_in_bytes"}
UNLIMITED = 2**60  # bytes; version 1 writes a larger number for no limit
RECENT_S = 60.0  # longest time between a kill and the report of the death


@dataclass(frozen=True, kw_only=True)
class Count:
    """The number of kills in a memory cgroup, and its limit."""

    kills: int
    limit_bytes: int | None


def count_here(root: Path = ROOT, own: Path = OWN) -> Count | None:
    """Return the count of this process's own memory cgroup, or None if there is none.

    The counters of version 2 (`memory.events`) include those of descendants. Therefore the nearest
    readable one is used. In a container, the process's own cgroup is the root of the mount.
    """
    for folder, is_v2 in _folders(root, own):
        with suppress(OSError, ValueError):
            return Count(
                kills=_kills(folder / COUNTERS[is_v2]), limit_bytes=_limit(folder / LIMITS[is_v2])
            )
    return None


def _folders(root: Path, own: Path) -> list[tuple[Path, bool]]:
    """Return possible folders of the counters, nearest first, with a flag for version 2."""
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
    return sorted(found, key=lambda each: each[1])  # in a hybrid system, version 1 controls memory


def _kills(file: Path) -> int:
    """Return the field `oom_kill` of a cgroup's counters."""
    fields = dict(line.split() for line in file.read_text().splitlines())
    try:
        return int(fields["oom_kill"])
    except KeyError as error:  # kernel older than 4.13
        raise ValueError(f"{file}: no oom_kill") from error


def _limit(file: Path) -> int | None:
    """Return the limit of a cgroup in bytes; None if it has none, or only an ancestor has one."""
    with suppress(OSError, ValueError):
        limit = int(file.read_text())
        return limit if limit < UNLIMITED else None
    return None


class MemoryKills(Hook):
    """The attribution of trials' deaths to kills by the kernel, from the counters of nodes.

    Args:
        counts: A function that returns the count of each node by its name; None for a node without
            a counter.
        clock: The clock, in seconds.
    """

    def __init__(
        self,
        counts: Callable[[], Mapping[str, Count | None]] = lambda: {"": count_here()},
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts, self._clock = counts, clock
        self._known: dict[str, int] = {}
        self._fresh: list[tuple[float, int | None]] = []  # unexplained kills: time and limit
        # Kills before this sweep explain none of its deaths.
        self.tick()

    def tick(self) -> None:
        """Read the counters. For a new node, only later kills count."""
        for node, count in self._counts().items():
            if count is None:
                continue
            new = count.kills - self._known.get(node, count.kills)
            self._known[node] = count.kills
            self._fresh += [(self._clock(), count.limit_bytes)] * max(0, new)

    def take(self) -> str | None:
        """Return the reason of a death after a recent kill, which then counts as explained."""
        self.tick()
        now = self._clock()
        # An old kill was of another process, and would be blamed for a later death.
        self._fresh = [each for each in self._fresh if now - each[0] <= RECENT_S]
        if not self._fresh:
            return None
        _, limit = self._fresh.pop(0)
        size = "" if limit is None else f" (its cgroup may hold {round(limit / 2**30, 2):g} GiB)"
        return f"HostOutOfMemory: the kernel killed its process, since memory was full{size}."
