import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sweeper.commands.plan import plan
from sweeper.commands.validate import validate
from sweeper.errors import FileFaults, UsageError
from sweeper.ledger import Ledger
from sweeper.planning import load, own_tasks, resuming
from sweeper.planning.catalog import catalog
from sweeper.planning.data import draws
from sweeper.planning.load import Options
from sweeper.planning.trials import spec_of
from sweeper.spec.json_schema import json_schema, task_schema
from sweeper.spec.layers import whole_text
from sweeper.text import differences
from tests.support.own_tasks import registry_restored
from trainables.spec import DataSpec
from trainables.tasks.importing import import_own
from trainables.tasks.loading import split_sizes
from trainables.tasks.own.definition import TaskDefinition
from trainables.tasks.registry import TASKS

TASK = """\
name: mine/wafer
kind: classification
input: {path: data/wafer.npz, key: x, layout: NCHW}
target: {key: y}
recipe: {lr: 0.003}
"""
SWEEP = """\
name: wafers
include: tasks
methods: [orca, nft]
tasks: [mine/wafer, pdebench/darcy_2d@hard]
backbones: {2d: {name: swin_base, weights: random}}
proxies: {2d: digits}
parameters:
  refine.weight_decay: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-3}
search: {trials: 4}
"""


@pytest.fixture(autouse=True)
def home(here):
    Path("tasks/data").mkdir(parents=True)
    Path("tasks/wafer.task.yaml").write_text(TASK)
    rng, y = np.random.default_rng(0), np.arange(40) % 2
    np.savez("tasks/data/wafer.npz", x=rng.normal(size=(40, 1, 8, 8)).astype("f4"), y=y)
    Path("sweep.yaml").write_text(SWEEP)
    return here / "home"


def read(**options) -> load.Sweep:
    return load.read(Path("sweep.yaml"), Options(**options))


def test_a_sweep_over_an_own_task_is_valid_before_its_data_are_imported():
    sweep = read()
    assert sweep.studies[0].name == "orca/mine/wafer"
    study = sweep.study("nft", "mine/wafer")
    assert study.preset["refine.lr"] == 0.003  # of its recipe
    assert sweep.task_files == {"mine/wafer": TASKS_CONTENT}
    with pytest.raises(UsageError, match=r"to be imported\. .*data import .*wafer\.task\.y"):
        load.check_imported(sweep)


TASKS_CONTENT = {
    "name": "mine/wafer",
    "kind": "classification",
    "input": {"path": ["data/wafer.npz"], "key": "x", "layout": "NCHW"},
    "target": {"key": "y"},
    "recipe": {"lr": 0.003},
}


def test_settings_that_no_task_takes_are_found_once_the_data_are_here(home):
    read()
    import_own("mine/wafer", home)
    load.check_imported(read())
    with pytest.raises(FileFaults, match="asks for 4000"):
        read(sets=("data.samples=4000",))


@pytest.mark.parametrize("place", ["option", "home"])
def test_tasks_are_found_by_an_option_and_in_the_home_folder(place, home):
    Path("sweep.yaml").write_text(SWEEP.replace("include: tasks\n", ""))
    with pytest.raises(FileFaults, match=r"unknown task `mine/wafer`"):
        read()
    if place == "home":
        home.mkdir()
        Path("tasks").rename(home / "tasks")
        assert "mine/wafer" in read().tasks
    else:
        assert "mine/wafer" in read(include=(Path("tasks/wafer.task.yaml"),)).tasks


def test_a_fault_in_the_home_folder_is_a_fault_of_every_sweep(home):
    (home / "tasks").mkdir(parents=True)
    (home / "tasks" / "broken.task.yaml").write_text("name: [a")
    with pytest.raises(FileFaults, match=r"broken\.task\.yaml:1: "):
        read()


