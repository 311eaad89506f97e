"""The parts of Tune's controller that the executor uses.

One sweep of three trials beside another one answers all questions.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from tests.support.servers.cluster import RayCluster

BESIDE_ANOTHER = """
import json
import sys
from pathlib import Path
import ray
from sweeper.execution import ray_executor
from sweeper.execution.cluster import connect
from sweeper.core.runner import SweepRunner
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.trainable import ToyTrainable

address, folder = sys.argv[1], Path(sys.argv[2])
faults = [f"--fault={fault}" for fault in ("0@1:refuse!", "2@1:refuse!")]
options = toy_sweep.parser().parse_args(
    [str(folder), "--epochs=200", "--epoch-s=0.1", "--checkpoint-bytes=1000000", *faults]
)
(folder / "history").mkdir(parents=True)
(plan,) = toy_sweep.make_plans(toy_sweep.parser().parse_args([str(folder), "--trials=3"]))
ledger = toy_sweep.open_ledger(folder)
ledger.add_study(plan.study)
runner, free, actors = SweepRunner([plan], ledger), [], []

def each_second():
    if runner.num_running == 2:
        runner.limit = 1
    if runner.num_settled == 1 and runner.num_running == 1:
        free.append(ray.available_resources().get("CPU", 0))

with connect(address):
    placement = ray_executor.Placement(
        resources={"cpu": 1}, max_concurrent=2, folder=folder / "ray", trainable=ToyTrainable
    )
    builder = toy_sweep.ToyBuilder(options)
    ray_executor.run(runner, builder, placement, each_second=each_second)
print(json.dumps({
    "free": max(free, default=None),
    "ended": runner.num_settled,
    "tune_bytes": sum(file.stat().st_size for file in (folder / "ray").rglob("*")),
}))
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(ray_head: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Of three trials the first ends at once, and none may follow until the second has ended."""
    folder = tmp_path_factory.mktemp("beside") / "toy"
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_ANOTHER, ray_head.address, str(folder)],
        env=os.environ | ray_head.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    counts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return counts


def test_a_sweep_at_its_limit_keeps_no_idle_actor_in_a_slot_of_others(found) -> None:
    assert found["free"] == 1.0


def test_tune_keeps_no_copy_of_the_checkpoints_of_ended_trials(found) -> None:
    """A checkpoint of the trials takes 2 MB, and three have ended."""
    assert found["ended"] == 3
    assert found["tune_bytes"] < 1e6
