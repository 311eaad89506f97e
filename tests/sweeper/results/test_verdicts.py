"""What is said of a comparison: no more than the numbers allow."""

import pytest

from sweeper.render.json import comparison_as_json
from sweeper.results.compare import compare, correct_effects, effect
from sweeper.results.verdicts import (
    across,
    answer,
    beside_floor,
    headline,
    limits,
    limits_over_tasks,
    name,
    notes,
    percent,
)
from tests.support.compared_ledgers import Scores, write

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
SIX = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]


def compared(folder, *studies: Scores, **options):
    return compare([write(folder, "s", studies)], **options)


def scores(method: str, by: float = 0.0, task: str = ADVECTION, n: int = 6, **options) -> Scores:
    values = [value + by for value in SIX[:n]]
    return Scores(method=method, task=task, best=values, **options)


def ranked(task):
    """Return the answer without what it says of floor and controls (`test_floors`)."""
    return answer(task).removesuffix(" ".join(["", *beside_floor(task)]))


def test_names_in_prose():
    assert [name(label) for label in ("pare", "a:mona", "control")] == [
        "PaRe", "MoNA (a)", "untuned vanilla fine-tuning",
    ]  # fmt: skip


def test_a_winner_is_named_with_its_numbers(tmp_path):
    (task,) = compared(tmp_path, scores("pare"), scores("mona", 0.1)).tasks
    assert ranked(task) == (
        "On pdebench/advection_1d, PaRe has the lowest test nRMSE, 0.2 (6 seeds, one draw of "
        "270 samples, 95 % interval 0.18 to 0.22): lower than MoNA (0.3, p = 0.03125)."
    )


def test_what_cannot_be_distinguished_is_not_called_lower(tmp_path):
    (task,) = compared(tmp_path, scores("pare", n=5), scores("mona", 0.1, n=5)).tasks
    assert ranked(task).endswith("): cannot distinguish it from MoNA (0.304, p = 0.0625).")
    assert (
        "Nothing can be significant: one comparison at 0.05 needs 6 paired seeds, and there are 5, "
        "whose smallest reachable p is 0.0625." in notes(task)
    )


def test_one_seed_is_said_to_show_nothing(tmp_path):
    (task,) = compared(tmp_path, scores("pare", n=1), scores("mona", 0.1, n=1)).tasks
    assert ranked(task) == (
        "On pdebench/advection_1d, PaRe has the lowest test nRMSE, 0.2 (one seed, one draw "
        "of 270 samples): 33 % below MoNA (0.3)."
    )
    told = (
        "One seed: no test is possible; with --set replicate.top=1 the best trial of each method "
        "and its control run on more seeds."
    )
    assert [note for note in notes(task) if "significant" in note or "seed" in note] == [told]
    assert limits(task.differences).endswith("and there is one, whose smallest reachable p is 1.")


def test_three_methods_share_a_sentence(tmp_path):
    studies = [scores("pare"), scores("mona", 0.001), scores("nft", 0.1)]
    (task,) = compared(tmp_path, *studies).tasks
    assert "3 comparisons at 0.05 need 7 paired seeds" in limits(task.differences)
    assert ranked(task).endswith(
        "cannot distinguish it from MoNA (0.201, p = 0.09375) and NFT (0.3, p = 0.09375)."
    )


def test_a_pair_that_a_baseline_leaves_out_is_not_compared(tmp_path):
    studies = [scores("pare"), scores("mona", 0.05), scores("nft", 0.1)]
    (task,) = compared(tmp_path, *studies, baseline="nft").tasks
    assert "not compared with MoNA; cannot distinguish it from NFT" in ranked(task)


def test_a_lone_method_is_compared_with_its_control(tmp_path):
    control = [value + 0.1 for value in SIX]
    (task,) = compared(tmp_path, scores("pare", control=control)).tasks
    assert ranked(task).endswith("): lower than untuned vanilla fine-tuning (0.3, p = 0.03125).")
    assert limits(task.from_control) == (
        "6 paired seeds can reach p = 0.03125; with one comparison against untuned vanilla "
        "fine-tuning at 0.05, nothing can be significant below 6."
    )


def test_where_a_control_is_compared_with_it_is_said_not_to_be_tuned(tmp_path):
    (task,) = compared(tmp_path, scores("pare")).tasks
    told = "The control has the preset's settings and is not tuned; a tuned one is a study of NFT."
    assert told not in notes(task), "one run of the control shares no seed with replicates"
    control = [value + 0.1 for value in SIX]
    (task,) = compared(tmp_path / "with", scores("pare", control=control)).tasks
    assert told in notes(task)


