"""The kill matrix: whatever is killed, the sweep ends with exactly its trials and the same numbers.

A team's set-up: Ray on a head and two nodes, the ledger on PostgreSQL, MLflow as a server. The
sweep is small but real, and its trials do not depend on the order in which others end, so that all
numbers have to agree with those of a run that nobody disturbed, to the last bit of the weights.
"""

import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import joblib
import numpy as np
import pytest

from sweeper.commands import results
from sweeper.commands.diagnose import diagnose
from tests.support import killing
from tests.support.command import ROOT, Shell
from tests.support.servers.cluster import RayCluster, ray_cluster
from tests.support.servers.mlflow_server import Server, mlflow_server
from tests.support.servers.postgres import Postgres, postgres
from tests.support.small_sweep import (
    EPOCHS,
    STUDY,
    TRIALS,
    Sweep,
    check_same,
    check_weights,
    finish,
    wait_for_epochs,
)

pytestmark = [pytest.mark.timeout(900)]
VICTIMS = ("driver", "trial", "node", "supervisor", "mlflow", "postgres")
DEFAULT = (2,)  # seed of the slow tier: the node; other tests there kill drivers and trials
AWAY_S = 3.0  # that a server stays away
S = TypeVar("S", bound=Sweep)
SCRIPTS = ROOT / ".site" / "gallery" / "scripts" / "tuned"
WALK = r"""
read -r step at < "${SWEEPER_CHECKPOINT:-/dev/null}"
while ((step < 4)); do
  sleep 0.3
  ((step += 1, at = (31 * at + $1 + SWEEPER_SEED) % 10007))
  kept="$SWEEPER_FOLDER/at-$((step % 2))"
  echo "$step $at" > "$kept"
  printf '{"step": %s, "loss": %s, "checkpoint": "%s"}\n' "$step" "$at" "$kept"
done
"""
PROGRAMS = {  # the sections `program`, `parameters` and `fixed`, with which a step takes a while
    "sklearn": """
program: {function: "sklearn_sgd:main", metric: accuracy, steps: 4}
parameters: {alpha: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed: {batch_size: 2}
""",
    "torch": """
program: {function: "torch_loop:main", metric: accuracy, steps: 4}
parameters: {lr: {distribution: log_uniform_values, min: 1.0e-3, max: 1.0e-1}}
fixed: {width: 64}
""",
    "shell": """
program: {command: [bash, walk.sh, "{start}"], metric: loss, steps: 4}
parameters: {start: {min: 1, max: 1000}}
""",
}
REST = """
experiment: pdebench
search: {trials: 4, sampler: random}
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
"""


@dataclass
class ProgramSweep(Sweep):
    """A sweep of a training program, in the place of a method."""

    program: str = ""

    @property
    def metric(self) -> str:
        return "val/loss" if self.program == "shell" else "val/accuracy"

    def file(self) -> Path:
        file = super().file()
        for script in SCRIPTS.glob("*.py"):
            shutil.copy(script, file.parent)
        (file.parent / "walk.sh").write_text(WALK)
        file.write_text(f"name: {self.name}\n{PROGRAMS[self.program]}{REST}")
        return file

    def weights(self) -> dict[int, dict]:
        """Return the files in the last checkpoint of each trial."""
        found: dict[int, dict] = {}
        for number, folder in self.checkpoints().items():
            with tarfile.open(folder / "program.tar") as tar:
                files = [(each.name, tar.extractfile(each)) for each in tar if each.isfile()]
                found[number] = {name: numbers(file.read()) for name, file in files if file}
        return found

    def files(self) -> dict[Path, list]:
        """Return what the program has left in the folders of its trials."""
        trials = self.folder / "trials"
        found = [path for path in trials.glob("*/*/files/**/*") if path.is_file()]
        return {path.relative_to(trials): numbers(path.read_bytes()).tolist() for path in found}


def numbers(content: bytes) -> np.ndarray:
    """Return the bytes of a file; of a pickle, whose bytes may differ, all numbers of its model."""
    if not content.startswith(b"\x80"):
        return np.frombuffer(content, np.uint8)
    epoch, generator, model = joblib.load(BytesIO(content))
    state = (np.r_[epoch], generator.get_state()[1], model.coef_.ravel(), model.intercept_)
    return np.concatenate(state)


@dataclass
class Team:
    """The servers that a team shares; each of them can be killed."""

    ray: RayCluster
    database: Postgres
    mlflow: Server
    shell: Shell

    def sweep(self, name: str) -> Sweep:
        return Sweep(self.shell, name, storage=self.database.url)

    def start(self, sweep: Sweep, *options: str) -> subprocess.Popen[str]:
        at_once = ("--set", "search.max_concurrent=2")
        return sweep.start("--address", self.ray.address, *at_once, *options)

    def disturb(self, victim: str, launch: subprocess.Popen[str]) -> None:
        match victim:
            case "driver":
                killing.kill(killing.driver_of(launch))
            case "supervisor":
                os.kill(launch.pid, signal.SIGKILL)
            case "trial":
                for node in self.ray.nodes:
                    for worker in node.workers():
                        killing.kill(worker)
            case "node":
                self.ray.kill_node(self.ray.nodes[-1])
                self.ray.wait_for_nodes(2)
                self.ray.add_node(1)
            case "mlflow":
                self.mlflow.kill()
                time.sleep(AWAY_S)
                self.mlflow.start()
            case "postgres":
                self.database.stop("immediate")
                time.sleep(AWAY_S)
                self.database.start()


