"""What is used of Tune's controller is there, and does what it is used for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT
from tests.support.servers.cluster import RayCluster

BESIDE_ANOTHER = """
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
options = toy_sweep.parser().parse_args([str(folder), "--epochs=200", "--epoch-s=0.1", *faults])
(folder / "history").mkdir(parents=True)
(plan,) = toy_sweep.make_plans(toy_sweep.parser().parse_args([str(folder), "--trials=3"]))
ledger = toy_sweep.open_ledger(folder)
ledger.add_study(plan.study, {})
runner, free, actors = SweepRunner([plan], ledger), [], []

def each_second():
    if runner.num_running == 2:
        runner.limit = 1
    if runner.num_finished == 1 and runner.num_running == 1:
        free.append(ray.available_resources().get("CPU", 0))

with connect(address):
    ray_executor.run(
        runner, toy_sweep.ToyBuilder(options), resources={"cpu": 1}, max_concurrent=2,
        folder=folder / "ray", trainable=ToyTrainable, each_second=each_second,
    )
print(max(free, default="never looked"))
"""


@pytest.mark.ray
def test_a_sweep_at_its_limit_keeps_no_idle_actor_in_a_slot_of_others(
    ray_head: RayCluster, tmp_path: Path
) -> None:
    """Of two trials one ends at once, and no other may follow: its slot is free again."""
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_ANOTHER, ray_head.address, str(tmp_path / "toy")],
        env=os.environ | ray_head.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1.0"
