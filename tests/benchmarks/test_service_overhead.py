"""The service's overhead: the same trials through all of it, and in a plain loop.

The service is one slot of Ray Tune, the ledger, Optuna, checkpoints at every epoch and a recorder
that ships to MLflow. The plain loop is one process that keeps backbone, data and source warm, as
an actor does, and saves nothing. Both are timed from the end of their first trial, which warms up.

Seconds by the wall mean something on a quiet machine with two cores or more: the driver, the
recorder and Ray's own processes live on another core than the trial. Core-seconds are split by who
spends them, and hold on a busy machine too.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import psutil
import pytest
import torch

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.retention import Retention
from sweeper.driver.preparation import prepare
from sweeper.driver.recorder import make_recorder
from sweeper.execution.cluster import connect, set_environment
from sweeper.ledger import Ledger
from sweeper.model import Trial
from sweeper.planning import load, resuming
from sweeper.planning.catalog import home
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.studies import make_plans
from sweeper.planning.trials import TrialBuilder
from tests.support.command import ROOT
from tests.support.figures import compare
from trainables.report import Measurement
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import AttemptConfig, TrialSpec

TRIALS = 5
TIMED = TRIALS - 1  # the first warms up
RAYS_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
SETTINGS = (
    "tasks=[pdebench/advection_1d]",
    "meta.epochs=1",
    "refine.epochs=3",
    "pruning.type=none",
)

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.filterwarnings("default"),  # Ray's and MLflow's own, in this process
]


Cores = dict[str, float]  # core-seconds by who spent them


@dataclass
class Stopwatch(Hook):
    """Times trials from the end of the first, by the wall and by `cores`; watches a sweep too."""

    cores: Callable[[], Cores]
    ends: list[tuple[float, Cores]] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)  # seconds of each trial in its own process

    def lap(self) -> None:
        self.ends.append((perf_counter(), self.cores()))

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        if measurement is not None and measurement.is_final:
            self.inside.append(measurement.seconds)
        if trial.state.is_finished:
            self.lap()

    @property
    def seconds(self) -> float:
        """Wall seconds a trial."""
        return (self.ends[-1][0] - self.ends[0][0]) / TIMED

    @property
    def core_seconds(self) -> Cores:
        """Core-seconds a trial."""
        first, last = self.ends[0][1], self.ends[-1][1]
        return {who: (last[who] - first.get(who, 0.0)) / TIMED for who in last}

    @property
    def seconds_between(self) -> float:
        """Wall seconds from the end of a trial in its process to that of the next, less its own."""
        return self.seconds - sum(self.inside[1:]) / TIMED


def cores_of_the_service() -> Cores:
    me = psutil.Process()
    cores = Counter(driver=spent_by(me))
    for process in me.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            title = next(iter(process.cmdline()), "")
            is_actor = title.startswith("ray::") and not title.startswith(RAYS_OWN)
            cores["actor" if is_actor else "Ray"] += spent_by(process)
    return dict(cores)


def spent_by(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def through_the_service(folder: Path) -> tuple[Stopwatch, list[AttemptConfig]]:
    """Run the sweep; return its times, and the config of each trial."""
    set_environment(folder / "token")
    from sweeper.execution import ray_executor

    options = load.Options(profile="laptop", sets=SETTINGS, trials=TRIALS)
    sweep = load.read(ROOT / "search_spaces/mona_pdebench.yaml", options)
    facts = prepare(sweep, home(), lambda *_: None)
    ledger = Ledger.in_folder(folder / sweep.name)
    resuming.match(ledger, sweep, text="")
    watch, configs = Stopwatch(cores_of_the_service), []
    places = CheckpointPaths(folder / sweep.name)
    builder = TrialBuilder(sweep, places, home(), "holder", facts, trial_of=ledger.trial)

    def build(trial: Trial) -> AttemptConfig:
        configs.append(builder(trial))
        return configs[-1]

    with connect("local", num_cpus=1, num_gpus=0):
        ledger.start({})
        runner = SweepRunner(
            make_plans(sweep, ledger, facts),
            ledger,
            hooks=[Retention(places, sweep.checkpoints, ledger), watch],
        )
        recorder = make_recorder(ledger, sweep, places)
        recorder.start()
        placement = ray_executor.Placement(
            resources={"cpu": 1.0, "gpu": 0.0},
            max_concurrent=1,
            folder=folder / sweep.name / "ray",
        )
        code = ray_executor.run(runner, build, placement)
        left = recorder.stop(timeout_s=60)
    assert code is None
    assert left.shipped
    assert not left.pending
    assert [trial.state for trial in ledger.trials()] == ["complete"] * TRIALS
    ledger.close()
    return watch, configs


def in_a_plain_loop(configs: list[AttemptConfig]) -> Stopwatch:
    torch.set_num_threads(1)
    watch, parts = Stopwatch(lambda: {"all": spent_by(psutil.Process())}), WarmParts()
    for config in configs:
        for report in Training.begin(TrialSpec.model_validate(config.spec), parts).reports():
            assert report.metrics
        watch.lap()
    return watch


@pytest.mark.timeout(1800)
def test_the_service_adds_under_five_percent_and_half_a_second_a_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    service, configs = through_the_service(tmp_path)
    plain = in_a_plain_loop(configs)

    alone = plain.core_seconds["all"]
    spent = ", ".join(f"{who} {cores:.2f}" for who, cores in service.core_seconds.items())
    print(f"\na trial in a plain loop     {plain.seconds:6.2f} s; core-seconds {alone:.2f}")
    print(f"a trial in the service      {service.seconds:6.2f} s; core-seconds: {spent}")
    print(f"between an actor's trials   {service.seconds_between:6.2f} s")
    every = sum(service.core_seconds.values())
    peer, unit = "plain loop", "core-s"
    compare("a trial by the service, all processes", every, alone, peer=peer, unit=unit, goal="-")
    actor = compare("a trial by the service, its own process", service.core_seconds["actor"],
                    alone, peer=peer, unit=unit, goal="< 1.05")  # fmt: skip
    assert service.seconds_between < 0.5
    assert actor < 1.05
