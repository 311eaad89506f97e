"""Differences over tasks: the number of tasks that they need, and 1D against 2D."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sweeper.cli.main import run
from sweeper.render.json import comparison_as_json
from sweeper.render.page.report import render_comparison
from sweeper.results.compare import compare, effect
from sweeper.results.dimensions import gaps_between_dimensions
from sweeper.results.power import detectable_effect
from sweeper.results.verdicts import across, gap_text
from tests.support.compared_ledgers import Scores, write

TASKS = ["pdebench/a_1d", "pdebench/b_1d", "pdebench/c_1d", "pdebench/d_2d", "pdebench/e_2d"]


def of(ratios, groups=("1D", "2D")):
    """Return an effect with these ratios, the first half of whose tasks are in 1D."""
    tasks = {f"t{i}": ratio for i, ratio in enumerate(ratios)}
    where = {task: (groups[2 * i >= len(tasks)],) for i, task in enumerate(tasks)}
    return effect("orca", "pare", tasks, where), where


def test_the_tasks_that_a_difference_needs_are_those_of_the_power():
    logs = np.random.default_rng(0).normal(-0.1, 0.2, 12)
    needed = of(np.exp(logs))[0].tasks_needed
    size = abs(logs.mean()) / logs.std(ddof=1)
    assert detectable_effect(needed, 0.05) <= size < detectable_effect(needed - 1, 0.05)
    assert of([0.5] * 8)[0].tasks_needed == 6, "five pairs reach p = 0.0625"


@pytest.mark.parametrize("ratios", [[1.0] * 8, [0.5, 0.5], [0.999, 1.0012, 1.0] * 2])
def test_equal_methods_and_two_tasks_tell_no_number(ratios):
    assert of(ratios)[0].tasks_needed is None


def test_dimensions_are_told_apart_by_a_permutation_of_tasks():
    found, groups = of([0.5, 0.51, 0.49, 0.5, 0.9, 0.91, 0.89, 0.9])
    (gap,) = gaps_between_dimensions([found], groups)
    assert gap.ratios == (pytest.approx(0.5, rel=0.01), pytest.approx(0.9, rel=0.01))
    assert gap.p_value == pytest.approx(2 / math.comb(8, 4))
    assert gap.tasks_needed in (2, 3)
    assert "they differ" in gap_text(gap)
    (gap,) = gaps_between_dimensions([replace(found, below_floor=("t0",))], groups)
    assert ": not informative (p = " in gap_text(gap)
    elsewhere = {**groups, "protein": ("dense",)}
    (gap,) = gaps_between_dimensions([replace(found, below_floor=("protein",))], elsewhere)
    assert not gap.is_below_floor


def test_the_number_of_tasks_has_the_power_that_is_asked_for():
    logs = np.random.default_rng(0).normal(0, 0.2, 12)
    logs[6:] += 0.2
    found, groups = of(np.exp(logs))
    (gap,) = gaps_between_dimensions([found], groups)
    rng = np.random.default_rng(7)
    drawn = [
        rng.normal(half.mean(), half.std(ddof=1), (2000, gap.tasks_needed))
        for half in (logs[:6], logs[6:])
    ]
    share = np.mean(stats.ttest_ind(*drawn, axis=1, equal_var=False).pvalue < 0.05)
    assert share == pytest.approx(0.8, abs=0.05)


def test_groups_that_do_not_differ_need_too_many_and_one_task_is_no_group():
    found, groups = of([0.5, 0.7, 0.6, 0.5, 0.7, 0.6])
    (gap,) = gaps_between_dimensions([found], groups)
    assert gap.tasks_needed is None
    assert "cannot distinguish" in gap_text(gap)
    assert "more than 1000 tasks" in gap_text(gap)
    alone, where = of([0.5, 0.6])
    assert gaps_between_dimensions([alone], where) == ()


@pytest.mark.slow
def test_people_programs_and_pages_get_them(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    studies = [
        Scores(method=method, task=task, best=[value], num_trials=3, epochs=1)
        for method, mean in (("orca", -1.2), ("pare", -1.0))
        for task, value in zip(TASKS, np.exp(rng.normal(mean, 0.2, 5)).tolist(), strict=True)
    ]
    ledger = write(tmp_path / "sweeps/two", "two", studies)
    comparison = compare([ledger])
    told = comparison_as_json(comparison)
    json.dumps([told["effects"], told["dimensions"]], allow_nan=False)
    sentences = [*map(across, comparison.effects), *map(gap_text, comparison.gaps)]
    assert [each["sentence"] for each in (*told["effects"], *told["dimensions"])] == sentences
    assert "tasks would show a difference of this size with a power of 80 %" in sentences[0]
    page = render_comparison(comparison)
    monkeypatch.chdir(tmp_path)
    ledger.close()
    assert run(["compare", "two"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for sentence in sentences:
        assert sentence in out
    assert "tasks would show a difference of this size" in page
    assert "tasks of each would tell them apart" in page
