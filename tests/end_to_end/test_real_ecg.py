"""A sweep on real electrocardiograms: imported, launched and reported on as a user would.

300 records of PhysioNet's challenge of 2017 in the published layout, MiniLM's own weights, PaRe's
shipped file with its laptop profile, cut to three trials of a few epochs.
"""

import json
import sqlite3

import pytest

from tests.support import real_data
from tests.support.command import ROOT, Shell
from tests.support.published.nasbench360 import write_ecg

FILE = ROOT / "search_spaces" / "pare_nasbench360.yaml"
TASK = "nasbench360/ecg"
SETS = {"tasks": f"[{TASK}]", "data.samples": 250, "replace.epochs": 3, "replace.decay_epochs": 3}


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head) -> Shell:
    home = tmp_path_factory.mktemp("ecg-home")
    environment = {**ray_head.environment, "SWEEPER_HOME": str(home)}
    return Shell(tmp_path_factory.mktemp("ecg"), environment)


@pytest.fixture(scope="module")
def imported(shell) -> dict:
    write_ecg(shell.folder, *real_data.ecg())
    return shell.run("data", "import", TASK, "challenge2017.pkl", "--json").json


@pytest.fixture(scope="module")
def launched(shell, ray_head, imported) -> dict:
    sets = [word for key, value in SETS.items() for word in ("--set", f"{key}={value}")]
    arguments = ("--profile", "laptop", "--trials", "3", *sets, "--address", ray_head.address)
    return shell.run("launch", str(FILE), *arguments, "--json").json


def test_the_records_are_imported_and_verified(shell, imported):
    assert imported["task"] == TASK
    (found,) = shell.run("data", "verify", TASK, "--json").json["sets"]
    assert found["set"] == "official"
    (listed,) = (
        task for task in shell.run("data", "list", "--json").json["tasks"] if task["name"] == TASK
    )
    assert listed["here"]["official"]


def test_a_launch_before_the_import_would_say_how_to(tmp_path, ray_head):
    empty = Shell(tmp_path, {**ray_head.environment, "SWEEPER_HOME": str(tmp_path / "home")})
    where = ("--profile", "laptop", "--address", ray_head.address)
    refused = empty.run("launch", str(FILE), "--set", f"tasks=[{TASK}]", *where, code=2)
    assert f"sweeper data import {TASK} challenge2017.pkl" in refused.err


def test_the_preset_the_control_and_a_sampled_trial_are_compared_on_the_published_metric(launched):
    assert (launched["state"], launched["exit_code"]) == ("finished", 0)
    (study,) = launched["studies"]
    assert (study["task"], study["data_source"], study["pretrained"]) == (
        TASK,
        "official",
        "pretrained",
    )
    assert sum(study["trials"].values()) == 3
    assert study["control"]["params"]["replace.k0"] == 0
    assert study["preset"]["params"]["replace.k0"] == 1.0
    assert study["best"]["value"] < study["baselines"]["majority"]


def test_every_epoch_of_a_mixing_trial_says_what_was_mixed(shell, launched):
    with sqlite3.connect(shell.folder / "sweeps" / "pare_nasbench360" / "ledger.db") as connection:
        rows = connection.execute(
            "select payload from events where kind = 'measured' and number = 0"
        ).fetchall()
    metrics = [json.loads(payload)["metrics"] for (payload,) in rows]
    assert [m["replace/k"] for m in metrics] == [25.0, 16.0, 8.0]  # of 25 tokens of 40 samples
    assert all(0 < m["replace/mix_source_loss"] < 10 for m in metrics)
