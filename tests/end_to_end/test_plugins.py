"""The example plugin in whole sweeps: installed, from its folder, and sent away as a job."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Shell

pytestmark = [pytest.mark.timeout(900)]
PLUGIN = ROOT / "tests" / "example_plugin"
SWEEP = """
name: {name}
methods: [noisy]
tasks: [example/travel]
backbones: {{1d: {{name: example_mixer, weights: random, tokens: 16}}}}
model: {{head: linear}}
data: {{samples: 32, val_fraction: 0.25, test_fraction: 0.25, resolution: 32}}
parameters:
  noisy.sigma: {{min: 0.01, max: 1.0, distribution: log_uniform_values}}
  refine.lr: {{min: 1.0e-4, max: 1.0e-2, distribution: log_uniform_values}}
fixed: {{noisy.epochs: 1, refine.epochs: 1, refine.batch_size: 16, refine.warmup_epochs: 0}}
search: {{trials: 3, startup_trials: 1, sampler: independent}}
pruning: {{type: quartile, min_epochs: 1}}
resources: {{cpu: 1, gpu: 0}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    environment = {**ray_head.environment, "SWEEPER_HOME": str(data_home)}
    return Shell(tmp_path_factory.mktemp("plugins"), environment)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Install the plugin into a folder, as a user would into an environment."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def write(shell: Shell, name: str) -> str:
    file = shell.folder / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name))
    return str(file)


def recorded(folder: Path, name: str) -> tuple[str, str, str | None]:
    """Return distribution, version and path of the one plugin that a ledger records."""
    with sqlite3.connect(folder / "sweeps" / name / "ledger.db") as connection:
        ((provenance,),) = connection.execute("select provenance from sweeps")
    (plugin,) = json.loads(provenance)["plugins"]
    return plugin["distribution"], plugin["version"], plugin["path"]


def test_an_installed_plugin_is_swept_like_what_is_built_in(shell, installed):
    path = os.pathsep.join([str(installed), str(ROOT)])
    there = Shell(shell.folder, {**shell.environment, "PYTHONPATH": path})
    found = there.run("launch", write(shell, "installed"), "--json").json
    assert (found["state"], found["trials"]["complete"]) == ("finished", 3)
    assert recorded(shell.folder, "installed") == ("example-plugin", "0.1", None)
    assert "example/travel" in there.run("data", "list").out
    missing = shell.run("resume", "installed", code=2)
    assert "pip install example-plugin==0.1" in missing.err


def test_a_plugin_in_a_folder_reaches_the_workers_of_a_running_cluster(shell, ray_head):
    arguments = ("launch", write(shell, "folder"), "--address", ray_head.address, "--json")
    unknown = shell.run(*arguments, code=2)
    for fault in ("method `noisy`", "sampler `independent`", "pruner `quartile`"):
        assert f"unknown {fault}" in unknown.out + unknown.err
    found = shell.run(*arguments, "--plugin", str(PLUGIN)).json
    assert (found["state"], found["trials"]["complete"]) == ("finished", 3)
    assert recorded(shell.folder, "folder") == ("example-plugin", "0.1", str(PLUGIN))
    refused = shell.run("extend", "folder", "--trials", "4", code=2)
    assert f"sweeper resume folder --plugin {PLUGIN}" in refused.err


def test_a_job_takes_the_plugin_along(shell, ray_head, tmp_path):
    address = ("--address", ray_head.http, "--workdir", str(tmp_path / "cluster"))
    sent = shell.run("launch", write(shell, "job"), *address, "--plugin", str(PLUGIN), "--json")
    assert sent.json["exit_code"] == 0, sent.err
    assert recorded(tmp_path / "cluster", "job") == ("example-plugin", "0.1", str(PLUGIN))
