"""Comparisons of replicates that have their own draws of the data: hashes, floors and sentences."""

import csv
import io
from collections import defaultdict

import pytest

from sweeper.model import DataDraw, Floor, StudyFacts
from sweeper.render.frames import as_csv, trial_rows
from sweeper.render.page.figures import scores as scores_figure
from sweeper.render.page.sections import results_section
from sweeper.results.claims import evaluate, observations_of
from sweeper.results.compare import DIVIDED, compare
from sweeper.results.comparison import Verdict
from sweeper.results.floors import beside, floors_at
from sweeper.results.read import read_studies
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.spec.schema import Claim
from sweeper.tracking.outline import Entity, identity_tags, read_outline
from tests.support.compared_ledgers import FIRST_REPLICATE, Scores, write

TASK, OTHER = "pdebench/advection_1d", "pdebench/darcy_2d"
SEEDS = range(100, 108)
# Data differ more than methods: `better` is .01 below its floor on each draw, and its values lie
# on both sides of the floor of the search.
FLOORS = [0.10, 0.30, 0.15, 0.25, 0.12, 0.28, 0.20, 0.24]
BETTER = [value - 0.01 - 0.0001 * i for i, value in enumerate(FLOORS)]
WORSE = [value + 0.01 + 0.0001 * i for i, value in enumerate(FLOORS)]
SEARCH = {"name": "ridge", "value": 0.2, "validation": 0.2, "seconds": 0.1}


def draws_of(floors=FLOORS, *, own="draw"):
    """Return the recorded draws of seeds, each with its floor."""
    return {
        str(seed): {
            "seed": 7 * seed,
            "content_hash": f"{own}{seed}",
            "floor": {"name": "ridge", "value": value, "validation": value, "seconds": 0.1},
        }
        for seed, value in zip(SEEDS, floors, strict=False)
    }


def sweep(folder, name="s", *, draws=None, tasks=(TASK,), methods=("pare", "mona"), n=8):
    facts = {"floor": SEARCH, "draws": draws_of() if draws is None else draws}
    scores = [
        Scores(method=method, task=task, best=best[:n], control=WORSE[:n], facts=facts)
        for task in tasks
        for method, best in zip(methods, (BETTER, WORSE), strict=False)
    ]
    return write(folder / name, name, scores)


def test_a_seed_has_the_floor_of_its_draw_and_other_seeds_that_of_the_search():
    facts = {"floor": SEARCH, "draws": draws_of(FLOORS[:3])}
    found = floors_at(StudyFacts.from_json(facts), [100, 102, 3])
    assert {seed: floor.value for seed, floor in found.items()} == {100: 0.10, 102: 0.15, 3: 0.2}


def test_an_arm_is_paired_with_the_floor_of_each_draw():
    """Law: what all seeds of a draw have in common does not hide a difference to the floor."""
    errors = dict(zip(SEEDS, BETTER, strict=True))
    own = floors_at(StudyFacts.from_json({"floor": SEARCH, "draws": draws_of()}), errors)
    one = floors_at(StudyFacts.from_json({"floor": SEARCH}), errors)
    assert beside(TASK, errors, own).is_beaten
    assert beside(TASK, errors, own).is_tested
    assert not beside(TASK, errors, one).is_beaten
    some = {seed: floor for seed, floor in own.items() if seed < 104}
    assert beside(TASK, errors, some).mean == pytest.approx(sum(BETTER[:4]) / 4)


@pytest.mark.parametrize(("own", "cautions"), [("draw", ()), ("samples-", (DIVIDED,))])
def test_a_comparison_pairs_draws_and_says_that_each_seed_has_its_own(tmp_path, own, cautions):
    found = compare([sweep(tmp_path, draws=draws_of(own=own))])
    (task,) = found.tasks
    assert not task.incomparable
    assert task.cautions == cautions
    (difference,) = task.differences
    assert difference.verdict is not Verdict.NOT_INFORMATIVE
    assert difference.floor.is_beaten
    assert difference.floor.floor.value == pytest.approx(sum(FLOORS) / 8)
    assert task.floor.value == pytest.approx(sum(FLOORS) / 8)
    assert task.floor.is_beaten


