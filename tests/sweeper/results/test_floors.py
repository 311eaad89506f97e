"""The floor of a task: which predictor it is, and what is said of results beside it."""

import itertools
import json

import pytest

from sweeper.driver.pages import note, report_of
from sweeper.model import Floor, StudyFacts
from sweeper.results.compare import compare
from sweeper.results.floors import TaskResult, floors_at, of_best, over_tasks, sentences
from sweeper.results.floors import verdict as verdict_beside
from sweeper.results.verdicts import answer, headline
from tests.support.compared_ledgers import Scores

TASK, DARCY = "mine/gunpoint", "mine/darcy"
FACTS = {"baselines": {"majority": 0.507, "ridge": 0.207, "knn": 0.093}}
LOSES = (
    "NFT and PaRe, 0.3133, do not beat nearest neighbours, 0.093, which are 3.4 times better (not "
    "tested)."
)
BEST = "the best predictor without a network"


def verdict(errors, facts):
    return verdict_beside(errors, floors_at(StudyFacts.from_json(facts), errors))


def results(facts, *tests: float | None) -> list[TaskResult]:
    return [
        TaskResult(name=name, test=test, floor=None if test is None else verdict({1: test}, facts))
        for name, test in zip("ABC", tests, strict=False)
    ]


@pytest.mark.parametrize(
    ("facts", "predictor"),
    [
        (FACTS, "knn"),
        ({**FACTS, "floor": {"name": "ridge", "value": 0.207, "validation": 0.1}}, "ridge"),
        ({**FACTS, "floor": None}, "knn"),
        ({"baselines": {"ridge": float("nan"), "mean": 1.0, "knn": None}}, "mean"),
        ({"baselines": {}}, None),
        ({}, None),
    ],
)
def test_the_floor_is_chosen_by_validation_where_it_is_recorded(facts, predictor):
    floor = StudyFacts.from_json(facts).floor_or_lowest
    assert (floor and floor.name) == predictor


def test_the_error_that_is_told_is_of_the_data_that_have_a_floor():
    """A seed without a floor has a far lower error, which the verdict leaves out."""
    floor = Floor(name="ridge", value=0.3)
    found = verdict_beside({1: 0.4, 2: 0.4, 3: 0.04}, {1: floor, 2: floor})
    (told,) = sentences([TaskResult(name="A", test=0.28, floor=found)])
    assert told == "A, 0.4, does not beat ridge regression, 0.3, which is 25 % better (not tested)."


@pytest.mark.parametrize(
    ("tests", "floor", "text"),
    [
        ((0.31,), 0.093, "A, 0.31, does not beat {}, 0.093, which is 3.3 times better"),
        ((0.25, None), 0.2, "A, 0.25, does not beat {}, 0.2, which is 20 % better"),
        ((0.25, 0.25, 0.3), 0.25, "A and B, 0.25, are level with {}, 0.25"),
        ((0.5, 0.2333), 0.2528, f"B, 0.2333, is 7.7 % better than {{}}, 0.2528, {BEST}"),
        ((0.0,), 0.125, f"A, 0, is better than {{}}, 0.125, {BEST}"),
        ((0.1,), 0.0, "A, 0.1, does not beat {}, 0"),
    ],
)
def test_the_best_result_is_told_beside_the_floor(tests, floor, text):
    assert sentences(results({"baselines": {"ridge": floor}}, *tests)) == [
        f"{text.format('ridge regression')} (not tested)."
    ]


SEEDS = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18, 0.21, 0.19]  # mean 0.2


@pytest.mark.parametrize(
    ("floor", "text"),
    [
        (0.3, f"A, 0.2, is 33 % better than ridge regression, 0.3, {BEST}."),
        (0.205, "A, 0.2, is 2.4 % better than ridge regression, 0.205, by the mean, but not by the "
         "95 % interval over seeds."),
    ],
)  # fmt: skip
def test_over_enough_seeds_the_interval_decides_and_not_the_mean(floor, text):
    facts = {"baselines": {"ridge": floor}}
    assert sentences(
        [TaskResult(name="A", test=0.2, floor=verdict(dict(enumerate(SEEDS)), facts))]
    ) == [text]


def test_nothing_is_said_without_a_value_or_a_floor():
    assert sentences(results(FACTS, None)) == sentences(results({}, 0.1)) == []
    assert verdict({}, FACTS) is None


def test_of_several_that_tie_one_that_loses_is_told_in_any_order():
    tied = [
        *results({"baselines": {"ridge": 0.3}}, 0.2),
        *results({"baselines": {"mean": 0.1}}, 0.2),
    ]
    for some in itertools.permutations([*tied, TaskResult(name="D", test=0.2)]):
        assert of_best(some).predictor == "mean"
    assert of_best([TaskResult(name="D", test=0.2), tied[0]]) == tied[0].floor


def test_a_preset_that_loses_to_its_control_is_told_with_its_size():
    loser = TaskResult(name="MoNA", test=0.2, preset=0.4131, control=0.2333)
    level = TaskResult(name="PaRe", test=0.2, preset=0.2334, control=0.2333)
    assert sentences([loser, level]) == [
        "MoNA's preset, 0.4131, is 77 % worse than its control, 0.2333 (one seed)."
    ]


