"""A benchmark of somebody else: an instance of `Benchmark`, with tasks of its own."""

import pytest

from trainables.tasks.benchmark import Benchmark, PublishedTable
from trainables.tasks.task import Publication, TaskInfo

WAVES = TaskInfo(
    name="mine/waves",
    title="Waves",
    dimension="1d",
    kind="dense",
    metric="nrmse",
    loss="nrmse",
    samples=100,
    resolution=64,
    channels=(1, 1),
    protocol="u(0) -> u(1)",
    publication=Publication(
        files="waves.npz", address="https://example.org", licence="MIT", megabytes=1
    ),
)
RESULTS = PublishedTable(
    title="Mine",
    tasks=("waves",),
    rows={"orca": (50.0,), "mona": (None,)},
    citations={"orca": "A", "mona": "B"},
    protocols={"orca": "one-shot, {frames}"},
    units={"waves": 0.01},
    frames={"waves": "the last frame"},
)


class Reads:
    def find(self, files, *, seed=0):
        return {}

    def read(self, files, scratch, *, seed=0):
        pytest.fail("nothing of a benchmark is read to list its tasks")


def benchmark(*tasks: TaskInfo, name: str = "mine") -> Benchmark:
    return Benchmark(name=name, tasks=tasks, reader=lambda info: Reads(), results=RESULTS)


def test_numbers_are_found_in_the_table_in_our_unit():
    (number,) = benchmark(WAVES).published_numbers(WAVES).values()
    assert (number.task, number.method, number.value) == ("mine/waves", "orca", 0.5)
    assert (number.metric, number.citation) == ("nrmse", "A")
    assert (number.protocol, number.floor) == ("one-shot, the last frame", None)


def test_a_task_that_the_table_lacks_has_no_numbers():
    other = TaskInfo(**{**vars(WAVES), "name": "mine/tides"})
    assert benchmark(WAVES, other).published_numbers(other) == {}
    same = TaskInfo(**{**vars(WAVES), "name": "mine/waves@late", "published_as": "mine/waves"})
    assert benchmark(WAVES, same).published_numbers(same)["orca"].task == "mine/waves@late"


def test_names_of_tasks_begin_with_that_of_the_benchmark_and_are_not_there_twice():
    with pytest.raises(ValueError, match="two tasks have the same name"):
        benchmark(WAVES, WAVES)
    with pytest.raises(ValueError, match=r"mine/waves: tasks of yours are called `yours/NAME`"):
        benchmark(WAVES, name="yours")
