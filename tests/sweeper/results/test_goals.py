"""The front, feasibility and the best trial in tables, pages, comparisons and MLflow's runs."""

import html
import json
import re

import pytest

import sweeper
from sweeper.cli.main import run as command
from sweeper.driver.pages import report_of
from sweeper.errors import NotFound, UsageError
from sweeper.render.frames import trial_rows
from sweeper.results.compare import compare
from sweeper.results.read import read_study
from sweeper.tracking.outline import Entity, read_outline
from sweeper.tracking.run_tree import changes
from tests.support.goals import FREE, TWO, study_of, write

NFT = study_of("nft").name
WIDTHS = [20, 5, 12, 9, 12]  # the first breaks the constraint; the last is equal to the third
ONE = {"constraints": {"parameters": "<= 12"}}
NONE = (
    "none of 2 complete trials is feasible (parameters <= 12); the nearest is trial 1: "
    "parameters is 13, not <= 12"
)


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "sweeps/s", {"nft": WIDTHS}, TWO)


@pytest.fixture
def infeasible(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "sweeps/s", {"nft": [20, 13]}, TWO)


def test_the_front_has_feasible_trials_alone_and_equal_ones_together(ledger):
    study = read_study(ledger, NFT)
    assert [t.number for t in study.front] == [2, 4, 3, 1]
    assert [t.number for t in study.ranked_by("val")] == [2, 4, 3, 1]
    assert [t.number for t in study.ranked_by("seconds")] == [1, 3, 2, 4]
    with pytest.raises(UsageError, match="unknown objective `parameters`"):
        study.ranked_by("parameters")