def with_seeds(folder, *counts: int):
    """The differences of PaRe from rivals that share so many seeds with it."""
    rivals = [scores(f"rival_{i}", 0.1, n=n) for i, n in enumerate(counts)]
    seven = Scores(method="pare", task=ADVECTION, best=[*SIX, 0.2])
    return compared(folder, seven, *rivals, baseline="pare").tasks[0].differences


def test_what_fewer_pairs_may_show_once_others_are_significant_is_not_denied(tmp_path):
    both = [*SIX, 0.2]
    studies = [
        Scores(method="pare", task=ADVECTION, best=both),
        Scores(method="mona", task=ADVECTION, best=[v + 0.1 for v in both]),
        scores("nft", 0.2),
    ]
    family = compared(tmp_path, *studies, baseline="pare").tasks[0].differences
    assert [(d.pairs, d.p_holm, d.verdict.value) for d in family] == [
        (7, 2 / 64, "higher"), (6, 2 / 64, "higher"),
    ]  # fmt: skip
    assert limits(family) == (
        "7 paired seeds at most can reach p = 0.01562; of 2 comparisons at 0.05, the first to be "
        "significant needs 7."
    )


def test_where_no_comparison_has_the_pairs_that_the_first_needs_nothing_can_be(tmp_path):
    assert limits(with_seeds(tmp_path, 6, 5)) == (
        "Nothing can be significant: 2 comparisons at 0.05 need 7 paired seeds, and there are 6 at "
        "most, whose smallest reachable p is 0.03125."
    )


def test_no_complete_trial_is_no_answer(tmp_path):
    (task,) = compared(tmp_path, scores("pare", num_trials=0)).tasks
    assert ranked(task) == "No answer on pdebench/advection_1d yet: no trial is complete."
    assert "pare: no trial is complete" in notes(task)


@pytest.mark.parametrize(
    ("studies", "told"),
    [
        ([scores("pare"), scores("mona", 0.1),
          scores("pare", task=DARCY), scores("mona", 0.001, task=DARCY, n=5)],
         "PaRe has the best average rank, 1 over 2 tasks (MoNA 2); against MoNA it is "
         "significantly better on 1 of them and cannot be distinguished on 1 (up to 6 seeds and "
         "one draw of data each). The best method beats the best predictor without a network on "
         "each of 2 tasks."),
        ([scores("pare"), scores("mona", 0.1),
          scores("pare", 0.1, task=DARCY), scores("mona", task=DARCY)],
         "PaRe and MoNA share the best average rank, 1.5 over 2 tasks; against MoNA PaRe is "
         "significantly better on 1 of them and is significantly worse on 1 (6 seeds and one "
         "draw of data each). "),
        ([scores("pare"), scores("mona", 0.1),
          scores("pare", task=DARCY), scores("mona", 0.1, task=DARCY)],
         "PaRe has the best average rank, 1 over 2 tasks (MoNA 2); against MoNA it is "
         "significantly better on each of them (6 seeds"),
        ([scores("pare"), scores("mona", 0.1), scores("pare", task="pdebench/burgers_1d"),
          scores("pare", task=DARCY), scores("mona", 0.1, task=DARCY)],
         "PaRe has the best average rank, 1 over 2 tasks (MoNA 2); against MoNA it is "
         "significantly better on 2 of 3 tasks (6 seeds"),
        ([scores("pare", control=[v + 0.1 for v in SIX]), scores("pare", task=DARCY)],
         "Against untuned vanilla fine-tuning PaRe is significantly better on 1 of 2 tasks and "
         "is not compared on 1 (6 seeds and one draw of 270 samples each). "),
        ([scores("pare", n=1), scores("pare", task=DARCY, n=1)],
         "Against untuned vanilla fine-tuning PaRe cannot be distinguished on any of 2 tasks "
         "(one seed and one draw of data each). "),
    ],
    ids=["counted", "shared", "each", "absent on one", "alone", "one seed"],
)  # fmt: skip
def test_the_headline_over_tasks_counts_each_once_and_what_is_significant(tmp_path, studies, told):
    assert headline(compared(tmp_path, *studies)).startswith(told)


@pytest.mark.parametrize(("n", "counts"), [(2, "are 1 and 2"), (4, "are 1 and 4"), (6, "is 1")])
def test_fewer_than_six_seeds_are_said_to_give_no_interval(tmp_path, n, counts):
    (task,) = compared(tmp_path, scores("pare", n=n), scores("mona", 0.1, n=n)).tasks
    told = "No interval and no effect size is given for fewer than 6 seeds or pairs: here there"
    assert f"{told} {counts}." in notes(task), "the control ran on one seed"


