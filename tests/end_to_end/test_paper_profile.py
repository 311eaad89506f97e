"""The paper profile of every shipped file, all its tasks: only backbones and sizes are replaced.

The default run takes three tasks of one file; a soak run takes all of them, in twenty minutes.

The trials are on CPUs: they would refuse the GPUs of this cluster, which torch does not find.
PDEBench's solutions are our generators'; NAS-Bench-360's files and the sources are filled by us, in
their published layouts. Every launch is interrupted once it trains, and resumed.
"""

import json
import math
import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, Shell
from tests.support.published import nasbench360 as official_tasks
from tests.support.published import proxies as official_proxies
from tests.support.tiny_backbones import save_tiny_roberta, save_tiny_swin
from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.tasks.registry import TASKS

ALL = list(TASKS)
FEW = ["nasbench360/darcy_flow", "nasbench360/ninapro", "nasbench360/satellite"]  # of each kind
SPACES = sorted(
    file
    for file in (ROOT / "search_spaces").glob("*.yaml")
    if not file.stem.startswith("baselines")  # of several methods
)
FILES = [
    pytest.param((ROOT / "search_spaces" / "fpt_nasbench360.yaml", FEW), id="few"),
    *(pytest.param((file, ALL), id=file.stem) for file in SPACES),
]
TRIALS = 3  # the preset, the control, and one that is sampled
EPOCHS = 2  # of the stage that reports the objective; the others have one
DATA = {"pdebench": {"data.samples": 20, "data.resolution": "{1d: 64, 2d: 16}"}, "nasbench360": {}}


@dataclass(frozen=True)
class Finished:
    """A sweep that was interrupted and resumed."""

    name: str
    file: str  # "mona_pdebench"
    tasks: list[str]  # in the benchmark's order
    interrupted: str  # what the first launch said
    summary: dict[str, Any]
    folder: Path

    @property
    def benchmark(self) -> str:
        return self.file.rpartition("_")[2]

    @property
    def method(self) -> Method:
        return METHODS[self.file.rpartition("_")[0]]

    @cached_property
    def epochs(self) -> dict[str, int]:
        """The number of epochs of each stage, where a trial's settings name no other."""
        return epochs_of(self.method)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / "sweeps" / self.name / "ledger.db") as connection:
            return connection.execute(text).fetchall()


def epochs_of(method: Method) -> dict[str, int]:
    *earlier, last = method.stages
    return dict.fromkeys(earlier, 1) | {last: EPOCHS}


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head) -> Shell:
    home = tmp_path_factory.mktemp("paper-home")
    official_proxies.write(home)
    shell = Shell(
        tmp_path_factory.mktemp("paper"), {**ray_head.environment, "SWEEPER_HOME": str(home)}
    )
    save_tiny_roberta(shell.folder / "roberta")
    save_tiny_swin(shell.folder / "swin")
    return shell


@pytest.fixture(scope="module", params=FILES)
def sweep(request, shell, ray_head, tmp_path_factory) -> Finished:
    """Interrupt a launch of a file once it trains, and resume it."""
    file, chosen = request.param
    name = file.stem if chosen is ALL else "few"
    method, _, benchmark = file.stem.rpartition("_")
    tasks = [task for task in chosen if task.startswith(f"{benchmark}/") and "@" not in task]
    if benchmark == "nasbench360":
        home = Path(shell.environment["SWEEPER_HOME"])
        official_tasks.import_all(home, tmp_path_factory.mktemp("published"), tasks)
    epochs = epochs_of(METHODS[method])
    settings = {
        "backbones.1d": shell.folder / "roberta",
        "backbones.2d": shell.folder / "swin",
        **DATA[benchmark],
        **{f"{stage}.epochs": count for stage, count in epochs.items()},
        "resources.cpu": 1,
        "resources.gpu": 0,
        "tasks": f"[{', '.join(tasks)}]",
    }
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    where = ("--address", ray_head.address, "--json")
    trains = f"{list(epochs)[-1]} 1/{EPOCHS}"
    profile = ("--profile", "paper", "--trials", str(TRIALS), "--name", name)
    with shell.start("launch", str(file), *profile, *sets, *where) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if trains in line:
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=120)
    interrupted = "".join(said) + rest
    assert process.returncode == 130, interrupted
    assert json.loads(out)["state"] == "interrupted"
    summary = shell.run("resume", name, *where).json
    return Finished(name, file.stem, tasks, interrupted, summary, shell.folder)