def test_over_tasks_those_without_a_method_that_beats_the_floor_are_named():
    facts = {"baselines": {"mean": 0.25}}
    beaten, below = verdict({1: 0.2}, facts), verdict({1: 0.3}, facts)
    told = "On 1 of 2 tasks the best method does not beat the best predictor without a network: {}."
    assert over_tasks({"a": beaten, "b": below, "c": None}) == told.format("b (not tested)")
    assert over_tasks({"a": beaten, "b": beaten}).endswith("on each of 2 tasks (not tested).")
    tested = verdict(dict(enumerate(SEEDS)), facts)
    assert over_tasks({"a": tested, "b": tested}).endswith("on each of 2 tasks.")
    assert over_tasks({"a": tested, "b": beaten}).endswith("2 tasks (not tested on b).")
    assert over_tasks({"a": None}) == ""


@pytest.fixture
def tied(sweep):
    best = {"nft": 0.3133, "pare": 0.3133, "mona": 0.3533}
    studies = [Scores(method=m, task=TASK, best=[v], facts=FACTS) for m, v in best.items()]
    return sweep(*studies, name="tied")


def test_a_tie_names_all_that_share_the_lowest_error(tied):
    (task,) = compare([tied]).tasks
    assert answer(task).startswith(
        f"On {TASK}, NFT and PaRe share the lowest test nRMSE, 0.3133 (one seed, one draw of 270 "
        f"samples): 11 % below MoNA (0.3533). {LOSES} "
    )
    assert task.floor == verdict({1: 0.3133}, FACTS)


def test_a_headline_over_tasks_counts_those_below_the_floor(sweep):
    facts = {"baselines": {"mean": 0.1}}
    studies = [
        Scores(method="mona", task=TASK, best=[0.2], facts=facts),
        Scores(method="mona", task=DARCY, best=[0.05], facts=facts),
    ]
    assert headline(compare([sweep(*studies)])).endswith(f"a network: {TASK} (not tested).")


@pytest.mark.slow
def test_a_headline_and_a_verdict_follow_one_rule(sweep):
    """A mean below the floor is not enough if the interval over seeds has the floor."""
    facts = {"baselines": {"ridge": 0.205}}
    worse = [value + 0.1 for value in SEEDS]
    studies = [
        Scores(method=method, task=task, best=best, control=worse, facts=facts)
        for task in (TASK, DARCY)
        for method, best in (("pare", SEEDS), ("mona", worse))
    ]
    comparison = compare([sweep(*studies)])
    assert all(task.results[0].test < 0.205 for task in comparison.tasks), "lower by the means"
    assert [task.differences[0].verdict for task in comparison.tasks] == ["not informative"] * 2
    assert headline(comparison).endswith(f"a network: {TASK} and {DARCY}.")
    assert [task.floor.is_beaten for task in comparison.tasks] == [False] * 2


def test_a_method_of_a_plugin_has_its_title_where_the_plugin_is_not(sweep, printed):
    facts = {**FACTS, "method_title": "LP-FT"}
    ledger = sweep(Scores(method="lpft", task=TASK, best=[0.3], facts=facts), name="own")
    page = report_of(ledger)
    assert "LP-FT, 0.3, does not beat nearest neighbours" in page
    assert "LP-FT on mine/gunpoint" in page
    for command in ("status", "compare"):
        assert "LP-FT, 0.3, does not beat" in printed(command, "own")


def test_the_best_arm_of_an_ablation_stands_beside_the_floor(sweep, printed):
    arms = {"refine.freeze=none": [0.3], "refine.freeze=body": [0.4]}
    studies = [Scores(method="nft", task=TASK, best=b, facts=FACTS, arm=a) for a, b in arms.items()]
    sweep(*studies, name="arms")
    told = f"{TASK}: NFT with refine.freeze=none, 0.3, does not beat nearest neighbours"
    assert told in printed("status", "arms")


def test_the_solver_has_a_line_of_its_own_with_its_seconds(sweep, printed):
    solver = {"name": "coarse_solver", "value": 0.001, "seconds": 2e-4, "samples": 64}
    facts = {**FACTS, "solver": solver}
    studies = [Scores(method=m, task=TASK, best=[0.05], facts=facts) for m in ("nft", "pare")]
    ledger = sweep(*studies, name="solved")
    told = "solver on a quarter of the resolution has 0.001 in 2e-4 core-seconds a sample"
    (task,) = compare([ledger]).tasks
    assert task.floor is not None
    assert (task.floor.predictor, task.floor.is_beaten) == ("knn", True)
    assert told in report_of(ledger)
    for command in ("status", "compare"):
        assert told in printed(command, "solved")


@pytest.mark.slow
def test_every_view_says_it(tied, printed):
    assert LOSES in note(tied, None)
    page = report_of(tied)
    assert page.count(LOSES) == 1, "the page is about one task and begins with it"
    assert "dotted: nearest neighbours, 0.093" in page
    for command in ("status", "compare"):
        assert LOSES in printed(command, "tied")
    found = json.loads(printed("status", "tied", "--json"))
    assert f"{TASK}: {LOSES}" in found["notes"]
    (study, *_) = found["studies"]
    floor = {"predictor": "knn", "value": 0.093, "is_beaten": False}
    assert {**study["floor"], **floor} == study["floor"]
    (task,) = json.loads(printed("compare", "tied", "--json"))["tasks"]
    assert task["floor"]["ratio"] == pytest.approx(0.3133 / 0.093)