def test_used_definitions_are_kept_so_that_no_file_is_needed_later():
    sweep = read()
    text = whole_text(Path("sweep.yaml"), sweep.task_files)
    assert "include" not in text.partition("\n")[2]
    Path("tasks/wafer.task.yaml").unlink()
    Path("moved").mkdir()
    Path("moved/sweep.yaml").write_text(text)
    with registry_restored():
        again = load.read(Path("moved/sweep.yaml"), Options())
    assert again.resolved == sweep.resolved
    assert again.config_hash == sweep.config_hash
    resolved = json.loads(json.dumps(sweep.resolved))
    resumed = resuming.from_resolved(resolved, name="wafers", profile="paper")
    assert resumed.resolved == sweep.resolved
    assert "mine/wafer" in TASKS


def test_a_sweep_without_own_tasks_is_resolved_and_written_as_before():
    text = SWEEP.replace("include: tasks\n", "").replace("mine/wafer, ", "")
    Path("sweep.yaml").write_text(text)
    sweep = read()
    assert "task_files" not in sweep.resolved
    assert whole_text(Path("sweep.yaml"), sweep.task_files) == text
    Path("sweep.yaml").write_text("include: tasks\n" + text)
    assert read().resolved == sweep.resolved
    assert read().config_hash == sweep.config_hash


def test_another_definition_of_a_begun_sweep_is_named_with_the_changed_key(tmp_path):
    with closing(Ledger(f"sqlite:///{tmp_path}/ledger.sqlite", "wafers")) as ledger:
        resuming.match(ledger, read(), "text")
        record = ledger.sweep()
        assert record is not None
        Path("tasks/wafer.task.yaml").write_text(TASK + "splits: {seed: 1}\n")
        changed = read()
        old = resuming.from_record(record)
        found = differences(old.resolved, changed.resolved)
    assert found == ['task_files.mine/wafer.splits: "-" -> {"seed": 1}']


def test_a_begun_sweep_keeps_its_definition_if_that_is_only_described_anew(tmp_path):
    with closing(Ledger(f"sqlite:///{tmp_path}/ledger.sqlite", "wafers")) as ledger:
        began = resuming.match(ledger, read(), "text")
        ledger.start({})
        Path("tasks/wafer.task.yaml").write_text(TASK + "title: Wafer maps\nlicence: MIT\n")
        changed = read()
        assert changed.resolved != began.resolved
        assert resuming.match(ledger, changed, "text").resolved == began.resolved
        assert (
            spec_of(changed.studies[0], {}, seed=0, home=tmp_path).definition
            == (began.task_files["mine/wafer"])
        )
        Path("tasks/wafer.task.yaml").write_text(TASK.replace("0.003", "0.1") + "title: Maps\n")
        with pytest.raises(UsageError, match=r"or undo:\n  task_files\S+recipe.lr: 0.003 -> 0.1$"):
            resuming.match(ledger, read(), "text")


def test_a_trial_carries_its_definition_and_one_of_a_built_in_task_does_not(home):
    sweep = read()
    own, built_in = (sweep.study("nft", task) for task in sweep.tasks)
    assert spec_of(own, own.preset, seed=0, home=home).definition == TASKS_CONTENT
    assert spec_of(built_in, built_in.preset, seed=0, home=home).definition is None


def test_a_plan_says_how_more_samples_of_an_own_task_validate(home):
    read()
    import_own("mine/wafer", home)
    notes = plan(Path("sweep.yaml"), Options(sets=("data.samples=null",))).notes
    file = Path("tasks/wafer.task.yaml").resolve()
    again = f"sweeper data import {file} --replace"
    hint = f"Give `splits.val` in {file} more samples, and import it again: {again}"
    assert any(hint in note for note in notes)