def test_budgets_are_stated(tmp_path):
    (task,) = compared(
        tmp_path, scores("pare", epochs=4), scores("mona", epochs=8, num_trials=5)
    ).tasks
    assert notes(task)[0] == (
        "Tuning budgets are unequal in candidates (a factor of 1.33), epochs (a factor of 2.67) "
        "and device-seconds (a factor of 2.67)."
    )


def test_over_tasks_direction_groups_and_what_it_hinges_on_are_said(tmp_path):
    found = compared(
        tmp_path, scores("pare"), scores("mona", 0.2),
        scores("pare", 0.1, task=DARCY), scores("mona", task=DARCY),
    )  # fmt: skip
    text = across(found.effects[0])
    assert text.startswith(
        "PaRe against MoNA: 13.4 % lower error over 2 tasks, lower on 1 (p = 1 over tasks: cannot "
        "distinguish; 6 seeds and one draw of data each); 1D (one task) 50 % lower, 2D (one "
        "task) 50 % higher; "
    )
    assert "dense" not in text, "a group that holds all tasks says nothing new"
    assert text.endswith("the other way round without pdebench/advection_1d.")


def test_a_pair_that_is_compared_on_one_task_cannot_be_distinguished_over_tasks():
    (found,) = correct_effects([effect("pare", "mona", {"t": 0.5}, {"t": ("1D",)})])
    assert across(found) == (
        "PaRe against MoNA: 50 % lower error over one task, lower on 1 (cannot distinguish)."
    )


@pytest.mark.parametrize(
    ("tasks", "p", "told"),
    [
        (6, "0.03125 over tasks",
         "6 tasks can reach p = 0.03125; with one comparison at 0.05, nothing can be significant "
         "below 6."),
        (5, "0.0625 over tasks: cannot distinguish",
         "Nothing can be significant: one comparison at 0.05 needs 6 tasks, and there are 5, whose "
         "smallest reachable p is 0.0625."),
    ],
)  # fmt: skip
def test_over_tasks_p_and_the_tasks_that_it_takes_are_said(tasks, p, told):
    ratios = {str(i): 0.8 + i / 100 for i in range(tasks)}
    family = correct_effects(
        [effect("pare", "mona", ratios, dict.fromkeys(ratios, ("1D", "dense")))]
    )
    assert f"lower on {tasks} (p = {p})" in across(family[0])
    assert limits_over_tasks(family) == [told]


def test_pairs_with_the_control_are_told_of_apart():
    family = [effect("pare", other, {"t": 0.5}, {"t": ()}) for other in ("mona", "control")]
    between, from_control = limits_over_tasks(family)
    assert "one comparison at 0.05" in between
    assert "one comparison against untuned vanilla fine-tuning at 0.05" in from_control


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.5, "50 % lower"), (1.2345, "23.4 % higher"), (1.0001, "the same"),
     (187.2, "187 times higher")],
)  # fmt: skip
def test_ratios_in_percent(ratio, text):
    assert percent(ratio) == text


def test_what_embedders_start_from_is_said_of_methods_and_controls(tmp_path):
    copied = {"embedder_init": "pretrained_copy"}
    ledger = write(tmp_path / "a", "a", [scores("pare"), scores("mona")], model=copied)
    (task,) = compare([ledger]).tasks
    assert "All target embedders start as pretrained_copy." in notes(task)
    nft = scores("nft", params={"model.embedder_init": "random"})
    ledger = write(tmp_path / "b", "b", [scores("pare"), nft], model=copied)
    (task,) = compare([ledger]).tasks
    assert (
        "Target embedders start differently: pretrained_copy for PaRe, PaRe: control and "
        "NFT: control; random for NFT." in notes(task)
    )
    told = comparison_as_json(compare([ledger]))["tasks"][0]["methods"]
    assert [entry["embedder_init"] for entry in told] == ["pretrained_copy", "random"]
    (task,) = compared(tmp_path / "c", scores("pare")).tasks  # of a sweep that does not say
    assert not any("embedder" in line for line in notes(task))


def test_published_fine_tuning_is_another_baseline_in_two_dimensions(tmp_path):
    number = {"method": "nft", "value": 0.1, "metric": "nrmse", "protocol": "p", "citation": "c"}
    cases = ((DARCY, "pretrained_copy", True), (DARCY, "random", False),
             (ADVECTION, "pretrained_copy", False))  # fmt: skip
    for task, init, is_said in cases:
        study = scores("pare", task=task, facts={"published": [number]})
        folder = tmp_path / f"{task[-2:]}{init}"
        (found,) = compare([write(folder, "s", [study], model={"embedder_init": init})]).tasks
        assert any("published NFT" in line for line in notes(found)) == is_said