@pytest.mark.slow
def test_a_method_has_the_floors_of_its_own_data_in_any_order_of_sweeps(tmp_path):
    """Law: the draws of another sweep, with the same seeds, change nothing of a method."""
    low, high = ([value + by for value in FLOORS] for by in (-0.02, 0.0))
    small = sweep(tmp_path, "small", methods=("pare",), draws=draws_of(low))
    large = sweep(tmp_path, "large", methods=("pare",), draws=draws_of(high, own="large"))
    one = sweep(tmp_path, "one", methods=("pare",), draws={})
    found = {"small": (sum(low) / 8, False), "large": (sum(high) / 8, True), "one": (0.2, False)}
    for ledgers in ((small, large, one), (one, large, small)):
        (task,) = compare(ledgers).tasks
        floors = {each.sweep: each.floor for each in task.entries}
        assert {k: (v.value, v.is_beaten) for k, v in floors.items()} == {
            name: (pytest.approx(value), is_beaten) for name, (value, is_beaten) in found.items()
        }
        against = {each.first: each.floor.is_beaten for each in task.from_control}
        assert against == {f"{name}:pare": beaten for name, (_, beaten) in found.items()}


@pytest.mark.parametrize("order", [(64, 256), (256, 64)])
def test_arms_on_other_data_have_their_own_floors_in_any_order(tmp_path, order):
    errors = {64: WORSE, 256: BETTER}
    floors = {64: [value - 0.05 for value in FLOORS], 256: FLOORS}
    arms = [
        Scores(method="nft", task=TASK, arm=f"data.samples={n}", best=errors[n],
               facts={"floor": SEARCH, "draws": draws_of(floors[n], own=f"of{n}.")})
        for n in order
    ]  # fmt: skip
    ledger = write(tmp_path, "s", arms, compare_by={"data.samples": [*order]})
    claim = Claim(says="x", contrast=["data.samples=256", "data.samples=64"], expect="better")
    (result,) = evaluate([claim], observations_of(read_studies([ledger])))
    assert result.verdict == "holds here"
    assert "8 seeds, each with its own draw of 270 samples" in result.sentence


def test_floors_in_tables_and_figures_are_of_the_seeds_that_have_values(tmp_path):
    comparison = compare([sweep(tmp_path, n=3)])
    (task,) = comparison.tasks
    assert scores_figure(task, defaultdict(str)).rule == pytest.approx(0.55 / 3)
    assert "0.1833 (ridge)" in str(results_section(comparison)["numbers"].lines)


def test_hashes_that_differ_at_their_ends_are_of_different_data(tmp_path):
    ledgers = [
        write(tmp_path / name, name,
              [Scores(method=method, task=TASK, best=BETTER,
                      facts={"content_hash": f"{'0f' * 32}-{name * 20}"})])
        for name, method in (("a", "pare"), ("b", "mona"))
    ]  # fmt: skip
    (task,) = compare(ledgers).tasks
    (reason,) = task.incomparable
    assert f"-{'a' * 20}; " in reason
    assert reason.endswith(f"-{'b' * 20}")


@pytest.mark.parametrize(
    ("draws", "n", "text"),
    [
        (None, 8, "8 seeds, each with its own draw of 270 samples"),
        ({}, 8, "8 seeds, one draw of 270 samples"),
        (
            draws_of(own="samples-"),
            8,
            "8 seeds, each with its own overlapping division of 270 samples",
        ),
        (draws_of(FLOORS[:2]), 3, "3 seeds, each with its own draw of 270 samples"),
        (draws_of(FLOORS[:2]), 4, "4 seeds, 3 draws of 270 samples"),
    ],
)
def test_a_claim_names_seeds_and_draws(tmp_path, draws, n, text):
    studies = read_studies([sweep(tmp_path, draws=draws, n=n)])
    claim = Claim(says="x", contrast=["pare", "mona"], expect="better")
    (result,) = evaluate([claim], observations_of(studies))
    assert text in result.sentence


