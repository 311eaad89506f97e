"""The command line of `sweeper reproduce`: what it prints, and what it refuses."""

import csv
import hashlib
import re
from dataclasses import replace
from statistics import fmean

import pytest

from sweeper.commands.reproduce import benchmark_table
from sweeper.model import Floor
from sweeper.results.floors import beside
from sweeper.results.reproduction.benchmark_table import (
    BenchmarkTable,
    Recorded,
    read_benchmark_table,
)
from sweeper.results.reproduction.evidence import read_evidence
from sweeper.results.reproduction.files import as_files, committed_evidence
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["freezin"], "Did you mean `freezing`?"),
        ([], "name a figure or a table, or all"),
        (["fig7", "--list"], "--list lists all names"),
        (["fig7", "--rerun", "--no-run"], "--rerun runs sweeps and --no-run runs none"),
        (["confirm", "fig7", "--rerun"], "`confirm` checks evidence that is there"),
        (["fig7", "--profile", "desktop"], "desktop"),
        (["fig7", "--evidence", "none"], "--evidence none: this is no folder"),
        (["fig7", "--paper", "paper.html"], "--paper is about all evidence"),
        (["--paper", "paper.html", "--list"], "--paper writes one page by evidence alone"),
        (["--paper", "paper.html", "--html", "a.html"], "leave other options out"),
        (["--paper", "none/paper.html"], "name a file in a folder that exists"),
    ],
)
def test_a_mistake_exits_with_2_and_the_way_out(arguments, told, command):
    assert told in " ".join(command("reproduce", *arguments, code=2).err.split())


@pytest.mark.slow
def test_verdicts_are_printed_and_the_page_is_written(command, here):
    out = command("reproduce", "fig7", "--no-run").out
    assert "The body has to be fine-tuned." in out
    assert "8 seeds, each with its own draw of 1000 samples): holds here." in " ".join(out.split())
    assert "committed evidence of 2026-11-30" in " ".join(out.split())
    page = (here / "reproduction.html").read_text(encoding="utf-8")
    assert len(page) > 10_000
    assert not re.search(r"[^.]\.\. ", page)


@pytest.mark.parametrize(
    ("question", "told"),
    [("training_size_burgers_1d", True), ("which_method_wins_ecg", False)],
)
def test_trainings_that_are_cut_short_are_told_beside_their_verdicts(command, question, told):
    out = " ".join(command("reproduce", question, "--no-run").out.split())
    said = (
        "these trainings are cut short: twice the epochs, in one training each on the search's "
        "draw, lower the validation error of NFT"
    )
    assert (said in out) == told


@pytest.mark.slow
def test_the_paper_names_all_evidence_and_what_was_not_run(command, here):
    assert command("reproduce", "--paper", "paper.html").out.startswith("wrote ")
    page = (here / "paper.html").read_text(encoding="utf-8")
    for file in committed_evidence().rglob("*.json"):
        assert f"{file.relative_to(committed_evidence())}</td>" in page
        assert hashlib.sha256(file.read_bytes()).hexdigest()[:12] in page
    for file in (ROOT / "search_spaces" / "questions").glob("which_method_wins_*.yaml"):
        was_run = (committed_evidence() / f"{file.stem}.json").exists()
        assert (f"(<code>{file.stem}</code>): not run</h3>" in page) != was_run
    assert not re.search(r"[^.]\.\. ", page)


def test_json_has_a_verdict_for_each_claim(command, here):
    found = command("reproduce", "freezing", "--no-run", "--html", "page.html", "--json").json
    assert found["command"] == "reproduce"
    assert found["html"] == str(here / "page.html")
    (figure,) = found["figures"]
    claim = figure["claims"][0]
    assert (claim["verdict"], claim["n"], claim["is_primary"]) == ("holds here", 8, True)
    assert claim["p_value"] == pytest.approx(0.0078125)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("table2", ("mona", "pdebench/advection_1d", 0.0088)),
        ("table1", ("orca", "nasbench360/ecg", 0.28)),
    ],
)
def test_a_table_prints_its_published_rows_with_nothing_run(command, here, name, row):
    (figure,) = command("reproduce", name, "--json").json["figures"]
    assert figure["evidence"] == "not run"
    assert not (here / "sweeps").exists()
    method, task, value = row
    assert figure["published"][method][task] == pytest.approx(value, rel=0.05)
    predictor, value = figure["floors"].get("pdebench/burgers_1d", ("isotropic_filter", 0.0))
    assert (predictor, value) == ("isotropic_filter", pytest.approx(0, abs=1e-5))
    assert bool(figure["floors"]) == task.startswith("pdebench/")
    page = (here / "reproduction.html").read_text(encoding="utf-8")
    assert "Published values, in the unit of our metric" in page