@pytest.mark.slow
def test_tasks_whose_data_were_imported_are_known_without_their_file(home):
    read()
    import_own("mine/wafer", home)
    code = (
        "from sweeper.planning import own_tasks; own_tasks.find_stored()\n"
        "from trainables.tasks.registry import task_info; import sys\n"
        "assert 'torch' not in sys.modules; print(task_info('mine/wafer').samples)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "40", done.stderr


def test_the_schema_of_a_task_file_takes_what_the_reader_takes():
    jsonschema = pytest.importorskip("jsonschema")
    schema = task_schema(TaskDefinition)
    good = [TASKS_CONTENT, {**TASKS_CONTENT, "input": {"path": "a.npz"}}]
    for content in good:
        jsonschema.validate(content, schema)
        TaskDefinition.model_validate(content)
    for key, value in ("kind", "other"), ("metrik", "x"), ("name", "x"), ("splits", {"val": "x"}):
        content = {**TASKS_CONTENT, key: value}
        if key == "splits":
            jsonschema.validate(content, schema)
            continue
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, schema)
    sweep = json_schema(catalog())["else"]["properties"]
    for text in ("mine/wafer", "pdebench/darcy_2d@hard"):
        jsonschema.validate([text], sweep["tasks"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(["wafer"], sweep["tasks"])


def test_a_task_file_that_is_named_is_read_with_the_others(home):
    assert own_tasks.read_one(Path("tasks/wafer.task.yaml"), [Path("tasks")]) == "mine/wafer"
    with pytest.raises(FileFaults, match=r"wafr\.task\.yaml: no such file\. Did you mean"):
        own_tasks.read_one(Path("tasks/wafr.task.yaml"))
    assert load.state_of("mine/wafer", DataSpec()) == load.TO_IMPORT


def with_uneven_groups(samples: str = "") -> None:
    """Import a task with a few groups of different sizes, and ask for own draws."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(5), [30, 12, 8, 6, 4])
    n = len(group)
    x = rng.normal(size=(n, 1, 8, 8)).astype("f4")
    np.savez("tasks/data/wafer.npz", x=x, y=x**2, group=group)
    text = TASK.replace("classification", "dense") + "splits: {group: group}\n"
    Path("tasks/wafer.task.yaml").write_text(text)
    Path("sweep.yaml").write_text(
        "name: wafers\ninclude: tasks\nmethods: [fno]\ntasks: [mine/wafer]\nsearch: {trials: 2}\n"
        f"replicate: {{seeds: 8}}\ndata: {{seed: replicate{samples}}}\n"
    )
    read()
    import_own("mine/wafer", Path(os.environ["SWEEPER_HOME"]))


def test_draws_of_unequal_size_are_a_note_of_validate_and_plan(home):
    with_uneven_groups()
    (note,) = [each for each in validate(Path("sweep.yaml"), Options()).notes if "in size" in each]
    told = r"mine/wafer: the draws of the seeds differ in size: (\d+) to (\d+) samples in `train`, "
    low, high = map(int, re.findall(told, note)[0])
    sweep = read()
    study = sweep.studies[0]
    sizes = {
        split_sizes("mine/wafer", draws.data_of(study, seed), home)["train"]
        for seed in draws.draws_of(sweep, study, home).values()
    }
    assert (low, high) == (min(sizes), max(sizes))
    planned = plan(Path("sweep.yaml"), Options())
    assert note in planned.notes
    assert planned.studies[0].data.endswith("kB, 9 draws, ready")


def test_a_draw_with_too_few_samples_is_named_before_a_launch(home):
    """Law: the fault is of the smallest draw, so that what it allows is allowed by all."""
    with_uneven_groups(", samples: 40")
    with pytest.raises(UsageError) as refused:
        validate(Path("sweep.yaml"), Options())
    told = r"with the draw of seed \d of 8: .*only (\d+): .*`data.seed: 0`"
    least = int(re.findall(told, str(refused.value))[0])
    assert 8 <= least < 40
    with_uneven_groups(f", samples: {least}")
    assert validate(Path("sweep.yaml"), Options()).studies
