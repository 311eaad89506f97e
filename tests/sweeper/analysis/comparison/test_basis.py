"""The seeds and the data that sentences of differences name."""

import pytest

from sweeper.analysis.comparison.basis import UNKNOWN, Basis, over_tasks
from sweeper.analysis.comparison.compare import compare
from sweeper.analysis.comparison.verdicts import answer
from tests.support.compared_ledgers import Scores

ONE = Basis.of(8, ["a"] * 16, [400] * 16)
OWN = Basis.of(8, [f"{seed}" for seed in range(8)] * 2, [400] * 16)


@pytest.mark.parametrize(
    ("basis", "told"),
    [
        (ONE, "8 seeds, one draw of 400 samples"),
        (OWN, "8 seeds, each with its own draw of 400 samples"),
        (Basis.of(8, ["a", "b"], [400, 300]), "8 seeds, 2 draws of data"),
        (Basis.of(8, ["a", None], [400]), "8 seeds"),
        (UNKNOWN, "8 seeds"),
    ],
)
def test_on_one_task_the_seed_is_the_unit(basis, told):
    assert basis.told(8) == told


@pytest.mark.parametrize(
    ("bases", "told"),
    [
        ([ONE, ONE], "2 tasks, 8 seeds and one draw of data each"),
        ([OWN, OWN], "2 tasks, 8 seeds each, with a draw of data for each seed"),
        (
            [OWN, ONE],
            "2 tasks, 8 seeds each, with a draw of data for each seed, but one for all on one task",
        ),
        ([ONE, Basis.of(5, ["c"], [400])], "2 tasks, up to 8 seeds and one draw of data each"),
        ([ONE, Basis.of(8, [None], [400])], "2 tasks, 8 seeds each"),
        ([ONE], "one task, 8 seeds and one draw of 400 samples each"),
        ([], "0 tasks"),
    ],
)
def test_over_tasks_the_task_is_the_unit(bases, told):
    assert over_tasks(bases).told(len(bases), "task") == told


def test_a_rival_with_fewer_seeds_has_its_own_number(sweep):
    best = [0.2, 0.21, 0.19, 0.22, 0.2, 0.18, 0.21]
    studies = [
        Scores(method=method, task="mine/t", best=values)
        for method, values in (("pare", best), ("mona", [each + 0.1 for each in best[:6]]))
    ]
    (task,) = compare([sweep(*studies)]).tasks
    assert "0.2014 (7 seeds, one draw of 270 samples, 95 %" in answer(task)
    assert "lower than MoNA (0.3, p = 0.03125, 6 seeds)." in answer(task)
    (found,) = task.differences
    assert found.draw == Basis(seeds=6, draws=1, samples=270)
