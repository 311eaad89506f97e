"""The seeds and the data that sentences of differences name."""

import pytest

from sweeper.results.basis import UNKNOWN, Basis, over_tasks
from sweeper.results.compare import compare
from sweeper.results.verdicts import answer
from tests.support.compared_ledgers import Scores

ONE = Basis.of(8, [["a"] * 8] * 2, [400] * 16)


def own(seeds: int, draws: int | None = None, arms: str = "ab") -> Basis:
    """Return the basis of arms with their own data, on some draws; None: one for each seed."""
    hashes = [[f"{arm}{seed % (draws or seeds)}" for seed in range(seeds)] for arm in arms]
    return Basis.of(seeds, hashes, [400] * seeds)


OWN = own(8, arms="aa")
DIVIDED = Basis.of(8, [[f"a-{seed}" for seed in range(8)]] * 2, [400] * 16)


@pytest.mark.parametrize(
    ("basis", "told"),
    [
        (ONE, "8 seeds, one draw of 400 samples"),
        (OWN, "8 seeds, each with its own draw of 400 samples"),
        (own(8), "8 seeds, each with its own draw of 400 samples"),
        (DIVIDED, "8 seeds, each with its own overlapping division of 400 samples"),
        (own(8, 3), "8 seeds, 3 draws of 400 samples"),
        (Basis.of(8, [["a"] * 8, ["b"] * 8], [400, 300]), "8 seeds, one draw of data"),
        (Basis.of(8, [["a", None]], [400]), "8 seeds"),
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
        ([ONE, Basis.of(5, [["c"]], [400])], "2 tasks, up to 8 seeds and one draw of data each"),
        ([ONE, Basis.of(8, [[None]], [400])], "2 tasks, 8 seeds each"),
        ([ONE], "one task, 8 seeds and one draw of 400 samples each"),
        ([], "0 tasks"),
        (
            [ONE, own(7)],
            "2 tasks, up to 8 seeds each, with a draw of data for each seed, but one for all on "
            "one task",
        ),
        (
            [own(8), own(8, 3)],
            "2 tasks, 8 seeds each, with a draw of data for each seed, but fewer on one task",
        ),
        (
            [own(8), ONE, ONE, own(8, 3)],
            "4 tasks, 8 seeds each, with a draw of data for each seed, but one for all on 2 tasks "
            "and fewer on one task",
        ),
        ([own(8, 3), own(8, 2)], "2 tasks, 8 seeds each, with fewer draws of data than seeds"),
        ([own(8, 3), ONE], "2 tasks, 8 seeds each, with fewer draws of data than seeds"),
        ([own(8, 3)], "one task, 8 seeds and 3 draws of 400 samples each"),
        ([own(8), own(1)], "2 tasks, up to 8 seeds each, with a draw of data for each seed"),
        (
            [DIVIDED, DIVIDED],
            "2 tasks, 8 seeds each, with an overlapping division of data for each seed",
        ),
        ([DIVIDED, OWN], "2 tasks, 8 seeds each, with a draw of data for each seed"),
        ([own(1), own(1)], "2 tasks, one seed and one draw of data each"),
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
    assert found.draw == Basis(seeds=6, draws=1, undrawn=1, samples=270)