@pytest.mark.slow
def test_a_claim_over_tasks_names_the_task_that_keeps_one_draw(tmp_path):
    facts = ({"draws": draws_of()}, {"draws": {}})
    ledger = write(
        tmp_path, "s",
        [Scores(method=method, task=task, best=best, control=WORSE, facts=each)
         for task, each in zip((TASK, OTHER), facts, strict=True)
         for method, best in (("pare", BETTER), ("mona", WORSE))],
    )  # fmt: skip
    claim = Claim(says="x", contrast=["pare", "mona"], expect="better")
    (result,) = evaluate([claim], observations_of(read_studies([ledger])))
    assert (
        "2 tasks, 8 seeds each, with a draw of data for each seed, but one for all on one task"
    ) in result.sentence


@pytest.mark.parametrize(
    ("other", "is_comparable"),
    [
        (draws_of(), True),
        (draws_of(FLOORS[:8]) | {"999": {"seed": 1, "content_hash": "z", "floor": None}}, True),
        (draws_of(own="another"), False),
        ({}, False),
    ],
)
def test_sweeps_are_compared_if_their_common_seeds_have_the_same_draws(
    tmp_path, other, is_comparable
):
    ledgers = [
        sweep(tmp_path, "one", methods=("pare",)),
        sweep(tmp_path, "two", methods=("mona",), draws=other),
    ]
    (task,) = compare(ledgers).tasks
    assert bool(task.differences) == is_comparable
    assert any(text.startswith("data differ") for text in task.incomparable) != is_comparable


def test_each_trial_has_the_hash_and_the_floor_of_its_data_in_tables_and_mlflow(tmp_path):
    ledger = sweep(tmp_path)
    (study, *_) = ledger.studies()
    table = [
        row
        for row in csv.DictReader(io.StringIO(as_csv(trial_rows(read_studies([ledger])))))
        if row["study"] == study.name
    ]
    rows = {int(row["trial"]): row["content_hash"] for row in table}
    floors = {row["content_hash"]: float(row["floor"]) for row in table}
    assert floors == {
        "0f3a" * 16: SEARCH["value"],
        **{f"draw{seed}": value for seed, value in zip(SEEDS, FLOORS, strict=False)},
    }
    outline = read_outline(ledger)
    tags = {
        number: identity_tags(Entity(study.name, number), outline)["sweeper.content_hash"]
        for number in rows
    }
    assert rows == tags
    own = {rows[number] for number in rows if number >= FIRST_REPLICATE}
    assert own == {f"draw{seed}" for seed in SEEDS}
    assert {rows[n] for n in rows if n < FIRST_REPLICATE} == {"0f3a" * 16}


def test_evidence_keeps_draws(tmp_path):
    ledger = sweep(tmp_path)
    seen = observations_of(read_evidence(ledger).sweep.studies)
    assert {(each.seed, each.draw) for each in seen} == {(s, f"draw{s}") for s in SEEDS}
    assert [each.floor.value for each in seen[:8]] == FLOORS


def test_facts_without_draws_are_read_as_before():
    assert StudyFacts.from_json({"content_hash": "a"}).draws == {}
    again = StudyFacts.from_json({"draws": draws_of()})
    assert again.draws["101"] == DataDraw(
        seed=707, content_hash="draw101", floor=Floor(**draws_of()["101"]["floor"])
    )


def test_the_command_says_it(tmp_path, printed):
    sweep(tmp_path)
    assert "each seed with its own draw" in printed("compare", "s")
