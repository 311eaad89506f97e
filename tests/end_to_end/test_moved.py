"""A sweep whose driver died is moved, and its newest checkpoints are damaged: it goes on.

Its store of MLflow is moved with it. That the numbers and weights of real trials are those of a
sweep that nobody disturbed, with a cap on its checkpoints, is in `test_kill_matrix`.
"""

import os
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.ledger import EventKind
from sweeper.model import TrialState
from sweeper.planning.checkpoint_paths import CheckpointPaths
from tests.support.servers.process import Process, wait_until
from tests.support.stores import empty_store
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import mlflow_violations, read, violations

pytestmark = [pytest.mark.timeout(400)]
TRIALS, HELD, EPOCHS = 4, 3, 3  # trials, of them those that hang, and epochs before they do


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_moved_sweep_goes_on_from_the_newest_checkpoints_that_are_whole(tmp_path, ray_head):
    before, after = tmp_path / "before" / "toy", tmp_path / "after" / "toy"
    before.mkdir(parents=True)
    (before / "mlflow.db").write_bytes(empty_store().read_bytes())
    options = ["--trials", str(TRIALS), "--concurrent", "3", "--cpu", "0.5", "--pruning", "none"]
    options += ["--epochs", "5", "--sampler", "random", "--address", ray_head.address]
    options += [f"--fault={number}@{EPOCHS + 1}:hang" for number in range(HELD)]

    def start(folder: Path) -> Process:
        return toy_sweep.start(folder, *options, environment=ray_head.environment)

    def measured() -> int:
        with closing(toy_sweep.open_ledger(before)) as ledger:
            return ledger.count_events(kinds=[EventKind.MEASURED])

    driver = start(before)
    try:
        wait_until(lambda: measured() == HELD * EPOCHS, timeout_s=180, what="trials to hang")
    finally:
        driver.kill()
    after.parent.mkdir()
    before.rename(after)
    ledger = toy_sweep.open_ledger(after)
    lost, flipped, _ = (
        Path(CheckpointPaths(after).placed(trial).checkpoint) for trial in ledger.trials()
    )
    (lost / "manifest.json").unlink()
    flip_a_bit(flipped / "last.safetensors")
    driver = start(after)
    try:
        assert driver.wait(200) == 0, driver.tail()
    finally:
        driver.kill()
    assert violations(after, ledger, planned={"toy/task_0": TRIALS}, faults=1) == []
    assert {trial.state for trial in ledger.trials()} == {TrialState.COMPLETE}
    went_on = {x.number: x.step for x in read(after) if (x.event, x.attempt) == ("started", 2)}
    assert went_on == {0: EPOCHS - 1, 1: EPOCHS - 1, 2: EPOCHS}
    noted = {e.number: e.payload["text"] for e in ledger.events(kinds=[EventKind.NOTED])}
    assert noted.keys() == {0, 1}, "what befell a checkpoint is said of its trial"
    for number, why in ((0, "no readable manifest.json"), (1, "altered or cut short")):
        assert noted[number].startswith("checkpoint refine-0003 is damaged (")
        assert why in noted[number]
        assert f"toy/task_0/{number}: {noted[number]}" in driver.tail(), "and in the log"
    uri = f"sqlite:///{after / 'mlflow.db'}"
    assert mlflow_violations(ledger, uri, "toy") == []
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'toy'")
    runs = client.search_runs([experiment.experiment_id], "tags.`sweeper.trial` != ''")
    for run in runs:
        kept = Path(run.info.artifact_uri, "checkpoints", "last.safetensors")
        assert kept.is_relative_to(after / "mlruns" / "toy")
        assert kept.is_file()
    assert len(runs) == TRIALS
    assert os.listdir(before.parent) == []
    ledger.close()