def test_a_table_prints_floors_closed_forms_and_what_is_recorded(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    lines = command("reproduce", "table2").out.splitlines()
    (line,) = (line for line in lines if "pdebench/burgers_1d " in line)
    assert line.split()[:6] == [
        "pdebench/burgers_1d",
        "nRMSE",
        "4.42e-7",
        "an",
        "isotropic",
        "linear",
    ]
    (variant,) = (line for line in lines if "pdebench/burgers_1d@rank" in line)
    assert variant.split()[2:6] == ["0.2041", "kernel", "ridge", "regression"]
    assert variant.split()[-3:] == ["0.06548", "FNO,", "which_method_wins_burgers_1d"]
    (told,) = (line for line in lines if "not run; " in line)
    assert told.endswith("not run; with --run they are launched.")


def test_recorded_values_are_chosen_by_validation():
    table = benchmark_table("pdebench", [committed_evidence()])
    chosen = table.recorded["pdebench/burgers_1d@rank"]
    means = {}
    for file in committed_evidence().glob("*.csv"):
        rows = csv.DictReader(file.read_text().splitlines())
        for row in rows:
            if "validation" in row and "/pdebench/burgers_1d@rank/" in f"{row['study']}/":
                values = means.setdefault((file.stem, row["study"]), [])
                values.append((float(row["validation"]), float(row["test"])))
    best = min(means.values(), key=lambda rows: fmean(value for value, _ in rows))
    assert chosen.test == pytest.approx(fmean(test for _, test in best))
    assert chosen.seeds == len(best)


@pytest.mark.parametrize(("figures", "tasks"), [(["fig14"], ["mine/t"]), (["fig15"], [])])
def test_own_tasks_of_questions_about_its_figure_are_in_a_table(tmp_path, figures, tasks):
    claim = {"says": "x", "contrast": ["pare", "mona"], "expect": "better"}
    question = {"figures": ["fig14"], "title": "?", "published": "-", "source": "-",
                "refuted_if": "-", "claims": [claim]}  # fmt: skip
    scores = [
        Scores(method=method, task="mine/t", best=best, facts={"data_source": "own"})
        for method, best in (("pare", [0.2] * 8), ("mona", [0.3] * 8))
    ]
    ledger = write(tmp_path / "ledger", "asked", scores, resolved={"question": question})
    for file, text in as_files(read_evidence(ledger)).items():
        (tmp_path / file).write_text(text)
    table = read_benchmark_table("b", [tmp_path], metrics={}, published={}, figures=figures)
    assert [*table.recorded] == tasks
    assert all(best.method == "pare" for best in table.recorded.values())


def test_a_cell_says_why_it_is_empty_and_what_is_not_below_the_floor():
    # The mean is below the floor, and its interval over eight seeds is not.
    floors = dict.fromkeys(range(8), Floor(name="ridge", value=0.4))
    near = beside("b/x", {seed: 0.36 + 0.02 * (seed % 4) for seed in range(8)}, floors)
    best = Recorded(method="orca", evidence="mine", validation=0.3, test=0.39, seeds=8, floor=near)
    assert near is not None
    better = replace(best, test=0.1, floor=replace(near, is_beaten=True))
    table = BenchmarkTable(
        benchmark="b", metrics={"b/x": "nrmse", "b/y": "nrmse"}, published={}, floors={},
        closed_forms={}, recorded={"b/x@rank": best, "b/x@easy": better},
    )  # fmt: skip
    cells = {line[0]: (line[2], line[5]) for line in table.lines}
    assert cells == {
        "b/x": (None, "no data here"),
        "b/x@easy": (0.4, 0.1),
        "b/x@rank": (0.4, "0.39, not below the floor"),
        "b/y": (None, "no data here"),
    }
    audited = replace(table, floors={"b/x": ("ridge", 0.2)})
    assert [line[5] for line in audited.lines if line[0] == "b/y"] == ["not run"]
    own = replace(best, is_own=True, metric="rmse")
    table = replace(table, recorded={**table.recorded, "mine/t": own})
    assert table.lines[-1][:4] == ["mine/t", "RMSE", 0.4, "ridge regression"]
    assert table.remark.endswith("but of a task file: mine/t.")
