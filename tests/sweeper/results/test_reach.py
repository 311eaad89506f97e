"""The significance that a planned sweep can reach: pairs, corrections, refusals and notes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.results.reach import check_reach, margin_notes, reach_notes, reach_of, spreads_of
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.results.reproduction.files import as_files
from sweeper.spec.sweep import Sweep
from tests.support.compared_ledgers import Scores
from tests.support.sweep_files import CATALOG, TASK, load, orca_file

TEXT = orca_file("search: {trials: 2}", "compare_by: {align.epochs: [5, 20]}")
QUESTION = """\
question:
  title: Does it help?
  published: It does.
  claims:
    - {says: More helps., contrast: [align.epochs=20, align.epochs=5], expect: better}
    - {says: It helps., contrast: [align.epochs=5, control], expect: better}
    - {says: It grows., trend: align.epochs, expect: better}
"""


def notes_of(sweep: Sweep, folders: Sequence[Path] = ()) -> list[str]:
    return reach_notes(sweep, spreads_of(sweep, folders))


def planned(seeds: int | None, *, text: str = TEXT + QUESTION) -> Sweep:
    replicate = "" if seeds is None else f"replicate: {{seeds: {seeds}}}\n"
    return load(text + replicate)


def test_the_reach_is_that_of_the_exact_test_with_its_correction():
    primary, *others = reach_of(planned(8))
    assert (primary.pairs, primary.smallest_p) == (8, 2 / 2**8)
    assert [each.smallest_p for each in others] == [2 * 2 / 2**8] * 2


def test_over_tasks_the_task_is_the_unit_and_seeds_do_not_help():
    two = (TEXT + QUESTION).replace("[pdebench/advection_1d]", f"[{TASK}, pdebench/burgers_1d]")
    assert [(e.pairs, e.unit) for e in reach_of(planned(3, text=two))] == [(2, "task")] * 3
    with pytest.raises(
        UsageError, match=r"2 tasks can reach p = 0\.5, .* Compare on 6 tasks or mor"
    ):
        check_reach(spreads_of(planned(20, text=two), []), "x.yaml")


def test_a_recorded_metric_orders_the_arms_whose_stage_runs():
    text = (TEXT + QUESTION).replace("align.epochs: [5, 20]", "align.epochs: [0, 5, 20]")
    head, _, _ = text.partition("  claims:")
    claims = "  claims: [{says: Near is good., trend: align/mmd_start, expect: worse}]\n"
    (found,) = reach_of(planned(8, text=head + claims))
    assert found.pairs == 8
    fewer = head.replace("[0, 5, 20]", "[0, 5]") + claims
    assert reach_of(planned(8, text=fewer))[0].pairs == 0  # one arm records it


@pytest.mark.parametrize("seeds", [None, 1, 5])
def test_seeds_that_can_never_be_significant_are_refused_with_the_way_out(seeds):
    sweep = planned(seeds)
    with pytest.raises(UsageError) as refused:
        check_reach(spreads_of(sweep, []), "x.yaml")
    assert str(refused.value).startswith("x.yaml: the primary claim of the question (More helps.)")
    assert "replicate.seeds=6 or more, or add --exploratory" in str(refused.value)
    assert any("never significant" in line for line in notes_of(sweep))


def test_six_seeds_are_enough_for_the_primary_claim_alone():
    sweep = planned(6)
    check_reach(spreads_of(sweep, []), "x.yaml")
    primary, others = notes_of(sweep)
    assert primary.endswith("can reach p = 0.03125, not corrected")
    assert others.endswith("p = 0.0625 with 6 seeds, which is never significant")


def test_a_sweep_without_a_question_is_never_refused():
    for seeds in (None, 2):
        check_reach(spreads_of(planned(seeds, text=TEXT), []), "x.yaml")
    assert notes_of(planned(None, text=TEXT)) == []
    assert notes_of(planned(8, text=TEXT)) == ["8 seeds can reach p = 0.007812 in one comparison"]
    (line,) = notes_of(planned(5, text=TEXT.replace("[5, 20]", "[5, 10, 20]")))
    assert "p = 0.1875 in 3 comparisons of a task, after Holm: 7 seeds are needed" in line


def test_earlier_evidence_says_which_difference_could_show(sweep, tmp_path):
    noise = (0.0, 0.01, -0.01, 0.02, -0.02, 0.0)
    levels = {"control": 0.5, "align.epochs=5": 0.4, "align.epochs=20": 0.3}
    ledger = sweep(
        *(
            Scores(method="orca", task=TASK, arm=arm, best=[mean + n * mean for n in noise])
            for arm, mean in levels.items()
        ),
        name="ablation",
        compare_by={"align.epochs": [5, 20]},
    )
    evidence = read_evidence(ledger)
    for name, text in as_files(evidence).items():
        (tmp_path / name).write_text(text)
    eight, twelve = (replace(planned(n), profile="laptop") for n in (8, 12))
    assert "by the spread in ablation.json: 8 seeds could have" in notes_of(eight, [tmp_path])[-1]
    assert "12 seeds" in notes_of(twelve, [tmp_path])[-1]
    assert len(notes_of(replace(eight, profile="paper"), [tmp_path])) == 2
    (tmp_path / "ablation.json").write_text("{}")
    assert len(notes_of(eight, [tmp_path])) == 2


def test_a_margin_below_what_the_recorded_spread_lets_the_pairs_show_is_a_fault(tmp_path, sweep):
    """The recorded differences of seeds have a standard deviation of 0.1."""
    text = (TEXT + QUESTION).partition("  claims:")[0]
    claim = "  claims: [{{says: No loss., contrast: [align.epochs=5, align.epochs=20], "
    claim += "expect: no_worse, margin: {margin}}}]\n"
    narrow, wide = (
        replace(planned(8, text=text + claim.format(margin=margin)), profile="laptop")
        for margin in (0.01, 0.5)
    )
    levels = {"align.epochs=5": 0.04, "align.epochs=20": 0.0}
    ledger = sweep(
        *(
            Scores(method="orca", task=TASK, arm=arm, best=[0.4 + step * n for n in range(8)])
            for arm, step in levels.items()
        ),
        name="ablation",
        resolved=narrow.resolved,
    )
    for name, content in as_files(read_evidence(ledger)).items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=r"with the recorded spread\. Set margin="):
        check_reach(spreads_of(narrow, [tmp_path]), "x.yaml")
    check_reach(spreads_of(wide, [tmp_path]), "x.yaml")
    check_reach(spreads_of(narrow, []), "x.yaml")
    assert any("no spread is known" in line for line in margin_notes(spreads_of(narrow, [])))
    assert margin_notes(spreads_of(wide, [tmp_path])) == []
    # Other settings may have another spread, so that a small margin is then no fault.
    text += claim.format(margin=0.01) + "data: {seed: 7}\n"
    other = replace(planned(8, text=text), profile="laptop")
    check_reach(spreads_of(other, [tmp_path]), "x.yaml")
    (note,) = margin_notes(spreads_of(other, [tmp_path]))
    assert "with the recorded spread of other settings" in note


def test_a_margin_that_no_result_could_show_is_a_fault():
    """With six seeds the second of two claims has p = 0.03 at best, and the third 0.06."""
    text = (TEXT + QUESTION).partition("  claims:")[0] + "  claims:\n"
    claim = "    - {says: No loss., contrast: [align.epochs=5, align.epochs=20], expect: no_worse, "
    text += (claim + "margin: 0.9, sd: 0.001}\n") * 3
    check_reach(spreads_of(planned(8, text=text), []), "x.yaml")
    with pytest.raises(UsageError, match=r"cannot be shown by 6 seeds\. Set more seeds"):
        check_reach(spreads_of(planned(6, text=text), []), "x.yaml")


def test_a_margin_that_the_planned_pairs_cannot_show_is_a_fault_where_its_spread_is_stated():
    """Eight pairs show 1.2 standard deviations with a power of 80 %."""
    text = (TEXT + QUESTION).partition("  claims:")[0]
    claim = "  claims: [{{says: No loss., contrast: [align.epochs=5, align.epochs=20], "
    claim += "expect: no_worse, margin: 0.01{sd}}}]\n"
    refused = planned(8, text=text + claim.format(sd=", sd: 0.05"))
    with pytest.raises(UsageError, match=r"0\.01, is below 0\.0\d+, which 8 seeds can show"):
        check_reach(spreads_of(refused, []), "x.yaml")
    check_reach(spreads_of(planned(8, text=text + claim.format(sd=", sd: 0.005")), []), "x.yaml")
    unknown = planned(8, text=text + claim.format(sd=""))
    check_reach(spreads_of(unknown, []), "x.yaml")
    assert any("no spread is known; state it as `sd`" in line for line in notes_of(unknown))


def test_a_spread_over_tasks_is_of_logarithms_and_a_margin_a_share():
    """Eight tasks show 1.2 standard deviations: of 0.5 these are 0.6, a ratio of 1.8."""
    tasks = {f"own/{i}": replace(CATALOG.tasks[TASK], name=f"own/{i}") for i in range(8)}
    text = (TEXT + QUESTION).partition("  claims:")[0].replace(f"[{TASK}]", f"[{', '.join(tasks)}]")
    text += "  claims: [{says: No loss., contrast: [align.epochs=5, align.epochs=20], "
    text += "expect: no_worse, margin: 0.7, sd: 0.5}]\n"
    sweep = load(text, replace(CATALOG, tasks=tasks))
    with pytest.raises(UsageError, match=r"below 0\.8004, which 8 tasks can show"):
        check_reach(spreads_of(sweep, []), "x.yaml")
    # The single arm is compared with 0, to which there is no ratio.
    alone = text.replace("[align.epochs=5, align.epochs=20]", "[align.epochs=5]")
    with pytest.raises(UsageError, match=r"below 0\.588, which 8 tasks can show"):
        check_reach(
            spreads_of(load(alone.replace("0.7", "0.5"), replace(CATALOG, tasks=tasks)), []), "x"
        )
