"""The section `program`: what it stands for, its faults with their lines, and its text."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import FileFaults, UsageError
from sweeper.model import TrialKind
from sweeper.planning.resuming import check_texts
from sweeper.spec.loader import loads_sweep
from sweeper.spec.rules.program import sections_of
from sweeper.spec.sweep import Sweep
from tests.support.catalogs import make_catalog
from tests.support.sweep_files import load_sweep
from trainables.methods.program import program_of

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
SEVERAL = """\
name: mine
program: {metric: loss, steps: 9, data: [small, large]}
programs:
  ours: {function: mine:train}
  official:
    command: [python, train.py, '{lr}', '{width}', '{data}']
    steps: 3
parameters:
  lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
  official.width: {min: 2, max: 6}
fixed: {seed_of_split: 3, official.seed_of_split: 4}
replicate: {seeds: 2}
"""
COMMAND = "command: [python, train.py, --lr, '{lr}', '{seed}', '{width}']"


def test_faults_of_a_program_hide_none_of_the_rest():
    text = """\
name: mine
program: {command: [train, '{lr}'], metric: loss, goal: max}
parameters:
  lr: {distribution: log_uniform_values, min: 0, max: 1}
  width: {values: []}
search: {trials: 0, sampler: TPE}
pruning: {type: hyperband}
"""
    with pytest.raises(FileFaults) as raised:
        loads_sweep(text, CATALOG)
    assert [fault.line for fault in raised.value.faults] == [2, 4, 5, 6, 6, 7]
    assert "Did you mean `tpe`?" in str(raised.value)


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


def test_its_folder_is_that_of_the_file_or_relative_to_it_or_of_all_nodes(file, monkeypatch):
    (file.parent / "code").mkdir()
    (file.parent / "code" / "mine.py").write_text("def train(params, trial): ...\n")
    monkeypatch.chdir("/")
    for given, folder, travels in (
        ("", file.parent, True),
        ("code", file.parent / "code", True),
        (file.parent / "code", file.parent / "code", False),
    ):
        sweep = load(file, TEXT.replace("metric:", f"folder: '{given}'\n  metric:"))
        spec = program_of(sweep.catalog.methods["train"])
        assert (spec.folder, spec.travels) == (str(folder), travels)


def test_a_begun_sweep_does_not_go_on_with_another_text_of_its_program(file):
    begun = load(file)
    check_texts(begun)
    (file.parent / "mine.py").write_text("def train(params, trial): pass\n")
    with pytest.raises(UsageError, match="the text of `train` has changed since it began"):
        check_texts(begun)
    (file.parent / "mine.py").unlink()
    check_texts(begun)  # other nodes may have it


def test_profiles_and_options_change_it(file):
    sets = ("program.steps=9", "program.goal=maximize", "fixed.width=4")
    (study,) = load(file, profile="laptop", sets=sets).studies
    assert study.objective == "val/neg_loss"
    assert study.preset["run.epochs"] == 9
    assert study.preset["run.width"] == 4
    assert study.parameters["run.layers"].high == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("search.constraints={parameters: '<= 3M'}",), "a program reports no `parameters`"),
        (
            ("search.objectives=[val, parameters]", "pruning.type=none"),
            "a program reports no `parameters`",
        ),
        (
            ("search.constraints={val: '>= 0.5'}", "program.goal=maximize"),
            "Write `val/neg_loss` with the negative of the bound",
        ),
    ],
)
def test_goals_that_no_report_of_a_program_can_keep_are_faults(file, options, told):
    with pytest.raises(FileFaults, match=re.escape(told)):
        load(file, sets=options)
    assert load(file, sets=("search.constraints={val: '<= 0.5'}",)).search.constraints


def test_an_option_fixes_what_the_file_searches(file):
    sweep = load(file, SEVERAL, sets=("fixed.lr=0.5", "fixed.official.width=3"), trials=1)
    assert not sweep.parameters
    assert sweep.fixed["run.lr"] == 0.5


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
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("mine.py", "train.py"):
        (elsewhere / name).write_text((tmp_path / name).read_text())
    assert load(elsewhere / "mine.yaml", text).config_hash == first.config_hash
    for name in ("mine.py", "train.py"):
        (elsewhere / name).write_text("def train(params, trial): return 1\n")
    changed = load(elsewhere / "mine.yaml", text)
    assert changed.config_hash != first.config_hash
    text = {"code": first.programs["train"].code, "may_change": True}
    former = changed.programs["train"].model_copy(update=text)
    assert replace(changed, programs={"train": former}).config_hash == first.config_hash


FAULTS = {  # of a file: what is replaced, by what, the line of the fault, and what is said
    TEXT: [
        ("mine:train", "mine:trian", 3, "unknown function `trian`. Did you mean `train`?"),
        ("mine:train", "nobody_has_it:train", 3, "there is no nobody_has_it.py in"),
        ("mine:train", "train", 3, "its module is missing: write MODULE:NAME"),
        ("mine:train", "../mine:train", 3, "must be MODULE:NAME"),
        ("function: mine:train", "stpes: 3", 3, "unknown key `program.stpes`. Did you mean `progr"),
        ("function: mine:train", "steps: 3", 2, "must have either `function` or `command`"),
        ("function: mine:train", "command: [python, '{layer}']", 3,
         "unknown parameter `layer`. Did"),
        ("metric: loss", "metric: a b", 4, "must be letters, digits, _ . and -"),
        ("metric: loss", "goal: minimise", 2, "missing key `program.metric`"),
        ("  layers:", "  epochs:", 7, "`epochs` counts the reports of a trial: write `program.st"),
        ("  layers:", "  lay-ers:", 7, "`parameters.lay-ers` must be letters, digits and _"),
        ("width: 32", "seed: 3", 10, "`fixed.seed` is of the trial"),
        ("search:", "tasks: [a]\nsearch:", 11, "`tasks` has no effect on a `program`"),
        ("mine:train", "mine:mona", 2, "`mona` is a method of sweeper: rename the function, or gi"),
        ("function: mine:train", f"command: [python, {'x' * 300}.py, '{'y' * 300}']", 3,
         "there is no such file in"),
        ("function: mine:train", "command: [sh, ./run.sh]", 3, "`program.command[1]`: there is no"),
        ("function: mine:train", "command: [sh, '{data}']", 3, "unknown parameter `data`"),
        ("function: mine:train", "command: [sh, '{folder}']\n  results: ../x", 4, "must be 1 to"),
        ("mine:train", "mine:train\n  results: x.jsonl", 2, "must have a `command` with `results`"),
    ],
    SEVERAL: [
        ("metric: loss, ", "", 2, "missing key `program.metric`"),
        ("steps: 9", "function: mine:train", 2, "`program.function` is of one program, but there"),
        ("[small, large]", "[small, small]", 2, "`program.data` has `small` twice; keep one"),
        ("[small, large]", "[small, a@b]", 2, "`program.data[1]` must be 1 to 63 letters"),
        ("steps: 9", "floor: {smal: 1}", 2, "unknown data set `smal`. Did you mean `small`?"),
        ("steps: 9", "floor: pdebench/burgers", 2, "unknown task `pdebench/burgers`. Did you mean"),
        ("steps: 9", "floor: pdebench/burgers_1d", 2, "has the metric nrmse, and the programs los"),
        ("steps: 9", "floor: [1]", 2, "`program.floor` must be"),
        ("  ours: {function: mine:train}", "  ours: mine", 4, "`programs.ours` must be"),
        ("mine:train", "mine:train, metric: loss", 4, "unknown key `programs.ours.metric`"),
        ("mine:train", "mine:trian", 4, "`programs.ours.function: mine:trian`: unknown function"),
        ("  ours:", "  mona:", 4, "`programs.mona`: `mona` is a method of sweeper: name it other"),
        ("  ours:", "  run:", 4, "`programs.run`: `run` names no study: name it otherwise"),
        ("'{width}'", "'{widht}'", 6, "`programs.official.command[3]`: unknown parameter `widht`"),
        ("  official.width", "  oficial.width", 10, "unknown program `oficial`. Did you mean `off"),
        ("  official.width", "  official.data", 10, "`parameters.official.data` is of the trial"),
        ("train.py", "trian.py", 6, "`programs.official.command[1]`: there is no such file in"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "message"),
    [(text, *row) for text, rows in FAULTS.items() for row in rows],
    ids=[f"{old} to {new}"[:80] for rows in FAULTS.values() for old, new, *_ in rows],
)
def test_each_fault_has_its_line_and_a_way_out(file, text, old, new, line, message):
    if new == "mine:mona":
        (file.parent / "mine.py").write_text("def mona(params, trial): ...\n")
    with pytest.raises(FileFaults) as caught:
        load(file, text.replace(old, new))
    found = [(fault.line, fault.message) for fault in caught.value.faults]
    assert [at for at, told in found if message in told] == [line], found


def test_a_program_that_pauses_needs_no_number_of_steps(file):
    sweep = load(file, TEXT + "pruning: {type: promote, min_epochs: 2}\n")
    assert sweep.pruning.type == "promote"


def test_programs_are_methods_on_the_data_sets_with_parameters_of_their_own(file):
    sweep = load(file, SEVERAL)
    ours, _, official, _ = sweep.studies
    assert [study.name for study in sweep.studies] == [
        "ours/program/loss@small",
        "ours/program/loss@large",
        "official/program/loss@small",
        "official/program/loss@large",
    ]
    lr = pytest.approx(1e-3)
    assert ours.preset == {"run.epochs": 9, "run.lr": lr, "run.seed_of_split": 3}
    assert official.preset == {
        "run.epochs": 3,
        "run.lr": lr,
        "run.official.width": 4,
        "run.official.seed_of_split": 4,
    }
    assert [*official.parameters] == ["run.lr", "run.official.width"]
    again = loads_sweep(json.loads(json.dumps(sweep.resolved)), CATALOG)
    assert again.resolved == sweep.resolved
    assert [s.preset for s in again.studies] == [s.preset for s in sweep.studies]


@pytest.mark.parametrize(
    ("floor", "small", "large"),
    [
        ("0.12", 0.12, 0.12),
        ("{small: 0.12}", 0.12, None),
        ("{small: 1, large: pdebench/burgers_1d}", 1.0, "pdebench/burgers_1d"),
    ],
)
def test_a_floor_is_a_value_or_that_of_a_task(file, floor, small, large):
    metric = "nrmse" if "burgers" in floor else "loss"
    text = SEVERAL.replace("metric: loss,", f"metric: {metric}, floor: {floor},")
    program = load(file, text).program
    assert program is not None
    assert (program.floor_on("small"), program.floor_on("large")) == (small, large)
    assert program.floor_tasks == ([large] if isinstance(large, str) else [])


@pytest.mark.parametrize(
    ("signature", "is_fine"),
    [
        ("def train(params, trial)", True),
        ("def train(params, trial=None, *, quiet=True)", True),
        ("def train(*given)", True),
        ("def train(params, *rest, **more)", True),
        ("@sweeper.trainable\ndef train(params, trial)", True),
        ("@injected\ndef train(params)", True),  # what the decorator makes of it is not known
        ("def train(params)", False),
        ("def train()", False),
        ("def train(params, trial, rate)", False),
        ("def train(params, trial, *, rate)", False),
        ("@sweeper.trainable\ndef train(params)", False),
    ],
)
def test_a_function_takes_the_parameters_and_the_trial(file, signature, is_fine):
    (file.parent / "mine.py").write_text(f"{signature}: ...\n")
    if is_fine:
        load(file)
        return
    with pytest.raises(FileFaults, match="mine:train`: it must take two arguments, params and tri"):
        load(file)


def test_a_program_with_nothing_to_search_runs_once(file):
    text = SEVERAL.replace("'{lr}', '{width}', ", "").replace("  lr:", "  ours.lr:")
    text = text.replace("  official.width: {min: 2, max: 6}\n", "")
    assert [s.num_trials for s in load(file, text).studies] == [32, 32, 1, 1]
    with pytest.raises(FileFaults, match="nothing is searched"):
        load(file, text[: text.index("parameters:")])


def test_a_file_about_one_program_has_what_is_of_its_data_set(file):
    text = SEVERAL.replace("steps: 9", "floor: {small: 0, large: 0.5}")
    resolved = load(file, text).resolved
    several = sections_of(resolved, ["ours"], "program/loss@small")
    shared = {"metric": "loss", "goal": "minimize", "data": ["small"], "floor": {"small": 0.0}}
    function = {"function": "mine:train", "folder": str(file.parent)}
    assert several == {"program": shared, "programs": {"ours": function}}
    alone = load(file, TEXT.replace("metric: loss", "metric: loss\n  floor: 0.0")).resolved
    short = {"metric": "loss", "goal": "minimize", "floor": 0.0}
    assert sections_of(alone, ["train"]) == {"program": {**function, **short}}


def test_programs_without_one_are_a_fault(file):
    start, end = SEVERAL.index("programs:"), SEVERAL.index("parameters:")
    with pytest.raises(FileFaults, match="`programs` must map names to programs"):
        load(file, SEVERAL[:start] + "programs: {}\n" + SEVERAL[end:])
