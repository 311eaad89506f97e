"""The evidence of tasks that can rank methods, and the table that prints it."""

import json
from pathlib import Path

import numpy as np
import pytest

import trainables
from sweeper.analysis.statistics import mean_interval
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks.loading import describe_data
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.registry import TASKS

FOLDER = Path(trainables.__file__).parent
RECORDS = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("evidence/audits/rank/*"))]
FOUND = [record for record in RECORDS if record["task"].endswith("@rank")]
PAGE = (FOLDER / "tasks" / "README.md").read_text()
FIELD = ("fno", "dash")  # networks of fields; every other method here has a backbone
BUDGET = 40  # core-minutes a task

# A cell of the page: three figures at most.
number = "{:#.3g}".format
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda each: each["task"])
each_found = pytest.mark.parametrize("record", FOUND, ids=lambda each: each["task"])


def values(record, name):
    return np.array([row[name] for row in record["seeds"]])


def margin(record, method):
    """The mean of floor less method over data seeds, with its interval."""
    gains = values(record, "floor") - values(record, method)
    interval = mean_interval(list(gains))
    assert interval is not None
    return gains.mean(), interval


def row(record):
    """The line of the page about a task.

    Of a task that can rank: task, definition, training samples and points, floor, twice a method
    with its error and its margin, core-minutes. Else: task, what was tried, core-minutes.
    """
    task, minutes = record["task"].removeprefix("pdebench/"), f"{record['core_minutes']:.0f}"
    if record not in FOUND:
        return f"| `{task}` | {record['tried']} | {minutes} |"
    data = record["data"]
    grid = " x ".join([str(data["resolution"])] * int(TASKS[record["task"]].dimension[0]))
    sizes = f"{data['train']} of {grid}"
    predictors = " or ".join(sorted({each["predictor"] for each in record["seeds"]}))
    cells = [f"`{task}`", record["definition"], sizes]
    cells.append(f"{number(values(record, 'floor').mean())} {predictors}")
    for method in record["methods"]:
        gain, (low, high) = margin(record, method)
        error = number(values(record, method).mean())
        told = f"{number(gain)} ({number(low)} to {number(high)})"
        cells.append(f"{METHODS[method].title} {error}: {told}")
    return f"| {' | '.join([*cells, minutes])} |"


@each_record
def test_a_record_is_whole_and_within_its_budget(record):
    assert record["schema"] == 1
    assert 0 < record["core_minutes"] <= BUDGET
    assert record["task"].partition("@")[0] in TASKS
    assert record in FOUND or f"{record['task']}@rank" not in TASKS


@each_found
def test_a_task_that_can_rank_has_two_networks_below_its_floor_on_eight_data_seeds(record):
    assert [each["seed"] for each in record["seeds"]] == list(range(8))
    assert {each["predictor"] for each in record["seeds"]} <= set(PREDICTORS)
    field, preset = record["methods"]
    assert field in FIELD
    assert METHODS[preset].network is None
    for method in (field, preset):
        assert margin(record, method)[1][0] > 0


@each_found
def test_a_record_has_the_sizes_of_the_task_s_defaults(record):
    default = describe_data(record["task"], DataSpec())
    assert record["data"] == {**default.splits, "resolution": default.resolution}


@each_record
def test_the_page_prints_what_the_record_gives(record):
    assert row(record) in PAGE.splitlines(), f"the page lacks\n{row(record)}"


def test_every_task_that_can_rank_has_a_record():
    recorded = {record["task"] for record in FOUND}
    assert recorded == {name for name in TASKS if name.endswith("@rank")}
