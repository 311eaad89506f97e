"""The evidence of variants made to rank methods, and the tables that print it."""

import json
from pathlib import Path

import pytest

import trainables
from sweeper.results.reproduction.audits import read_variants
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks.loading import describe_data
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.registry import TASKS

FOLDER = Path(trainables.__file__).parent
RECORDS = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("evidence/audits/rank/*"))]
VARIANTS = {each.task: each for each in read_variants([FOLDER / "evidence"])}
PAGE = (FOLDER / "tasks" / "README.md").read_text()
FIELD = ("fno", "dash")  # networks of fields; every other method here has a backbone
BUDGET = 40  # core-minutes a task

# A cell of the page: three figures at most.
number = "{:#.3g}".format
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda each: each["task"])


def floor(record):
    found = VARIANTS[record["task"]]
    return f"{number(found.floor)} {' or '.join(sorted(found.predictors))}"


def told(margin):
    """A method with its error and its margin."""
    low, high = margin.interval
    gain = f"{number(margin.mean)} ({number(low)} to {number(high)})"
    return f"{METHODS[margin.method].title} {number(margin.error)}: {gain}"


def row(record):
    """The line of the page about a variant.

    Task, definition, training samples and points, floor, coarse solver, twice a method, the methods
    that clear the floor, core-minutes.
    """
    task, minutes = record["task"].removeprefix("pdebench/"), f"{record['core_minutes']:.0f}"
    data = record["data"]
    grid = " x ".join([str(data["resolution"])] * int(TASKS[record["task"]].dimension[0]))
    found = VARIANTS[record["task"]]
    cells = [f"`{task}`", record["definition"], f"{data['train']} of {grid}"]
    cells += [floor(record), number(found.coarse_solver), *map(told, found.margins)]
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
    above = [each.method for each in VARIANTS[record["task"]].margins if each.clears]
    assert record["cleared_by"] == above


@each_record
def test_a_cleared_floor_is_so_without_the_seed_that_chose_the_variant(record):
    cleared = [each for each in VARIANTS[record["task"]].margins if each.clears]
    assert all(each.clears_without_first for each in cleared)


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
