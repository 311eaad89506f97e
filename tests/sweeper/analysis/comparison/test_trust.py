"""Trust in conclusions over tasks: draws of tasks, numbers of tasks that are needed, 1D and 2D."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from sweeper.analysis.comparison.compare import compare, effect
from sweeper.analysis.comparison.comparison import Entry, TaskComparison
from sweeper.analysis.comparison.exports import as_json
from sweeper.analysis.comparison.trust import COUNTS, gaps_between_dimensions, trust_in
from sweeper.analysis.comparison.verdicts import gap_text, trust_texts
from sweeper.analysis.power import detectable_effect
from sweeper.analysis.report.report import render_comparison
from sweeper.cli.main import run
from tests.support.compared_ledgers import Scores, write

TASKS = ["pdebench/a_1d", "pdebench/b_1d", "pdebench/c_1d", "pdebench/d_2d", "pdebench/e_2d"]


def task(name, **means):
    """Return a task on which methods have these means."""
    entries = tuple(
        Entry(label=label, method=label, sweep="s", study=f"{label}/{name}", values={}, mean=mean)
        for label, mean in means.items()
    )
    return TaskComparison(
        task=name, metric="test/nrmse", facts={}, entries=entries, controls=(), budgets=(),
        differences=(), from_control=(), incomparable=(), cautions=(), published=(),
    )  # fmt: skip


def trust(first, second):
    """Return the trust in a comparison of two methods with these means."""
    both = list(zip(first, second, strict=True))
    tasks = [task(f"t{i}", orca=one, pare=two) for i, (one, two) in enumerate(both)]
    pair, _ = of([one / two for one, two in both])
    return trust_in(tasks, [pair], ["orca", "pare"])


def of(ratios, groups=("1D", "2D")):
    """Return an effect with these ratios, the first half of whose tasks are in 1D."""
    tasks = {f"t{i}": ratio for i, ratio in enumerate(ratios)}
    where = {task: (groups[2 * i >= len(tasks)],) for i, task in enumerate(tasks)}
    return effect("orca", "pare", tasks, where), where


def test_a_method_that_wins_everywhere_wins_every_draw():
    found = trust([0.1] * 8, [0.2] * 8)
    assert (found.winner, found.tasks) == ("orca", 8)
    assert found.same_winner == dict.fromkeys(COUNTS, 1.0)
    (pair,) = found.pairs
    assert pair.significant == {4: 0.0, 8: 1.0, 18: 1.0}, "four pairs reach p = 0.125"
    assert pair.same_verdict == pair.significant
    assert pair.tasks_needed == 6


def test_the_share_of_draws_is_that_of_the_binomial():
    """The winner has six of eight tasks, and a draw if most of its tasks are among these."""
    found = trust([0.1] * 6 + [0.2] * 2, [0.15] * 8)
    of_draws = stats.binom(4, 6 / 8)
    expected = 1 - of_draws.cdf(2) + of_draws.pmf(2) / 2
    assert found.same_winner[4] == pytest.approx(expected, abs=0.05)
    shares = [*found.same_winner.values()]
    assert shares == sorted(shares)


def test_equal_methods_and_four_tasks_are_never_significant():
    (same,) = trust([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]).pairs
    assert set(same.significant.values()) == {0.0}
    (clear,) = trust([0.1, 0.2, 0.3, 0.4], [0.2, 0.41, 0.59, 0.81]).pairs
    assert (clear.significant[4], clear.significant[8]) == (0.0, 1.0)  # p is 1/8 at least with four


def test_few_tasks_give_nothing():
    assert trust([0.1] * 2, [0.2] * 2) is None
    assert trust_in((), (), ()) is None


def test_the_tasks_that_a_gain_needs_are_those_of_the_power():
    logs = np.random.default_rng(0).normal(-0.1, 0.2, 12)
    found, _ = of(np.exp(logs))
    needed = trust_in((), [found], ["orca"]).pairs[0].tasks_needed
    size = abs(logs.mean()) / logs.std(ddof=1)
    assert detectable_effect(needed, 0.05) <= size < detectable_effect(needed - 1, 0.05)
    level, _ = of([1.0] * 8)
    assert trust_in((), [level], ["orca"]).pairs[0].tasks_needed is None


def test_dimensions_are_told_apart_by_a_permutation_of_tasks():
    found, groups = of([0.5, 0.51, 0.49, 0.5, 0.9, 0.91, 0.89, 0.9])
    (gap,) = gaps_between_dimensions([found], groups)
    assert gap.ratios == (pytest.approx(0.5, rel=0.01), pytest.approx(0.9, rel=0.01))
    assert gap.p_value == pytest.approx(2 / math.comb(8, 4))
    assert gap.tasks_needed in (2, 3)
    assert "they differ" in gap_text(gap)


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


def test_people_programs_and_pages_get_them(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    studies = [
        Scores(method=method, task=task, best=[value], num_trials=3, epochs=1)
        for method, mean in (("orca", -1.2), ("pare", -1.0))
        for task, value in zip(TASKS, np.exp(rng.normal(mean, 0.2, 5)).tolist(), strict=True)
    ]
    ledger = write(tmp_path / "sweeps/two", "two", studies)
    comparison = compare([ledger])
    told = as_json(comparison)
    json.dumps(told["trust"], allow_nan=False)
    sentences = [*trust_texts(comparison.trust), *map(gap_text, comparison.gaps)]
    assert [*told["trust"]["sentences"], *(g["sentence"] for g in told["dimensions"])] == sentences
    page = render_comparison(comparison)
    monkeypatch.chdir(tmp_path)
    ledger.close()
    assert run(["compare", "two"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for sentence in sentences:
        assert sentence in out
    assert "Would fewer tasks have told?" in page
    assert "tasks of each would tell them apart" in page
