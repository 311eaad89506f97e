"""A whole sweep through the command line: real Ray, real Optuna, real MLflow, real solutions."""

import json
import signal
import sqlite3
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from pyarrow import parquet
from safetensors import safe_open

from sweeper.cli.main import run
from tests.support import tiny_sweep
from tests.support.command import Shell
from tests.support.small_sweep import TRIALS, Sweep, finish, wait_for_epochs

pytestmark = [pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    environment = {**ray_head.environment, "SWEEPER_HOME": str(data_home)}
    return Shell(tmp_path_factory.mktemp("work"), environment)


@pytest.fixture(scope="module")
def launched(shell, ray_head) -> dict:
    file = tiny_sweep.write(shell.folder)
    return shell.run("launch", str(file), "--address", ray_head.address, "--json").json


def rows(shell: Shell, name: str, query: str) -> list[tuple]:
    with sqlite3.connect(shell.folder / "sweeps" / name / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def test_every_study_ends_with_a_best_trial_a_control_and_baselines(launched):
    assert (launched["schema"], launched["command"], launched["exit_code"]) == (1, "launch", 0)
    assert launched["state"] == "finished"
    assert [s["study"] for s in launched["studies"]] == [
        "mona/pdebench/advection_1d",
        "mona/pdebench/darcy_2d@hard",
    ]
    for study in launched["studies"]:
        assert study["best"]["value"] > 0
        assert study["best"]["test"] > 0
        assert study["control"]["params"]["meta.epochs"] == 0
        assert study["control"]["state"] == "complete"
        assert study["baselines"]["mean"] > 0
        assert study["data_source"] == "generated"
        assert sum(study["trials"].values()) == 4
        assert study["trials"]["complete"] + study["trials"]["pruned"] == 4


def test_the_ledger_has_every_epoch_of_every_trial_once(shell, launched):
    trials = rows(shell, "tiny", "select study, number, state, attempt from trials")
    assert len(trials) == 8
    assert {attempt for *_, attempt in trials} == {1}
    events = rows(shell, "tiny", "select study, number, payload from events where kind='measured'")
    epochs = [(s, n, json.loads(p)["stage"], json.loads(p)["epoch"]) for s, n, p in events]
    assert len(epochs) == len(set(epochs))
    for study, number, state, _ in trials:
        refine = [e for s, n, stage, e in epochs if (s, n, stage) == (study, number, "refine")]
        assert refine == list(range(1, len(refine) + 1))
        assert (len(refine) == 4) == (state == "complete")


def test_the_best_checkpoint_of_every_trial_is_kept_and_readable(shell, launched):
    for study in launched["studies"]:
        folder = Path(study["best"]["checkpoint"])
        place = json.loads((folder / "state.json").read_text())
        assert place["best"]["value"] == study["best"]["value"]
        assert place["best"]["epoch"] == study["best"]["epoch"]
        with safe_open(folder / "best.safetensors", "pt") as tensors:
            assert len(list(tensors.keys())) > 0
    kept = list((shell.folder / "sweeps/tiny/trials").glob("*/*/attempt-*/*/manifest.json"))
    assert len(kept) == 8


def test_mlflow_holds_the_tree_with_the_right_states(shell, launched):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    runs = {r.info.run_id: r for r in client.search_runs([experiment.experiment_id])}
    parents = {i: r.data.tags.get("mlflow.parentRunId") for i, r in runs.items()}
    (root,) = [i for i, parent in parents.items() if parent is None]
    studies = [i for i, parent in parents.items() if parent == root]
    trials = [i for i, parent in parents.items() if parent in studies]
    assert (len(studies), len(trials)) == (2, 8)
    assert not [r for r in runs.values() if r.info.status == "RUNNING"]
    ledger = dict(rows(shell, "tiny", "select study || number, state from trials"))
    for run_id in trials:
        tags = runs[run_id].data.tags
        state = ledger[tags["sweeper.study"] + str(int(tags["sweeper.trial"]))]
        assert tags["sweeper.state"] == state
        assert runs[run_id].info.status == {"complete": "FINISHED", "pruned": "KILLED"}[state]
        for name in ("refine/seconds", "refine/peak_memory_bytes"):
            assert runs[run_id].data.metrics[name] > 0
        names = {f.path for f in client.list_artifacts(run_id, "checkpoints")}
        assert any(name.endswith("best.safetensors") for name in names)


def test_launching_a_finished_sweep_again_says_so_and_runs_nothing(shell, ray_head, launched):
    file = tiny_sweep.write(shell.folder)
    before = rows(shell, "tiny", "select count(*) from events")
    again = shell.run("launch", str(file), "--address", ray_head.address, "--json")
    assert "tiny is finished (8 of 8 trials); nothing to do." in again.err
    assert again.json["studies"] == launched["studies"]
    assert rows(shell, "tiny", "select count(*) from events") == before


def test_a_cluster_that_runs_is_planned_for_node_by_node(shell, ray_head, launched):
    file = tiny_sweep.write(shell.folder)
    told = shell.run("plan", str(file), "--address", ray_head.address, "--json").json
    assert (told["exit_code"], told["unschedulable"], told["cluster"]["nodes"]) == (0, [], 1)
    assert told["cluster"]["slots"] == told["cluster"]["CPU"] > 0


def test_other_settings_under_the_same_name_are_refused_with_the_difference(shell, launched):
    file = tiny_sweep.write(shell.folder)
    refused = shell.run("launch", str(file), "--set", "refine.epochs=3", code=2)
    assert "fixed.refine.epochs: 4 -> 3" in refused.err
    assert "--name" in refused.err


def test_ls_status_and_report_look_at_it(shell, launched):
    (line,) = shell.run("ls", "--json").json["sweeps"]
    assert (line["sweep"], line["state"], line["studies"]) == ("tiny", "finished", 2)
    assert shell.run("status", "tiny", "--json").json["sweep"] == "tiny"
    assert "mona/pdebench/advection_1d" in shell.run("status", "tiny").out
    shell.run("report", "tiny", "-o", "page.html")
    page = (shell.folder / "page.html").read_text()
    assert "advection_1d" in page
    shown = page.split("<script")[0].replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in shown
    assert version("torch") in page  # what ran it
    missing = shell.run("status", "tinny", code=8)
    assert "unknown sweep `tinny`. Did you mean `tiny`?" in missing.err


@pytest.fixture(scope="module")
def diagnosed(shell, launched) -> dict:
    return shell.run("diagnose", "tiny", "mona/pdebench/advection_1d", "0", "--json").json


def test_a_trials_best_weights_are_looked_into(diagnosed):
    columns = {
        "landscape": {"a", "b", "loss"},
        "intermediate": {"share", "to_source", "to_target"},
        "scatter": {"kind", "x", "y", "label"},
        "otdd": {"mean", "std", "n"},
    }
    assert {f["what"] for f in diagnosed["files"]} == columns.keys()
    tables = {f["what"]: parquet.read_table(f["path"]) for f in diagnosed["files"]}
    assert {name: set(table.column_names) for name, table in tables.items()} == columns
    assert {f["what"]: f["rows"] for f in diagnosed["files"]} == {
        name: table.num_rows for name, table in tables.items()
    }
    found = {f["what"]: f["found"] for f in diagnosed["files"]}
    plane = tables["landscape"].to_pydict()
    middle = plane["a"].index(0) + 10
    assert (plane["a"][middle], plane["b"][middle]) == (0, 0)
    assert plane["loss"][middle] == found["landscape"]["loss"]
    ways = tables["intermediate"].to_pydict()
    assert ways["to_target"][0] == pytest.approx(0, abs=1e-6)
    assert found["intermediate"]["scores"] == "random"
    assert found["otdd"]["mean"] > 0


def test_the_middle_of_the_landscape_is_the_best_validation_loss(shell, diagnosed):
    trial = "study='mona/pdebench/advection_1d' and number=0"
    ((best,),) = rows(shell, "tiny", f"select best_epoch from trials where {trial}")
    query = f"select payload from events where kind='measured' and {trial}"
    measured = [json.loads(payload) for (payload,) in rows(shell, "tiny", query)]
    (loss,) = (
        m["metrics"]["val/loss"] for m in measured if (m["stage"], m["epoch"]) == ("refine", best)
    )
    (landscape,) = (f["found"] for f in diagnosed["files"] if f["what"] == "landscape")
    assert landscape["loss"] == pytest.approx(loss, rel=1e-5)


def test_diagnostics_are_artifacts_of_the_trials_run(shell, diagnosed):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{shell.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pdebench")
    tags = "tags.`sweeper.study` = 'mona/pdebench/advection_1d' and tags.`sweeper.trial` = '0'"
    (run,) = client.search_runs([experiment.experiment_id], tags)
    found = {f.path for f in client.list_artifacts(run.info.run_id, "diagnostics")}
    assert found == {f"diagnostics/{f['what']}.parquet" for f in diagnosed["files"]}
    assert diagnosed["notes"] == []


def test_what_is_not_there_to_be_looked_into_is_said_with_the_nearest(
    shell, launched, monkeypatch, capsys
):
    study = "mona/pdebench/advection_1d"
    refused = {
        ("tinny", study, "0"): (8, "unknown sweep `tinny`. Did you mean `tiny`?"),
        ("tiny", "mona/pdebench/advection_2d", "0"): (8, f"Did you mean `{study}`?"),
        ("tiny", study, "99"): (8, "unknown trial `99`. Known: 0, 1, 2, 3"),
        ("tiny", study, "0", "--what", "landscap"): (2, "Did you mean `landscape`?"),
    }
    monkeypatch.chdir(shell.folder)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    for arguments, (code, message) in refused.items():  # here, since each process imports torch
        assert run(["diagnose", *arguments]) == code
        assert message in capsys.readouterr().err


@pytest.mark.soak
def test_an_interrupted_sweep_goes_on_with_exactly_the_planned_trials(shell, ray_head):
    sweep = Sweep(shell, "cut")
    more = ("--set", "refine.decay_epochs=3", "--set", "refine.epochs=40")
    process = sweep.start(*more, "--address", ray_head.address)
    wait_for_epochs(sweep, 1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert time.monotonic() - began < 30
    assert "go on with: sweeper resume cut" in err
    assert json.loads(out)["state"] == "interrupted"
    cut = sweep.rows("select state from trials")
    assert ("running",) not in cut
    assert ("interrupted",) in cut

    resumed = finish(sweep.start(*more, "--address", ray_head.address))
    assert "cut: resuming" in resumed
    assert "the rate of `refine` is 0 after epoch 3" in shell.run("logs", "cut").out
    states = sweep.rows("select number, state from trials order by number")
    assert states == [(number, "complete") for number in range(TRIALS)]
    # each epoch was measured once: nothing that had been reported was trained again
    epochs = [(number, measured["epoch"]) for number, measured in sweep.events("measured")]
    assert len(epochs) == len(set(epochs)) == TRIALS * 40
