"""Submitted evidence: a seed of it is trained again by its own settings, and compared."""

import csv
import json
import shutil
from statistics import fmean

import pytest

from sweeper.results.reproduction.files import load

pytestmark = pytest.mark.timeout(1800)
FILE = """
name: mine
methods: [fno]
tasks: [pdebench/advection_1d]
data: {samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: 64, seed: replicate}
parameters:
  refine.lr: {values: [1.0e-3, 1.0e-2]}
fixed:
  {refine.epochs: 4, refine.width: 4, refine.modes: 4, refine.layers: 1, refine.batch_size: 16,
   refine.warmup_epochs: 1}
search: {trials: 3, sampler: grid}
replicate: {top: 1, seeds: 3}
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
profiles: {laptop: {}}
"""
PATIENCE_S = 900  # of a command on a busy machine
ARM = "fno/pdebench/advection_1d"


@pytest.fixture(scope="module")
def evidence(shell):
    """Return the evidence of a tuned method, as it is exported for a submission."""
    (shell.folder / "mine.yaml").write_text(FILE)
    shell.run("launch", "mine.yaml", "--profile", "laptop", "--json", timeout=PATIENCE_S)
    (shell.folder / "evidence").mkdir()
    shell.run("export", "mine", "--evidence", "evidence", timeout=PATIENCE_S)
    return shell.folder / "evidence" / "mine.json"


def confirm(shell, file, *options, code):
    words = ("reproduce", "confirm", str(file), "--json", *options)
    return shell.run(*words, code=code, timeout=PATIENCE_S).json


def forge(file, seed, by):
    """Lower the test value of one seed, and make the mean follow from it."""
    table, content = file.with_suffix(".csv"), json.loads(file.read_text())
    rows = list(csv.DictReader(table.read_text().splitlines()))
    rows[seed]["test"] = str(float(rows[seed]["test"]) - by)
    with table.open("w") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    content["studies"][ARM]["test"] = fmean(float(row["test"]) for row in rows)
    file.write_text(json.dumps(content))


def test_the_same_bits_come_out_of_pinned_settings_without_a_search(shell, evidence):
    stated = json.loads(evidence.read_text())["studies"][ARM]
    assert set(stated["params"]) <= {"refine.lr"}
    (shell.folder / "kept").mkdir()
    found = confirm(shell, evidence, "--evidence", "kept", code=0)
    assert found["is_confirmed"]
    assert (found["retraining"]["trainings"], found["retraining"]["unlike"]) == (1, 0)
    assert "1 of 3 seeds confirmed" in found["message"]
    assert "1 of 3 seeds confirmed" in load(shell.folder / "kept" / "mine.json").confirmation
    # One training, and nothing was searched again.
    (again,) = (path.name for path in (shell.folder / "sweeps").glob("mine_again_*"))
    (study,) = shell.run("status", again, "--json").json["studies"]
    assert sum(study["trials"].values()) == 2  # the configuration, and its one seed


def test_a_forged_number_of_the_drawn_seed_is_caught(shell, evidence):
    (shell.folder / "forged").mkdir()
    for file in (evidence, evidence.with_suffix(".csv")):
        shutil.copy(file, shell.folder / "forged")
    file = shell.folder / "forged" / "mine.json"
    forge(file, 1, by=1e-6)
    salt = next(text for text in map(str, range(99)) if load(file).drawn_seed(text) == 1)
    found = confirm(shell, file, "--salt", salt, code=9)
    assert not found["is_confirmed"]
    told = "mine: not confirmed: 1 of 1 trainings of seed 1 differ, by up to 1e-6"
    assert told in found["message"]
    (line,) = found["unlike"]
    assert line.startswith(f"{ARM}, seed ")
    assert ": test is " in line


def test_without_its_mean_the_forgery_is_told_before_anything_is_trained(shell, evidence):
    (shell.folder / "edited").mkdir()
    file = shell.folder / "edited" / "mine.json"
    shutil.copy(evidence, file)
    mean = repr(json.loads(file.read_text())["studies"][ARM]["test"])
    shutil.copy(evidence.with_suffix(".csv"), file.with_suffix(".csv"))
    file.write_text(file.read_text().replace(mean, "0.001"))
    for command in (("reproduce", "confirm", str(file)), ("site", str(file), "-o", "pages")):
        told = shell.run(*command, code=2).err
        assert f"{file}: {ARM}: test is 0.001, but its rows give {mean}" in told
    assert not (shell.folder / "pages" / "index.html").exists()


def test_the_pages_have_the_method_and_its_seeds(shell, evidence):
    shell.run("site", str(evidence), "-o", "site")
    index = (shell.folder / "site" / "index.html").read_text()
    for text in ("FNO", "0 of 3 seeds confirmed", "holds", "each seed its own draw"):
        assert text in index
    assert (shell.folder / "site" / "evidence" / "mine.csv").read_text() == (
        evidence.with_suffix(".csv").read_text()
    )
    assert "Every seed" in (shell.folder / "site" / "mine.html").read_text()
