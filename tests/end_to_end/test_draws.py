"""Replicates with their own draws of the data: interrupted, refused, resumed, compared."""

import csv
import io
import json
import signal

import numpy as np
import pytest

from tests.support.servers.cluster import shell_on
from tests.support.small_sweep import Sweep, finish, wait_for_epochs
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.tasks.store.manifest import MANIFEST, content_hash

pytestmark = [pytest.mark.timeout(900)]

TASK = """\
name: mine/sound
kind: classification
input: {path: sound.npz, key: x, layout: NL}
target: {key: y}
splits: {val: 0.25, test: 0.25}
"""
SWEEP = """\
name: drawn
include: sound.task.yaml
methods: [nft]
tasks: [mine/sound, pdebench/advection_1d]
backbones: {1d: {name: ROBERTA, tokens: 16}}
model: {head: linear}
data: {samples: 24, val_fraction: 0.25, test_fraction: 0.25, resolution: 32, seed: replicate}
compare_by: {refine.freeze: [none, body]}
replicate: {seeds: 2}
fixed: {refine.epochs: 3, refine.batch_size: 8, refine.warmup_epochs: 1}
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
question:
  title: Does the body have to be trained?
  published: It has to.
  claims: [{says: It has to., contrast: [refine.freeze=none, refine.freeze=body], expect: better}]
"""
TRIALS = 2 * 2 * 3  # tasks, arms, and the preset with two replicates


@pytest.fixture
def sweep(tmp_path, ray_head) -> Sweep:
    shell = shell_on(ray_head, tmp_path, tmp_path / "home")
    save_tiny_roberta(tmp_path / "roberta")
    rng, y = np.random.default_rng(0), np.arange(64) % 2
    x = rng.normal(size=(64, 32)) + y[:, None]
    np.savez(tmp_path / "sound.npz", x=x.astype(np.float32), y=y)
    (tmp_path / "sound.task.yaml").write_text(TASK)
    (tmp_path / "drawn.yaml").write_text(SWEEP.replace("ROBERTA", str(tmp_path / "roberta")))
    shell.run("data", "import", "sound.task.yaml")
    return Sweep(shell, "drawn")


def check_other_data_are_refused(sweep: Sweep) -> None:
    """Check that a sweep does not go on while one draw has other data than it began with."""
    folder = sweep.shell.folder / "home" / "data" / "pdebench" / "advection_1d"
    file = next(f for f in folder.glob(f"*/{MANIFEST}") if json.loads(f.read_text())["seed"])
    before = file.read_text()
    other = {**json.loads(before), "equation": "another one"}
    file.write_text(json.dumps({**other, "content_hash": content_hash(other)}))
    refused = sweep.shell.run("resume", "drawn", code=2).err
    assert "began with other data" in refused
    assert ".draws." in refused
    file.write_text(before)


def test_arms_share_the_draw_of_a_seed_and_seeds_have_their_own(sweep):
    shell = sweep.shell
    planned = shell.run("plan", "drawn.yaml", "--exploratory", "--json").json
    assert all("3 draws" in study["data"] for study in planned["studies"])
    begun = shell.start("launch", "drawn.yaml", "--json")
    wait_for_epochs(sweep, 4)
    begun.send_signal(signal.SIGINT)
    finish(begun, code=130)
    check_other_data_are_refused(sweep)
    shell.run("resume", "drawn", timeout=600)
    assert sweep.rows("select state, count(*) from trials group by state") == [("complete", TRIALS)]
    rows = list(csv.DictReader(io.StringIO(shell.run("export", "drawn").out)))
    for task in ("mine/sound", "pdebench/advection_1d"):
        mine = [row for row in rows if row["task"] == task]
        hashes: dict[str, set[str]] = {}
        for row in mine:
            hashes.setdefault(row["seed"], set()).add(row["content_hash"])
        assert len(mine) == TRIALS // 2
        assert len(hashes) == 3  # of the presets, which have one seed, and of the replicates
        assert all(len(found) == 1 for found in hashes.values())
        assert len(set.union(*hashes.values())) == 3
    told = shell.run("compare", "drawn", "--json").json
    (claim,) = told["questions"][0]["claims"]
    assert "2 tasks, 2 seeds each, with a draw of data for each seed" in claim["sentence"]
    assert "nothing to do" in shell.run("resume", "drawn").err
