"""The evidence of variants made to rank methods, and the tables that print it."""

import json
from pathlib import Path

import numpy as np
import pytest

import trainables
from sweeper.results.statistics import mean_interval
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks.loading import describe_data
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.registry import TASKS

FOLDER = Path(trainables.__file__).parent
RECORDS = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("evidence/audits/rank/*"))]
PAGE = (FOLDER / "tasks" / "README.md").read_text()
FIELD = ("fno", "dash")  # networks of fields; every other method here has a backbone
BUDGET = 40  # core-minutes a task

# A cell of the page: three figures at most.
number = "{:#.3g}".format
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda each: each["task"])


def values(record, name):
    return np.array([row[name] for row in record["seeds"]])


def margin(record, method, seeds=slice(None)):
    """The mean of floor less method over data seeds, with its interval."""
    gains = (values(record, "floor") - values(record, method))[seeds]
    interval = mean_interval(list(gains))
    assert interval is not None
    return gains.mean(), interval


def floor(record):
    names = " or ".join(sorted({each["predictor"] for each in record["seeds"]}))
    return f"{number(values(record, 'floor').mean())} {names}"


def told(record, method):
    """A method with its error and its margin."""
    gain, (low, high) = margin(record, method)
    error = number(values(record, method).mean())
    return f"{METHODS[method].title} {error}: {number(gain)} ({number(low)} to {number(high)})"


def row(record):
    """The line of the page about a variant.

    Task, definition, training samples and points, floor, coarse solver, twice a method, the methods
    that clear the floor, core-minutes.
    """
    task, minutes = record["task"].removeprefix("pdebench/"), f"{record['core_minutes']:.0f}"
    data = record["data"]
    grid = " x ".join([str(data["resolution"])] * int(TASKS[record["task"]].dimension[0]))
    coarse = number(values(record, "coarse_solver").mean())
    cells = [f"`{task}`", record["definition"], f"{data['train']} of {grid}"]
    cells += [floor(record), coarse, *(told(record, method) for method in record["methods"])]
    cells += [record["one_draw"]] if "one_draw" in record else []  # in place of the eight
    cleared = " and ".join(METHODS[method].title for method in record["cleared_by"]) or "neither"
    return f"| {' | '.join([*cells, cleared, minutes])} |"


@each_record
def test_a_record_is_whole_and_within_its_budget(record):
    assert record["schema"] == 1
    assert 0 < record["core_minutes"] <= BUDGET
    assert [each["seed"] for each in record["seeds"]] == list(range(8))
    assert {each["predictor"] for each in record["seeds"]} <= set(PREDICTORS)


@each_record
def test_a_floor_is_cleared_where_the_margin_over_eight_data_seeds_excludes_zero(record):
    field, *presets = record["methods"]
    assert field in FIELD
    assert (len(presets) == 1) != ("one_draw" in record)
    assert all(METHODS[preset].network is None for preset in presets)
    above = [method for method in record["methods"] if margin(record, method)[1][0] > 0]
    assert record["cleared_by"] == above


@each_record
def test_a_cleared_floor_is_so_without_the_seed_that_chose_the_variant(record):
    for method in record["cleared_by"]:
        assert margin(record, method, slice(1, None))[1][0] > 0


@each_record
def test_a_record_has_the_sizes_of_the_task_s_defaults(record):
    default = describe_data(record["task"], DataSpec())
    assert record["data"] == {**default.splits, "resolution": default.resolution}


@each_record
def test_the_page_prints_what_the_record_gives(record):
    assert row(record) in PAGE.splitlines(), f"the page lacks\n{row(record)}"


def test_every_variant_made_to_rank_has_a_record():
    recorded = {record["task"] for record in RECORDS}
    assert recorded == {name for name in TASKS if name.endswith("@rank")}