def test_best_takes_the_first_objective_or_the_one_that_is_named(ledger, capsys):
    def best(*options: str) -> list[int]:
        assert command(["best", "s", "--json", *options]) == 0
        (study,) = json.loads(capsys.readouterr().out)["studies"]
        return [each["trial"] for each in study["best"]]

    assert best() == [2]
    assert best("--objective", "val/nrmse") == [2]
    assert best("--objective", "seconds") == [1]
    assert best("--objective", "seconds", "--top", "9") == [1, 3, 2, 4]
    assert command(["best", "s"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "seconds: 36 s; parameters: 12" in shown
    assert command(["best", "s", "--objective", "epochs"]) == 2
    assert "unknown objective `epochs`" in capsys.readouterr().err
    assert sweeper.open("s").best(objective="seconds").number == 1
    assert sweeper.open("s").best().number == 2


def test_without_a_feasible_trial_the_nearest_is_named(infeasible, capsys):
    assert command(["best", "s"]) == 0
    assert NONE in " ".join(re.sub(r"[│┃|]", " ", capsys.readouterr().out).split())
    assert command(["best", "s", "--study", NFT]) == 8
    assert NONE in capsys.readouterr().err
    assert command(["status", "s"]) in (0, 3)
    assert NONE in " ".join(capsys.readouterr().out.split())
    with pytest.raises(NotFound, match="the nearest is trial 1"):
        sweeper.open("s").best()
    assert NONE[1:] in html.unescape(report_of(infeasible))


@pytest.mark.slow
@pytest.mark.parametrize("search", [TWO, ONE])
def test_an_arm_without_a_feasible_trial_of_its_base_says_why_it_has_not_begun(
    tmp_path, monkeypatch, capsys, search
):
    monkeypatch.chdir(tmp_path)
    ledger = write(tmp_path / "sweeps/s", {"nft": [20, 13]}, search, arms=["x=1", "x=2"])
    why = (
        f"no trial has begun: an arm has the settings of the best trial of `{NFT}` (`base: "
        f"tuned`), and {NONE}"
    )
    assert command(["status", "s", "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    page = html.unescape(re.sub("<[^>]*>", "", report_of(ledger)))
    for arm in (f"{NFT}/x=1", f"{NFT}/x=2"):
        assert read_study(ledger, arm).why_no_best == why
        assert [note for note in notes if arm in note] == [f"{arm}: {why}"]
        assert f"{arm}: {why}" in page


def test_an_arm_whose_base_has_a_best_trial_has_begun(tmp_path):
    ledger = write(tmp_path / "s", {"nft": [20, 5]}, ONE, arms=["x=1"])
    table = read_study(ledger, f"{NFT}/x=1")
    assert len(table.trials) == 1
    assert table.not_begun is None


def test_an_export_has_what_the_goals_are_about(ledger):
    rows = trial_rows([read_study(ledger, NFT)])
    assert [row["feasible"] for row in rows] == [False, *[True] * 4]
    assert [row["seconds"] for row in rows][3] == 27
    assert [row["parameters"] for row in rows] == WIDTHS


def test_the_page_has_the_front_as_table_and_figure(ledger):
    page = report_of(ledger)
    section = page[page.index("Pareto front") :]
    rows = re.findall(r"<tr.*?</tr>", section[: section.index("</table>")], re.DOTALL)
    cells = [[re.sub("<.*?>", "", c).strip() for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
             for row in rows]  # fmt: skip
    assert cells[0] == ["trial", "kind", "val/nrmse", "seconds", "parameters", "test/nrmse"]
    assert [row[0] for row in cells[1:]] == ["2", "4", "3", "1"]
    assert cells[1][2:5] == ["0.4167", "36 s", "12"]
    text = html.unescape(page)
    assert "Complete trials by val/nrmse and seconds" in text
    assert "Minimised: val/nrmse and seconds." in text
    assert "Constraints: parameters <= 12. 4 of 5 complete trials keep them" in text
    assert ">infeasible<" in page  # in the legend


def test_a_page_of_a_plain_sweep_says_nothing_of_goals(tmp_path):
    page = report_of(write(tmp_path / "s", {"nft": WIDTHS}, FREE))
    assert "Pareto" not in page
    assert "Constraints" not in page


def test_a_comparison_is_of_feasible_trials_and_says_so(tmp_path):
    ledger = write(tmp_path / "s", {"nft": [20, 5], "mona": [9, 12]}, ONE)
    (task,) = compare([ledger]).tasks
    assert {entry.label: entry.trial for entry in task.entries} == {"nft": 1, "mona": 1}
    assert "only trials with parameters <= 12 are compared" in task.cautions


def test_different_constraints_and_objectives_are_unequal(tmp_path):
    ledgers = [write(tmp_path / "a", {"nft": [20, 5]}, TWO),
               write(tmp_path / "b", {"mona": [9, 12]}, FREE)]  # fmt: skip
    (task,) = compare(ledgers).tasks
    assert task.cautions == (
        "objectives are unequal: nft with val/nrmse and seconds; mona with val/nrmse",
        "constraints are unequal: nft with parameters <= 12; mona with none",
    )


def test_a_comparison_names_the_nearest_of_infeasible_trials(infeasible):
    (task,) = compare([infeasible]).tasks
    assert f"nft: {NONE}" in task.cautions


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_mlflow_runs_show_feasibility_quantities_and_the_front(ledger, size: int):
    events, outline = list(ledger.events()), read_outline(ledger)
    assert outline is not None
    tags: dict[Entity, dict[str, str]] = {}
    points: dict[Entity, dict[str, float]] = {}
    notes: dict[str, str] = {}
    for start in range(0, len(events), size):
        runs, new = changes(events[start : start + size], outline, notes)
        notes |= new
        for entity, change in runs.items():
            tags.setdefault(entity, {}).update(change.tags)
            points.setdefault(entity, {}).update({p.key: p.value for p in change.points})
    trials = [tags[Entity(NFT, number)] for number in range(len(WIDTHS))]
    assert [t["sweeper.feasible"] for t in trials] == ["false", *["true"] * 4]
    assert [t["sweeper.pareto"] for t in trials] == ["false", *["true"] * 4]
    assert trials[0]["sweeper.failure"] == "constraint"
    assert trials[0]["sweeper.reason"] == "parameters is 20, not <= 12"
    assert tags[Entity(NFT)]["sweeper.front"] == "2, 4, 3, 1"
    assert tags[Entity(NFT)]["sweeper.best_trial"] == "2"
    assert points[Entity(NFT, 3)]["goals/seconds"] == 27


def test_a_trial_that_is_beaten_leaves_the_front_in_mlflow(tmp_path):
    search = {"objectives": ["val/nrmse", "epochs"]}  # all train equally long
    ledger = write(tmp_path / "s", {"nft": [5, 9, 7]}, search)
    runs, _ = changes(ledger.events(), read_outline(ledger), {})
    found = [runs[Entity(NFT, number)].tags["sweeper.pareto"] for number in range(3)]
    assert found == ["false", "true", "false"]
    assert runs[Entity(NFT)].tags["sweeper.front"] == "1"
    assert "sweeper.feasible" not in runs[Entity(NFT, 0)].tags