def test_the_interrupted_launch_says_how_to_go_on(sweep):
    assert f"go on with: sweeper resume {sweep.name}" in sweep.interrupted
    assert "Traceback" not in sweep.interrupted


def test_every_task_has_a_best_trial_the_preset_and_a_control(sweep):
    summary, method = sweep.summary, sweep.method
    assert (summary["state"], summary["exit_code"], summary["profile"]) == ("finished", 0, "paper")
    assert [s["task"] for s in summary["studies"]] == sweep.tasks
    for study in summary["studies"]:
        ended = study["trials"]
        assert sum(ended.values()) == TRIALS
        assert ended["complete"] + ended.get("pruned", 0) == TRIALS
        assert study["best"]["value"] > 0
        assert math.isfinite(study["best"]["test"])
        source = "generated" if sweep.benchmark == "pdebench" else "official"
        assert (study["data_source"], study["pretrained"]) == (source, "pretrained")
        if method.control:
            assert {k: study["control"]["params"][k] for k in method.control} == method.control


def test_every_trial_has_the_published_settings_that_the_file_leaves_open(sweep):
    last = list(sweep.epochs)[-1]
    for study in sweep.summary["studies"]:
        info = TASKS[study["task"]]
        published = {f"{last}.{key}": value for key, value in info.recipe.items()}
        published |= {**sweep.method.preset, **sweep.method.published(info)}
        published |= {f"{stage}.epochs": count for stage, count in sweep.epochs.items()}
        published |= {f"{last}.decay_epochs": sweep.epochs[last]}  # which follows them
        for kind in ("preset", "control"):
            expected = published | (sweep.method.control if kind == "control" else {})
            params = (study[kind] or study["preset"])["params"]
            assert {key: params[key] for key in expected} == expected


def test_no_epoch_is_lost_or_trained_twice(sweep):
    events = sweep.query("select study, number, payload from events where kind = 'measured'")
    epochs = Counter(
        (study, number, (m := json.loads(payload))["stage"], m["epoch"])
        for study, number, payload in events
    )
    trials = sweep.query("select study, number, params, state from trials")
    expected = {
        (study, number, stage, epoch)
        for study, number, params, state in trials
        if state == "complete"
        for stage in sweep.epochs
        for epoch in range(1, json.loads(params)[f"{stage}.epochs"] + 1)
    }
    assert len(trials) == len(sweep.tasks) * TRIALS
    assert set(epochs) >= expected
    assert {key[:2] for key in set(epochs) - expected} <= {
        (study, number) for study, number, _, state in trials if state == "pruned"
    }
    assert set(epochs.values()) == {1}


def test_mlflow_has_every_run_closed_and_every_trial_once(shell, sweep):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(sweep.benchmark)
    runs = [
        run
        for run in client.search_runs([experiment.experiment_id])
        if run.data.tags["sweeper.sweep"] == sweep.name
    ]
    trials = [run.data.tags for run in runs if "sweeper.trial" in run.data.tags]
    assert Counter(tags["sweeper.study"] for tags in trials) == {
        f"{sweep.method.name}/{task}": TRIALS for task in sweep.tasks
    }
    assert len(runs) == 1 + len(sweep.tasks) * (1 + TRIALS)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU to run on")
def test_a_gpu_that_is_not_there_is_not_waited_for(shell):
    """Without the cluster's address the launch cannot be scheduled, and nothing is written."""
    file, name = str(ROOT / "search_spaces" / "mona_pdebench.yaml"), "alone"
    arguments = ("--profile", "paper", "--name", name, "--set", "resources.cpu=1")
    refused = shell.run("launch", file, *arguments, code=7)
    assert "resources.gpu: a trial asks for 0.5, and this machine has 0" in refused.err
    assert not (shell.folder / "sweeps" / name).exists()
