"""Shared parts of all tests: Hypothesis settings, a clean environment, one Ray head, one data home,
empty stores of MLflow."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.command import STARTED, Result, Run
from tests.support.servers.cluster import RayCluster, ray_cluster
from tests.support.servers.s3 import SeaweedFS, seaweedfs
from tests.support.stores import empty_store
from trainables.methods.registry import METHODS
from trainables.tasks import registry

settings.register_profile("sweeper", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("sweeper")

QUIET = {
    "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing is fetched: no such port answers
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's default, 15, lets whatever else runs here starve trials
    "NO_COLOR": "1",
}
os.environ |= QUIET
FOREIGN = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "MLFLOW_RUN_ID", "SWEEPER_HOME", "SWEEPER_STORAGE")
for name in FOREIGN:
    os.environ.pop(name, None)

APART = (  # what watches clocks while several servers run: one after the other
    "tests/doubles/",
    "tests/sweeper/execution/",
    *(
        f"tests/end_to_end/test_{name}.py"
        for name in ("kill_matrix", "eight_sweeps", "steering", "toy_faults", "gauges",
                     "dashboard", "ray_jobs", "local_cluster", "background", "slow_start")
    ),
)  # fmt: skip
LONG = ("tests/end_to_end/", "tests/deploy/", "tests/contracts/", "tests/trainables/storage/")
EACH_NIGHT = ("tests/end_to_end/", "tests/doubles/")  # `.ci/soak`, but for the slow tier's sweeps:
EACH_CHANGE = tuple(
    f"tests/end_to_end/test_{name}.py"
    for name in ("bad_inputs", "dashboard", "kill_matrix", "launch", "local_cluster", "programs",
                 "python_api", "slow_start", "steering", "toy_faults")
)  # fmt: skip
SLOW_FIXTURES = {"bucket_server", "ray_head", "server", "server_process"}  # each starts a server
SLOW_TIER = (  # without checks of shapes, of which the fast tier is full
    'pytest -n 2 -m "slow and not soak and not benchmark and not external" --jaxtyping-packages='
)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and fixtures, and begin with those that take longest."""
    for item in items:
        at_night = item.nodeid.startswith(EACH_NIGHT) and not item.nodeid.startswith(EACH_CHANGE)
        if at_night and item.get_closest_marker("external") is None:
            item.add_marker("soak")
        starts_a_server = SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        is_whole_sweep = item.nodeid.startswith("tests/test_whole_sweep.py")
        if item.nodeid.startswith("tests/end_to_end/") or (starts_a_server and not is_whole_sweep):
            item.add_marker("slow")
    items.sort(key=lambda i: (not i.nodeid.startswith(APART), not i.nodeid.startswith(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give one worker all that is to be apart, and the other the rest, file by file.

    xdist's own `loadgroup` would do, but xdist 3.8 groups nothing under pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneAtATime(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "apart" if nodeid.startswith(APART) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return OneAtATime(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how to run what the fast tier leaves out."""
    if terminalreporter.config.option.markexpr.startswith("not slow"):
        terminalreporter.write_line(f"This was the fast tier. The slow one: {SLOW_TIER}")
        terminalreporter.write_line("All others: tests/README.md")


def _own_tasks_are_forgotten() -> Iterator[None]:
    """Remove what a test, or a fixture of its module, has registered: tasks and programs."""
    before = dict(registry.REGISTERED)
    with METHODS.forgetting():
        yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


_by_tests = pytest.fixture(_own_tasks_are_forgotten, autouse=True)
_by_modules = pytest.fixture(_own_tasks_are_forgotten, autouse=True, scope="module")


@pytest.fixture(autouse=True)
def _no_command_outlives_its_test() -> Iterator[None]:
    """End what a failed test left running: a sweep would take the cores from all that follow."""
    before = len(STARTED)
    yield
    for process in STARTED[before:]:
        if process.poll() is None:
            with process:  # which waits for it, and closes its pipes
                process.kill()


@pytest.fixture
def command(capsys) -> Run:
    """Run `sweeper ARGUMENTS` in this process, and check its exit code."""
    from sweeper.cli.main import run

    def command(*arguments: str, code: int = 0) -> Result:
        assert run([*arguments]) == code
        return Result(*capsys.readouterr())

    return command


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayCluster]:
    """One Ray head for the whole session, with two CPUs and two logical GPUs."""
    with ray_cluster(num_cpus=2, num_gpus=2, quick_to_bury=False) as head:
        yield head


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory) -> Iterator[SeaweedFS]:
    """One S3-compatible server for the whole session."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def data_home(tmp_path_factory) -> Path:
    """A SWEEPER_HOME that the session's tests share, so that data are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def new_store(tmp_path) -> Callable[[], str]:
    """Make the URI of another empty SQLite store."""
    numbers = itertools.count()

    def make() -> str:
        folder = tmp_path / f"store-{next(numbers)}"
        folder.mkdir()
        shutil.copy(empty_store(), folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return make
