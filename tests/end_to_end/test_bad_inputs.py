"""Bad inputs that only a launch or a trial can see: weights, data, clusters, leases.

Each ends with its exit code and a message that names the place and the way out, without a
traceback, with one JSON object where that was asked for, and with nothing overwritten.
"""

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from sweeper.driver.preparation import prepare
from sweeper.errors import FileFaults
from sweeper.ledger import Ledger
from sweeper.planning import load
from tests.support.command import Shell
from tests.support.tiny_backbones import save_tiny_roberta
from tests.support.trials import record
from trainables.spec import DataSpec
from trainables.tasks.loading import load_task, prepare_task
from trainables.tasks.store.manifest import folder_of

TASK = "pdebench/advection_1d@hard"
DATA = DataSpec(samples=8, val_fraction=0.25, test_fraction=0.25, resolution=32)
FILE = """
name: bad
methods: [{method}]
tasks: [{task}]
backbones: {{1d: {{name: {weights}, tokens: 8}}}}
proxies: {{1d: python_source}}
model: {{head: linear}}
data: {{samples: 8, val_fraction: 0.25, test_fraction: 0.25, resolution: 32}}
parameters:
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed: {{refine.epochs: 2}}
search: {{trials: 2}}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0}}
"""


@dataclass(frozen=True)
class Place:
    """A folder to work in, with a home of its own and weights that load."""

    shell: Shell
    home: Path
    weights: Path

    def file(self, *, method: str = "nft") -> str:
        path = self.shell.folder / "bad.yaml"
        path.write_text(FILE.format(method=method, task=TASK, weights=self.weights))
        return str(path)

    def refused(self, *arguments: str, code: int, timeout: float = 120) -> str:
        """Run a command that must be refused; return its message, alike for people and JSON."""
        result = self.shell.run(*arguments, "--json", code=code, timeout=timeout)
        told = result.json
        assert (told["schema"], told["command"], told["exit_code"]) == (1, arguments[0], code)
        message: str = told["error"]["message"]
        for line in message.splitlines():
            assert f"sweeper: {line}" in result.err
        return message

    def rows(self, query: str, name: str = "bad") -> list[tuple]:
        with sqlite3.connect(self.shell.folder / "sweeps" / name / "ledger.db") as connection:
            return connection.execute(query).fetchall()

    def nothing_is_left(self) -> bool:
        return not (self.shell.folder / "sweeps").exists()


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Weights and data that are as they should be."""
    home = tmp_path_factory.mktemp("original")
    save_tiny_roberta(home / "roberta", layers=1)
    prepare_task(TASK, DATA, home)
    return home


@pytest.fixture
def place(original, tmp_path, request) -> Place:
    home = tmp_path / "home"
    shutil.copytree(original, home)
    environment = {"SWEEPER_HOME": str(home)}
    if "ray_head" in request.fixturenames:
        head = request.getfixturevalue("ray_head")
        environment |= {**head.environment, "SWEEPER_ADDRESS": head.address}
    folder = tmp_path / "work"
    folder.mkdir()
    return Place(Shell(folder, environment), home, home / "roberta")


def test_a_launch_that_is_refused_on_its_way_leaves_no_sweep(place, ray_head):
    tensors = load_file(place.weights / "model.safetensors")
    del tensors["encoder.layer.0.output.dense.weight"]
    save_file(tensors, place.weights / "model.safetensors", {"format": "pt"})
    message = place.refused("launch", place.file(), code=2)
    assert message.startswith(f"nft/{TASK}: {place.weights}")
    assert message.endswith("missing keys: encoder.layer.0.output.dense.weight")
    assert place.nothing_is_left()
    assert place.shell.run("ls", "--json").json["sweeps"] == []


def test_a_cluster_that_does_not_answer_is_named(place):
    address = "127.0.0.1:1"
    message = place.refused("launch", place.file(), "--address", address, code=5)
    assert message.startswith(f"--address {address}: ")
    assert place.nothing_is_left()


def test_a_sweep_that_another_launch_holds_is_refused_at_once(place):
    """No command waits for the lease: none takes much longer than reading the file does."""
    file = place.file()
    began = time.monotonic()
    place.shell.run("validate", file)
    reading = time.monotonic() - began
    ledger = Ledger.in_folder(place.shell.folder / "sweeps" / "bad")
    ledger.create(record("bad"))
    with closing(ledger), ledger.hold():
        for arguments in (("launch", file), ("resume", "bad"), ("sync", "bad")):
            began = time.monotonic()
            message = place.refused(*arguments, code=4)
            assert time.monotonic() - began < 1 + 4 * reading
            assert "sweep `bad` is running (host" in message
            assert "sweeper logs -f bad" in message


def spoil_data(home: Path) -> None:
    """Overwrite the training inputs by NaN, in place."""
    path = prepare_task(TASK, DATA, home) / "train.arrow"
    inputs = np.ascontiguousarray(load_task(TASK, DATA, home).train.x)
    content = path.read_bytes()
    assert content.count(inputs.tobytes()) == 1
    path.write_bytes(content.replace(inputs.tobytes(), np.full_like(inputs, np.nan).tobytes()))


def mlflow_trials(place: Place) -> list:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("bad")
    runs = client.search_runs([experiment.experiment_id])
    assert "RUNNING" not in {run.info.status for run in runs}
    return [run for run in runs if "sweeper.trial" in run.data.tags]


def test_data_that_are_not_finite_fail_each_trial_with_its_reason(place, ray_head):
    spoil_data(place.home)
    result = place.shell.run("launch", place.file(), "--json", code=3)
    summary = result.json
    assert summary["trials"]["failed"] == 2
    assert summary["studies"][0]["best"] is None
    assert summary["notes"][0] == f"no complete trial: nft/{TASK}"
    reason = "refine: the train_loss became nan in epoch 1"
    assert reason in " ".join(summary["notes"])
    trials = place.rows("select state, failure, attempt, reason from trials")
    assert [trial[:3] for trial in trials] == [("failed", "non_finite", 1)] * 2
    assert all(trial[3].startswith(reason) for trial in trials)
    runs = mlflow_trials(place)
    assert [run.info.status for run in runs] == ["FAILED"] * 2
    for run in runs:
        assert run.data.tags["sweeper.failure"] == "non_finite"
        assert run.data.tags["sweeper.reason"].startswith(reason)


@pytest.mark.soak
def test_a_sweep_whose_data_were_replaced_does_not_go_on(place, ray_head, tmp_path):
    place.shell.run("launch", place.file(), "--json")
    ran = "select (select count(*) from events), state from sweeps"
    before = place.rows(ran)
    other = prepare_task(TASK, DATA.model_copy(update={"seed": 1}), tmp_path / "other")
    shutil.copytree(other, folder_of(TASK, place.home))
    message = place.refused("extend", "bad", "--trials", "3", code=2)
    assert f"nft/{TASK}.content_hash: " in message
    assert "start another sweep with --name" in message
    assert place.rows(ran) == before


def test_settings_that_the_source_cannot_honour_are_refused_before_any_trial(place):
    file = Path(place.file(method="mona"))
    sweep = load.read(file, load.Options(sets=("meta.classes=900",)))
    with pytest.raises(FileFaults, match=rf"^mona/{TASK}: A batch of 900 classes") as refusal:
        prepare(sweep, place.home, lambda *_: None)
    assert refusal.value.exit_code == 2


@pytest.mark.soak
def test_a_suggestion_that_the_source_cannot_honour_is_pruned_with_its_reason(place, ray_head):
    drawn = "parameters={meta.classes: {values: [900, 901]}}"
    small = "fixed={meta.per_class: 2, meta.epochs: 1, meta.measure: 0}"
    arguments = ("launch", place.file(method="mona"), "--set", drawn, "--set", small)
    where = ("--trials", "3", "--json")
    (study,) = place.shell.run(*arguments, *where).json["studies"]
    assert (study["trials"]["complete"], study["trials"]["pruned"]) == (2, 1)
    ((number, failure, reason),) = place.rows(
        "select number, failure, reason from trials where state = 'pruned'"
    )
    assert (number, failure) == (2, "infeasible")
    assert "A batch of 90" in reason
    (run,) = [r for r in mlflow_trials(place) if r.data.tags["sweeper.kind"] == "sampled"]
    assert run.info.status == "KILLED"
    tags = {name: run.data.tags[f"sweeper.{name}"] for name in ("state", "failure", "reason")}
    assert tags == {"state": "pruned", "failure": failure, "reason": reason}