@pytest.fixture(scope="module")
def team(tmp_path_factory, data_home) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("t")
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        (folder / "mlflow").mkdir()
        server = stack.enter_context(mlflow_server(folder / "mlflow"))
        ray = stack.enter_context(ray_cluster(nodes=(1, 1)))
        environment = {
            **ray.environment,
            "SWEEPER_HOME": str(data_home),
            "MLFLOW_TRACKING_URI": server.uri,
        }
        yield Team(ray, database, server, Shell(folder, environment))


@pytest.fixture(scope="module")
def undisturbed(team) -> Sweep:
    sweep = team.sweep("calm")
    finish(team.start(sweep))
    return sweep


def check_mlflow(team: Team, sweep: Sweep, err: str) -> None:
    """One run for each of sweep, study and trials, all ended; each epoch once; nothing lacks."""
    assert "lacks" not in err
    from mlflow import MlflowClient

    client = MlflowClient(team.mlflow.uri)
    experiment = client.get_experiment_by_name("pdebench")
    runs = client.search_runs([experiment.experiment_id], f"tags.`sweeper.sweep` = '{sweep.name}'")
    assert len(runs) == 1 + 1 + TRIALS, err
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if "sweeper.trial" in run.data.tags:
            history = client.get_metric_history(run.info.run_id, sweep.metric)
            assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=() if s in DEFAULT else pytest.mark.soak) for s in range(60)]
)
def test_a_part_is_killed_and_nothing_is_lost(team, undisturbed, seed):
    kill_a_part(team, undisturbed, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_with_a_checkpoint_every_two_epochs_nothing_is_lost_or_doubled(team, undisturbed, seed):
    kill_a_part(team, undisturbed, seed, "--set", "checkpoints.every=2")


@pytest.fixture(scope="module", params=PROGRAMS)
def program(team, request) -> ProgramSweep:
    name = f"calm-{request.param}"
    sweep = ProgramSweep(team.shell, name, storage=team.database.url, program=request.param)
    finish(team.start(sweep))
    return sweep


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_a_program_loses_nothing_either(team, program, seed):
    killed = kill_a_part(team, program, seed)
    assert killed.files() == program.files() != {}


def kill_a_part(team: Team, undisturbed: S, seed: int, *options: str) -> S:
    """Kill a part of a running sweep, and compare how it ends with an undisturbed one."""
    rng, victim = random.Random(seed), VICTIMS[seed % len(VICTIMS)]
    after = rng.randint(1, (TRIALS - 1) * EPOCHS - 2)
    sweep = replace(undisturbed, name=f"{victim}{seed}{undisturbed.name}{'sparse' * bool(options)}")
    launch = team.start(sweep, *options)
    wait_for_epochs(sweep, after)
    time.sleep(rng.random() * 0.3)
    team.disturb(victim, launch)
    if victim == "supervisor":
        launch.communicate()
        launch = team.start(sweep, *options)
    err = finish(launch)
    assert ("starting it again" in err) == (victim == "driver"), err
    check_same(sweep, undisturbed)
    check_mlflow(team, sweep, err)
    return sweep


@pytest.mark.soak
def test_a_moved_sweep_with_a_cap_loses_no_weights_and_goes_on_bit_for_bit(
    team, undisturbed, tmp_path, monkeypatch
):
    """Elsewhere it is looked at, gone on with by a rerun, and looked into, as it was here."""
    sweep, cap = team.sweep("moved"), ("--set", "checkpoints.max_bytes=1GiB")
    launch = sweep.start("--address", team.ray.address, *cap)
    wait_for_epochs(sweep, 2 * EPOCHS - 1)  # one is complete
    launch.send_signal(signal.SIGINT)
    finish(launch, code=128 + signal.SIGINT)
    elsewhere = tmp_path / "sweeps" / sweep.name
    elsewhere.parent.mkdir()
    shutil.copytree(sweep.folder, elsewhere, copy_function=shutil.copy)  # with the times of now
    shutil.rmtree(sweep.folder)
    there = Shell(tmp_path, team.shell.environment)
    moved = Sweep(there, sweep.name, storage=sweep.storage)
    states, places = dict(moved.rows("select number, state from trials")), moved.checkpoints()
    had = [places[number] / "best.safetensors" for number in places if states[number] == "complete"]
    assert had
    number = min(number for number, state in states.items() if state == "complete")
    attempt = elsewhere / "trials" / STUDY.replace("/", "-") / f"{number:04d}" / "attempt-1"
    partial = attempt / ".refine-0009.partial"
    partial.mkdir()
    rerun = ("rerun", moved.name, f"{STUDY}/{number}", "--address", team.ray.address, "--json")
    summary = moved.shell.run(*rerun).json
    assert summary["rerun"]["value"] == summary["rerun"]["origin_value"]
    assert [note for note in summary["notes"] if "checkpoint" in note] == []
    assert all(file.is_file() for file in had)
    assert not partial.exists()
    mine, theirs = moved.outcomes(), undisturbed.outcomes()
    assert {number: mine[number] for number in theirs} == theirs
    check_weights(moved, undisturbed)
    monkeypatch.chdir(tmp_path)
    for name, value in moved.shell.environment.items():
        monkeypatch.setenv(name, value)
    looked = diagnose(
        moved.name, f"{STUDY}/{number}", what=["landscape"], samples=8, progress=lambda *_: None
    )
    assert looked.checkpoint == str(moved.checkpoints()[number])
    assert "refine.lr" in (results.best(moved.name, STUDY, None).file or "")
    assert results.report(elsewhere, None).path == elsewhere / "report.html"
    assert not sweep.folder.exists()
