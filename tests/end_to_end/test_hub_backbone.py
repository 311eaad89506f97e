"""A sweep on a backbone of the hub: killed, resumed without the hub, exported, and applied."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.command import ROOT, Shell
from tests.support.servers.hub import commit_of, serving
from tests.support.small_sweep import Sweep, wait_for_epochs
from tests.support.tiny_backbones import save_tiny_bert

pytestmark = [pytest.mark.timeout(900)]
STUDY, TRIALS, EPOCHS = "nft/mine/waves", 3, 6
TASK = """\
name: mine/waves
kind: classification
input: {path: waves.npz, key: x, layout: NL}
target: {key: y}
splits: {val: 0.25, test: 0.25}
"""
SWEEP = f"""\
name: hub
include: waves.task.yaml
methods: [nft]
tasks: [mine/waves]
backbones: {{1d: {{hub: someone/tiny-bert, revision: COMMIT, tokens: 8}}}}
model: {{head: linear}}
parameters:
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}}
fixed: {{refine.epochs: {EPOCHS}, refine.batch_size: 16, refine.warmup_epochs: 1}}
search: {{trials: {TRIALS}, sampler: random}}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0}}
"""
LOADED = """\
import sys
import numpy as np
import sweeper

model = sweeper.load_model(sys.argv[1])
np.savez(sys.argv[3], prediction=model.predict(np.load(sys.argv[2])["x"]), classes=model.classes)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sweep file, a task file and its data."""
    folder = tmp_path / "work"
    folder.mkdir()
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 128)
    x = rng.normal(size=(128, 16)) + np.sin(np.arange(16) * (1 + y[:, None]))
    names = np.array(["high", "low", "mid"])
    np.savez(folder / "waves.npz", x=x.astype(np.float32), y=names[y])
    (folder / "waves.task.yaml").write_text(TASK)
    return folder


def test_it_is_killed_resumed_exported_and_predicts_the_same_three_ways(folder, tmp_path):
    bert = save_tiny_bert(tmp_path / "bert")
    (folder / "hub.yaml").write_text(SWEEP.replace("COMMIT", commit_of(bert)))
    home = {"SWEEPER_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}
    with serving({"someone/tiny-bert": {"main": bert}}) as hub:
        online = {
            "HF_ENDPOINT": hub.address,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        shell = Shell(folder, home | online)
        shell.run("data", "import", "waves.task.yaml")
        launch = shell.start("launch", "hub.yaml", "--json")
        sweep = Sweep(shell, "hub")
        wait_for_epochs(sweep, 2)
        os.kill(launch.pid, signal.SIGKILL)
        launch.communicate()
    assert len(hub.fetched) == 4  # each file once: by one process, for all trials

    shell = Shell(folder, home | {"HF_HUB_OFFLINE": "1"})  # the hub is gone
    resumed = shell.run("resume", "hub", "--json", timeout=600).json
    assert (resumed["state"], resumed["trials"]["complete"]) == ("finished", TRIALS)
    measured = sorted((number, m["epoch"]) for number, m in sweep.events("measured"))
    assert measured == [(n, e) for n in range(TRIALS) for e in range(1, EPOCHS + 1)]

    ((best,),) = sweep.rows("select number from trials order by value, number limit 1")
    x = np.load(folder / "waves.npz")["x"][:10]
    np.savez(folder / "x.npz", x=x)
    table = pa.table({f"p{i}": x[:, i] for i in range(x.shape[1])})
    parquet.write_table(table, folder / "x.parquet")
    shell.run("export", "hub", "--study", STUDY, "--model", "exported")
    for file in ("x.npz", "x.parquet"):
        shell.run("predict", "hub", f"{STUDY}/{best}", file, "-o", f"trial-{file}")
        shell.run("predict", "exported", file, "-o", f"model-{file}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(folder / "exported", elsewhere)
    shutil.rmtree(folder / "sweeps")
    subprocess.run(
        [sys.executable, "-c", LOADED, "exported", str(folder / "x.npz"), "loaded.npz"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SWEEPER_HOME": str(elsewhere / "none")},
        check=True,
    )
    loaded = np.load(elsewhere / "loaded.npz")
    assert loaded["classes"].tolist() == ["high", "low", "mid"]
    for name in ("trial-x.npz", "model-x.npz"):
        found = np.load(folder / name)
        assert np.array_equal(found["prediction"], loaded["prediction"])
        labels = loaded["classes"][loaded["prediction"].argmax(axis=1)]
        assert found["label"].tolist() == labels.tolist()
    for name in ("trial-x.parquet", "model-x.parquet"):
        read = parquet.read_table(folder / name)
        columns = [read[f"prediction {each}"].to_numpy() for each in loaded["classes"]]
        assert np.array_equal(np.stack(columns, axis=1), loaded["prediction"])
