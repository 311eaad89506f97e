"""The shipped file's paper profile, all eight problems: only backbones and sizes are replaced.

The GPUs of this cluster are logical: Ray hands them out by halves, torch sees none.
"""

import json
import math
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.command import ROOT, Shell
from tests.end_to_end import official_proxies
from tests.tiny_backbones import save_tiny_roberta, save_tiny_swin
from trainables.tasks.registry import TASKS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

FILE = ROOT / "search_spaces" / "mona_pdebench.yaml"
NAME, TRIALS, EPOCHS = "mona_pdebench", 3, 2
PROBLEMS = [name for name in TASKS if name.startswith("pdebench/") and "@" not in name]


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head) -> Shell:
    home = tmp_path_factory.mktemp("paper-home")
    official_proxies.write(home)
    environment = {**ray_head.environment, "SWEEPER_HOME": str(home)}
    return Shell(tmp_path_factory.mktemp("paper"), environment)


@pytest.fixture(scope="module")
def sweep(shell, ray_head) -> tuple[str, dict]:
    """Interrupts a launch once it trains, and resumes it: what it said, and the final summary."""
    settings = {
        "backbones.1d": save_tiny_roberta(shell.folder / "roberta"),
        "backbones.2d": save_tiny_swin(shell.folder / "swin"),
        "data.samples": 24,
        "data.resolution": "{1d: 64, 2d: 16}",
        "meta.epochs": 1,
        "refine.epochs": EPOCHS,
        "resources.cpu": 1,
    }
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    where = ("--address", ray_head.address, "--json")
    with shell.start(
        "launch", str(FILE), "--profile", "paper", "--trials", str(TRIALS), *sets, *where
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f"refine 1/{EPOCHS}" in line:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["state"] == "interrupted"
    return err, shell.run("resume", NAME, *where).json


def query(shell: Shell, text: str) -> list[tuple]:
    with sqlite3.connect(shell.folder / "sweeps" / NAME / "ledger.db") as connection:
        return connection.execute(text).fetchall()


def test_the_interrupted_launch_says_how_to_go_on(sweep):
    said, _ = sweep
    assert f"go on with: sweeper resume {NAME}" in said
    assert "Traceback" not in said


def test_all_eight_problems_have_a_best_trial_the_default_and_a_control(sweep):
    _, summary = sweep
    assert (summary["state"], summary["exit_code"], summary["profile"]) == ("finished", 0, "paper")
    assert [s["task"] for s in summary["studies"]] == PROBLEMS
    assert len(PROBLEMS) == 8
    for study in summary["studies"]:
        assert study["trials"]["complete"] == sum(study["trials"].values()) == TRIALS
        assert study["preset"]["params"]["meta.epochs"] == 1
        assert study["control"]["params"]["meta.epochs"] == 0
        assert study["best"]["value"] > 0
        assert math.isfinite(study["best"]["test"])
        assert (study["data_source"], study["pretrained"]) == ("generated", "pretrained")
        assert study["proxy"] == ("cifar10" if study["task"].endswith("2d") else "conll2003")


def test_every_trial_has_the_published_settings_that_the_file_leaves_open(sweep):
    _, summary = sweep
    for study in summary["studies"]:
        for trial in (study["preset"], study["control"]):
            params = {k.removeprefix("refine."): v for k, v in trial["params"].items()}
            recipe = TASKS[study["task"]].recipe | {"epochs": EPOCHS}
            assert {key: params[key] for key in recipe} == recipe


def test_no_epoch_is_lost_or_trained_twice(shell, sweep):
    events = query(shell, "select study, number, payload from events where kind = 'measured'")
    epochs = Counter(
        (study, number, (m := json.loads(payload))["stage"], m["epoch"])
        for study, number, payload in events
    )
    trials = query(shell, "select study, number, params from trials")
    expected = {
        (study, number, stage, epoch)
        for study, number, params in trials
        for stage, count in (("meta", json.loads(params)["meta.epochs"]), ("refine", EPOCHS))
        for epoch in range(1, count + 1)
    }
    assert len(trials) == 8 * TRIALS
    assert set(epochs) == expected
    assert set(epochs.values()) == {1}


def test_mlflow_has_every_run_closed_and_every_trial_once(shell, sweep):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    runs = client.search_runs([experiment.experiment_id])
    trials = [run.data.tags for run in runs if "sweeper.trial" in run.data.tags]
    assert Counter(tags["sweeper.study"] for tags in trials) == {
        f"mona/{task}": TRIALS for task in PROBLEMS
    }
    assert len(runs) == 1 + 8 + 8 * TRIALS
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU to run on")
def test_a_gpu_that_is_not_there_is_not_waited_for(shell):
    """Without the cluster's address the launch cannot be scheduled, and nothing is written."""
    before = query(shell, "select count(*) from events")
    arguments = ("--profile", "paper", "--name", "alone", "--set", "resources.cpu=1")
    refused = shell.run("launch", str(FILE), *arguments, code=7)
    assert "resources.gpu: a trial asks for 0.5, the cluster has 0" in refused.err
    assert query(shell, "select count(*) from events") == before
    assert not (shell.folder / "sweeps" / "alone").exists()
