"""The section `program`: what it stands for, its faults with their lines, and its text."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.model import TrialKind
from sweeper.spec.loader import load_sweep, loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support.catalogs import make_catalog

CATALOG = make_catalog()
TEXT = """\
name: mine
program:
  function: mine:train
  metric: loss
parameters:
  lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
  layers: {min: 1, max: 4}
  act: {values: [relu, tanh], prior: {default: tanh}}
  slope: {min: 0.0, max: 1.0, when: {act: relu}}
fixed: {width: 32, copy: true}
search: {trials: 4}
profiles:
  laptop: {fixed: {width: 8}, parameters: {layers: {max: 2}}}
"""
COMMAND = "command: [python, train.py, --lr, '{lr}', '{seed}', '{width}']"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("def train(params, trial): ...\nother = train\n")
    (tmp_path / "train.py").write_text("print(1)\n")
    return tmp_path / "mine.yaml"


def load(file: Path, text: str = TEXT, **options: Any) -> Sweep:
    file.write_text(text)
    return load_sweep(file, CATALOG, **options)


def test_a_program_is_one_study_with_parameters_of_its_own_names(file):
    (study,) = load(file, profile="paper").studies
    assert (study.name, study.objective) == ("train/program/loss", "val/loss")
    assert study.preset == {
        "run.epochs": 10_000,
        "run.lr": pytest.approx(1e-3),
        "run.layers": 3,
        "run.act": "tanh",
        "run.slope": 0.5,
        "run.width": 32,
        "run.copy": True,
    }
    assert [kind for kind, _ in study.leading] == [TrialKind.PRESET]
    assert study.parameters["run.slope"].when == {"run.act": ("relu",)}
    assert study.backbone is None


def test_profiles_and_options_change_it(file):
    sets = ("program.steps=9", "program.goal=maximize", "fixed.width=4")
    (study,) = load(file, profile="laptop", sets=sets).studies
    assert study.objective == "val/neg_loss"
    assert study.preset["run.epochs"] == 9
    assert study.preset["run.width"] == 4
    assert study.parameters["run.layers"].high == 2


def test_the_resolved_form_is_the_same_sweep(file):
    sweep = load(file, TEXT.replace("function: mine:train", COMMAND))
    again = loads_sweep(json.loads(json.dumps(sweep.resolved)), CATALOG)
    assert again.resolved == sweep.resolved
    assert again.config_hash == sweep.config_hash
    assert [s.preset for s in again.studies] == [s.preset for s in sweep.studies]
    assert sweep.studies[0].name == "train/program/loss"


@pytest.mark.parametrize("how", ["function: mine:train", COMMAND])
def test_the_text_counts_and_its_folder_does_not(file, how, tmp_path):
    text = TEXT.replace("function: mine:train", how)
    first = load(file, text)
    assert first.program is not None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("mine.py", "train.py"):
        (elsewhere / name).write_text((tmp_path / name).read_text())
    assert load(elsewhere / "mine.yaml", text).config_hash == first.config_hash
    for name in ("mine.py", "train.py"):
        (elsewhere / name).write_text("def train(params, trial): return 1\n")
    changed = load(elsewhere / "mine.yaml", text)
    assert changed.config_hash != first.config_hash
    assert changed.program is not None
    former = changed.program.model_copy(update={"code": first.program.code, "may_change": True})
    assert replace(changed, program=former).config_hash == first.config_hash


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("mine:train", "mine:trian", 3, "unknown function `trian`. Did you mean `train`?"),
        ("mine:train", "nobody_has_it:train", 3, "there is no nobody_has_it.py in"),
        ("mine:train", "train", 3, "its module is missing: write MODULE:NAME"),
        ("mine:train", "../mine:train", 3, "must be MODULE:NAME"),
        ("function: mine:train", "stpes: 3", 3, "unknown key `program.stpes`. Did you mean `progr"),
        ("function: mine:train", "steps: 3", 2, "must have either `function` or `command`"),
        (
            "function: mine:train",
            "command: [python, '{layer}']",
            3,
            "unknown parameter `layer`. Did",
        ),
        ("metric: loss", "metric: a b", 4, "must be letters, digits, _ . and -"),
        ("metric: loss", "goal: minimise", 2, "missing key `program.metric`"),
        ("  layers:", "  epochs:", 7, "`epochs` counts the reports of a trial: write `program.st"),
        ("  layers:", "  lay-ers:", 7, "`parameters.lay-ers` must be letters, digits and _"),
        ("width: 32", "seed: 3", 10, "`fixed.seed` is of the trial"),
        ("search:", "tasks: [a]\nsearch:", 11, "`tasks` has no effect on a `program`"),
        ("mine:train", "mine:mona", 2, "`mona` is a method of sweeper: rename the function"),
    ],
)
def test_each_fault_has_its_line_and_a_way_out(file, old, new, line, message):
    if new == "mine:mona":
        (file.parent / "mine.py").write_text("def mona(params, trial): ...\n")
    with pytest.raises(FileFaults) as caught:
        load(file, TEXT.replace(old, new))
    found = [(fault.line, fault.message) for fault in caught.value.faults]
    assert [at for at, text in found if message in text] == [line], found


def test_a_program_that_pauses_needs_no_number_of_steps(file):
    sweep = load(file, TEXT + "pruning: {type: promote, min_epochs: 2}\n")
    assert sweep.pruning.type == "promote"
