"""Counters of memory cgroups, as files, in the layouts in which they are mounted."""

from pathlib import Path

import pytest

from sweeper.core.policies import classify
from sweeper.execution.memory_kills import Count, MemoryKills, count_here

GIB = 2**30
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 71\noom 4\noom_kill {}\noom_group_kill 0\n"
LAYOUTS = {  # what /proc/self/cgroup says; where the counter is; whether it is version 2
    "v2, SLURM": ("0::/system.slice/job_7/step_0", "system.slice/job_7/step_0", True),
    "v2, in a container": ("0::/", "", True),
    "v1, SLURM": ("4:memory:/slurm/job_7\n1:cpu:/", "memory/slurm/job_7", False),
    "v1, in a container": ("4:memory:/docker/af31\n1:cpu:/docker/af31", "memory", False),
    "v1, two controllers": ("4:memory,hugetlb:/a", "memory,hugetlb/a", False),
    "hybrid": ("4:memory:/a\n0::/b", "memory/a", False),
    "hybrid, v2 has the memory": ("1:cpu:/a\n0::/b", "unified/b", True),
}


def write(folder: Path, kills: int, *, is_v2: bool, limit: str = "4294967296") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    counters, text = ("memory.events", V2) if is_v2 else ("memory.oom_control", V1)
    (folder / counters).write_text(text.format(kills))
    (folder / ("memory.max" if is_v2 else "memory.limit_in_bytes")).write_text(f"{limit}\n")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_counter_of_its_own_cgroup_is_read(tmp_path, layout):
    text, place, is_v2 = LAYOUTS[layout]
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text(f"{text}\n")
    write(root / place, 3, is_v2=is_v2)
    assert count_here(root, own) == Count(kills=3, limit_bytes=4 * GIB)


@pytest.mark.parametrize(("limit", "is_v2"), [("max", True), (str(2**63 - 4096), False)])
def test_a_cgroup_without_a_limit_has_none(tmp_path, limit, is_v2):
    (tmp_path / "own").write_text("0::/\n" if is_v2 else "4:memory:/\n")
    place = tmp_path if is_v2 else tmp_path / "memory"
    write(place, 0, is_v2=is_v2, limit=limit)
    assert count_here(tmp_path, tmp_path / "own") == Count(kills=0, limit_bytes=None)


@pytest.mark.parametrize("text", [None, "", "garbage\n", "4:memory:/nowhere\n", "0::/old\n"])
def test_where_there_is_no_counter_there_is_no_count(tmp_path, text):
    if text is not None:
        (tmp_path / "own").write_text(text)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "memory.events").write_text("low 0\nhigh 0\n")
    assert count_here(tmp_path, tmp_path / "own") is None


class Nodes:
    """Counters of nodes, and a clock."""

    def __init__(self, **kills: int) -> None:
        self.kills, self.now = dict(kills), 0.0

    def counts(self) -> dict[str, Count | None]:
        return {n: Count(kills=k, limit_bytes=2 * GIB) for n, k in self.kills.items()}


@pytest.fixture
def nodes() -> Nodes:
    return Nodes(a=7)


@pytest.fixture
def kills(nodes) -> MemoryKills:
    return MemoryKills(nodes.counts, lambda: nodes.now)


def test_each_kill_explains_one_death_of_its_time(nodes, kills):
    assert kills.take() is None, "those from before the sweep are not its own"
    nodes.kills["a"] += 2
    told = (
        "HostOutOfMemory: the kernel killed its process, since memory was full (its cgroup may "
        "hold 2 GiB)."
    )
    assert [kills.take() for _ in range(3)] == [told, told, None]
    assert classify(told) == "host_oom"


def test_a_kill_of_another_process_does_not_explain_a_later_death(nodes, kills):
    nodes.kills["a"] += 1
    kills.tick()
    nodes.now = 3600.0
    assert kills.take() is None


def test_a_node_that_joins_counts_from_then_on(nodes, kills):
    nodes.kills["b"] = 5
    assert kills.take() is None
    nodes.kills["b"] = 6
    assert kills.take() is not None


def test_a_node_without_a_counter_explains_nothing():
    assert MemoryKills(lambda: {"a": None}).take() is None
