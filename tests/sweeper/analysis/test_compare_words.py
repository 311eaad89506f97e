"""What is said of a comparison: no more than the numbers allow."""

import pytest

from sweeper.analysis.compare import compare
from sweeper.analysis.compare_words import across, answer, headline, limits, name, notes, percent
from tests.compared_ledgers import Scores, write

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
SIX = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]


def compared(folder, *studies: Scores, **options):
    return compare([write(folder, "s", studies)], **options)


def scores(method: str, by: float = 0.0, task: str = ADVECTION, n: int = 6, **options) -> Scores:
    values = [value + by for value in SIX[:n]]
    return Scores(method=method, task=task, best=values, **options)


def test_names_in_prose():
    assert [name(label) for label in ("pare", "a:mona", "control")] == [
        "PaRe", "MoNA (a)", "vanilla fine-tuning",
    ]  # fmt: skip


def test_a_winner_is_named_with_its_numbers(tmp_path):
    (task,) = compared(tmp_path, scores("pare"), scores("mona", 0.1)).tasks
    assert answer(task) == (
        "On pdebench/advection_1d, PaRe has the lowest test nRMSE, 0.2 (6 seeds, 95 % interval "
        "0.19 to 0.21): lower than MoNA (0.3, p = 0.03125)."
    )


def test_what_cannot_be_distinguished_is_not_called_lower(tmp_path):
    (task,) = compared(tmp_path, scores("pare", n=5), scores("mona", 0.1, n=5)).tasks
    assert answer(task).endswith("): cannot distinguish it from MoNA (0.304, p = 0.0625).")
    assert (
        "Nothing can be significant: one comparison at 0.05 needs 6 paired seeds, and there are 5, "
        "whose smallest reachable p is 0.0625." in notes(task)
    )


def test_one_seed_is_said_to_show_nothing(tmp_path):
    (task,) = compared(tmp_path, scores("pare", n=1), scores("mona", 0.1, n=1)).tasks
    assert answer(task) == (
        "On pdebench/advection_1d, PaRe has the lowest test nRMSE, 0.2 (one seed): cannot "
        "distinguish it from MoNA (0.3, one seed)."
    )
    assert limits(task.differences).endswith("and there is one, whose smallest reachable p is 1.")


def test_three_methods_share_a_sentence(tmp_path):
    studies = [scores("pare"), scores("mona", 0.001), scores("nft", 0.1)]
    (task,) = compared(tmp_path, *studies).tasks
    assert "3 comparisons at 0.05 need 7 paired seeds" in limits(task.differences)
    assert answer(task).endswith(
        "cannot distinguish it from MoNA (0.201, p = 0.09375) and NFT (0.3, p = 0.09375)."
    )


def test_a_pair_that_a_baseline_leaves_out_is_not_compared(tmp_path):
    studies = [scores("pare"), scores("mona", 0.05), scores("nft", 0.1)]
    (task,) = compared(tmp_path, *studies, baseline="nft").tasks
    assert "not compared with MoNA; cannot distinguish it from NFT" in answer(task)


def test_a_lone_method_is_compared_with_its_control(tmp_path):
    control = [value + 0.1 for value in SIX]
    (task,) = compared(tmp_path, scores("pare", control=control)).tasks
    assert answer(task).endswith("): lower than vanilla fine-tuning (0.3, p = 0.03125).")
    assert "with one comparison against vanilla fine-tuning at 0.05" in limits(task.from_control)


def test_no_complete_trial_is_no_answer(tmp_path):
    (task,) = compared(tmp_path, scores("pare", num_trials=0)).tasks
    assert answer(task) == "No answer on pdebench/advection_1d yet: no trial is complete."
    assert "pare: no trial is complete" in notes(task)


def test_the_headline_over_tasks_counts_what_is_significant(tmp_path):
    found = compared(
        tmp_path, scores("pare"), scores("mona", 0.1),
        scores("pare", task=DARCY), scores("mona", 0.001, task=DARCY, n=5),
    )  # fmt: skip
    assert headline(found) == (
        "PaRe has the best average rank, 1 over 2 tasks (MoNA 2); against MoNA it is significantly "
        "better on 1 task and cannot be distinguished on 1 task."
    )


def test_a_shared_best_rank_is_said_to_be_shared(tmp_path):
    found = compared(
        tmp_path, scores("pare"), scores("mona", 0.1),
        scores("pare", 0.1, task=DARCY), scores("mona", task=DARCY),
    )  # fmt: skip
    assert headline(found) == (
        "PaRe and MoNA share the best average rank, 1.5 over 2 tasks; against MoNA PaRe is "
        "significantly better on 1 task and is significantly worse on 1 task."
    )


def test_a_lone_methods_headline_is_about_vanilla_fine_tuning(tmp_path):
    found = compared(
        tmp_path, scores("pare", control=[v + 0.1 for v in SIX]), scores("pare", task=DARCY)
    )
    assert headline(found) == (
        "Over 2 tasks, against vanilla fine-tuning PaRe is significantly better on 1 task and is "
        "not compared on 1 task."
    )


def test_budgets_are_stated(tmp_path):
    (task,) = compared(
        tmp_path, scores("pare", epochs=4), scores("mona", epochs=8, num_trials=5)
    ).tasks
    assert notes(task)[0] == (
        "Tuning budgets are unequal in trials (a factor of 1.25), epochs (a factor of 2.5) and "
        "device-seconds (a factor of 2.5)."
    )


def test_over_tasks_direction_groups_and_what_it_hinges_on_are_said(tmp_path):
    found = compared(
        tmp_path, scores("pare"), scores("mona", 0.2),
        scores("pare", 0.1, task=DARCY), scores("mona", task=DARCY),
    )  # fmt: skip
    text = across(found.effects[0])
    assert text.startswith("PaRe against MoNA: 13.4 % lower error over 2 tasks, lower on 1 (p = 1")
    assert "1D 50 % lower" in text
    assert "2D 50 % higher" in text
    assert "dense" not in text, "a group that holds all tasks says nothing new"
    assert text.endswith("the other way round without pdebench/advection_1d.")


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.5, "50 % lower"), (1.2345, "23.4 % higher"), (1.0001, "the same")]
)
def test_ratios_in_percent(ratio, text):
    assert percent(ratio) == text
