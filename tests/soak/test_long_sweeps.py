"""Sweeps of many trials: nothing is lost, and the driver grows by nothing that matters."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from sweeper.ledger import EventKind
from sweeper.model import TrialState
from tests.support.figures import moments, show
from tests.support.servers.cluster import ray_cluster
from tests.support.servers.process import Process, wait_until
from tests.support.toy import history
from tests.support.toy import sweep as toy_sweep

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
MIB = 2**20
SOAK_S, WARM_UP_S = 180, 40


class Sample(NamedTuple):
    """The memory and files that a process holds."""

    rss: int
    fds: int
    zombies: int  # among all that it started


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Process]]:
    """Start toy sweeps, and end them with all that they started."""
    sweeps: list[Process] = []

    def start(name: str, *options: str, **more) -> Process:
        sweeps.append(toy_sweep.start(tmp_path / name, *options, **more))
        return sweeps[-1]

    yield start
    for sweep in sweeps:
        end(sweep)


def end(sweep: Process) -> None:
    """End a sweep's process at once, and the local Ray below it as well."""
    try:
        started = psutil.Process(sweep.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    sweep.kill()
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def sample(process: psutil.Process) -> Sample:
    zombies = 0
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            zombies += child.status() == psutil.STATUS_ZOMBIE
    return Sample(process.memory_info().rss, process.num_fds(), zombies)


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat(follow_symlinks=False).st_size
    return total


def test_a_driver_of_a_trial_a_second_does_not_grow(tmp_path, start, new_store):
    trials = SOAK_S
    with ray_cluster(num_cpus=4) as head:
        sweep = start(
            "toy", "--trials", str(trials), "--epochs", "4", "--epoch-s", "0.9",
            "--concurrent", "4", "--pruning", "none", "--sampler", "random",
            "--address", head.address, "--tracking", new_store(), environment=head.environment,
        )  # fmt: skip
        driver, samples, zombies = psutil.Process(sweep.pid), [], 0
        wait_until(lambda: history.read(tmp_path / "toy"), timeout_s=120, what="a first trial")
        began = time.monotonic()
        while sweep.is_alive and time.monotonic() < began + 3 * SOAK_S:
            with suppress(psutil.NoSuchProcess):  # the driver has ended
                samples.append((time.monotonic() - began, sample(driver)))
                zombies = max(zombies, sample(psutil.Process(head.nodes[0].process.pid)).zombies)
            time.sleep(1)
        assert sweep.wait(60) == 0, sweep.tail()
        rays_bytes = size_of(head.folder)
    with closing(toy_sweep.open_ledger(tmp_path / "toy")) as ledger:
        wrong = history.violations(
            tmp_path / "toy", ledger, planned={"toy/task_0": trials}, faults=0
        )
        assert wrong == []
        ends = moments(ledger, EventKind.TRIAL_ENDED)
    warm = [found for at, found in samples if at > WARM_UP_S][:-3]  # not while it ends
    grown = (max(s.rss for s in warm) - warm[0].rss) / MIB
    fds = max(s.fds for s in warm) - min(s.fds for s in warm)
    zombies = max(zombies, *(s.zombies for s in warm))
    show("L7 rate", "1 trial/s", f"{len(ends) / (ends[-1] - ends[0]):.2f} trials/s for "
         f"{ends[-1] - ends[0]:.0f} s")  # fmt: skip
    show("L7 memory of the driver", "< 50 MB of growth", f"{grown:+.1f} MiB to "
         f"{max(s.rss for s in warm) / MIB:.0f}")  # fmt: skip
    show("L7 open files", "flat", f"{warm[0].fds}, within {fds}")
    show("L7 zombies", "0", str(zombies))
    show("L7 Ray's folder", "<= 1 GB", f"{rays_bytes / 1e6:.0f} MB")
    assert grown < 50
    assert fds <= 10
    assert zombies == 0
    assert rays_bytes < 1e9


def test_half_a_sweep_goes_on_after_a_kill_within_half_a_minute(tmp_path, start, new_store):
    trials, folder, uri = 200, tmp_path / "toy", new_store()
    options = (
        "--trials", str(trials), "--epochs", "2", "--epoch-s", "0.05", "--tracking", uri,
        "--pruning", "none",
    )  # fmt: skip
    first = start("toy", *options)
    with closing(toy_sweep.open_ledger(folder)) as ledger:
        ended = [EventKind.TRIAL_ENDED]
        wait_until(
            lambda: ledger.count_events(kinds=ended) >= trials / 2, timeout_s=300, what="a half"
        )
        first.kill_leader()
        killed, before = time.time(), history.read(folder)
        second = start("toy", *options)
        assert second.wait(300) == 0, second.tail()
        lines = history.read(folder)
        assert history.violations(folder, ledger, planned={"toy/task_0": trials}, faults=2) == []
        assert history.mlflow_violations(ledger, uri, "toy") == []
    began = min(line.time for line in lines if line.event == "started" and line.time > killed)
    show("L5 resume of 200 trials", "<= 30 s with Ray's start", f"{began - killed:.1f} s")
    assert len(before) > trials / 2
    assert began - killed < 30


def test_two_thousand_trials_with_pruning(tmp_path, start, new_store, ray_head):
    """By TPE and ASHA, in four studies at once, through Ray Tune and into MLflow."""
    folder, uri = tmp_path / "toy", new_store()
    sweep = start(
        "toy", "--studies", "4", "--trials", "500", "--epochs", "9", "--epoch-s", "0.01",
        "--tracking", uri, "--patience", "900", "--address", ray_head.address,
        environment=ray_head.environment,
    )  # fmt: skip
    assert sweep.wait(1500) == 0, sweep.tail()
    planned = {f"toy/task_{i}": 500 for i in range(4)}
    with closing(toy_sweep.open_ledger(folder)) as ledger:
        assert history.violations(folder, ledger, planned=planned, faults=0) == []
        assert history.mlflow_violations(ledger, uri, "toy") == []
        states = [trial.state for trial in ledger.trials()]
        ends = moments(ledger, EventKind.TRIAL_ENDED)
    pruned = states.count(TrialState.PRUNED)
    assert pruned + states.count(TrialState.COMPLETE) == 2000
    assert 500 < pruned < 1900
    rate = 2000 / (ends[-1] - ends[0])
    measured = f"{pruned} pruned, {2000 - pruned} complete, {rate:.1f} trials/s"
    show("2,000 trials with pruning", "exactly these, in three accounts", measured)
    assert re.search(r"\b0 records are left to ship", sweep.tail())
