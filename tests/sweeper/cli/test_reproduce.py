"""The command line of `sweeper reproduce`: what it prints, and what it refuses."""

import csv
import re
from statistics import fmean

import pytest

from sweeper.commands.reproduce import benchmark_table
from sweeper.results.reproduction.files import committed_evidence

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["freezin"], "Did you mean `freezing`?"),
        ([], "name a figure or a table, or all"),
        (["fig7", "--list"], "--list lists all names"),
        (["fig7", "--rerun", "--no-run"], "--rerun runs sweeps and --no-run runs none"),
        (["fig7", "--confirm", "--rerun"], "--rerun replaces evidence and --confirm keeps it"),
        (["fig7", "--profile", "desktop"], "desktop"),
        (["fig7", "--evidence", "none"], "--evidence none: this is no folder"),
    ],
)
def test_a_mistake_exits_with_2_and_the_way_out(arguments, told, command):
    assert told in " ".join(command("reproduce", *arguments, code=2).err.split())


@pytest.mark.slow
def test_verdicts_are_printed_and_the_page_is_written(command, here):
    out = command("reproduce", "fig7", "--no-run").out
    assert "The body has to be fine-tuned." in out
    assert "not informative, as the better arm does not beat the floor" in " ".join(out.split())
    assert "committed evidence of 2026-11-27" in " ".join(out.split())
    page = (here / "reproduction.html").read_text(encoding="utf-8")
    assert len(page) > 10_000
    assert not re.search(r"[^.]\.\. ", page)


def test_json_has_a_verdict_for_each_claim(command, here):
    found = command("reproduce", "freezing", "--no-run", "--html", "page.html", "--json").json
    assert found["command"] == "reproduce"
    assert found["html"] == str(here / "page.html")
    (figure,) = found["figures"]
    claim = figure["claims"][0]
    assert (claim["verdict"], claim["n"], claim["is_primary"]) == ("not informative", 8, True)
    assert claim["p_value"] == pytest.approx(0.015625)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("table2", ("mona", "pdebench/advection_1d", 0.0088)),
        ("fig14", ("orca", "nasbench360/ecg", 0.28)),
    ],
)
def test_a_table_prints_its_published_rows_with_nothing_run(command, here, name, row):
    (figure,) = command("reproduce", name, "--json").json["figures"]
    assert figure["evidence"] == "not run"
    assert not (here / "sweeps").exists()
    method, task, value = row
    assert figure["published"][method][task] == pytest.approx(value, rel=0.05)
    predictor, value = figure["floors"].get("pdebench/burgers_1d", ("closed_form", 0.0))
    assert (predictor, value) == ("closed_form", pytest.approx(0, abs=1e-5))
    assert bool(figure["floors"]) == task.startswith("pdebench/")
    page = (here / "reproduction.html").read_text(encoding="utf-8")
    assert "Published values, in the unit of our metric" in page


def test_a_table_prints_floors_closed_forms_and_what_is_recorded(command):
    lines = command("reproduce", "table2").out.splitlines()
    (line,) = (line for line in lines if "pdebench/advection_1d" in line)
    assert line.split()[:6] == ["pdebench/advection_1d", "nRMSE", "1.08e-4", "a", "closed", "form"]
    assert line.rstrip().endswith("0.6693         ORCA, embedder_training")
    (told,) = (line for line in lines if "not run" in line)
    assert told.endswith("not run; with --run they are launched.")


def test_recorded_values_are_chosen_by_validation():
    table = benchmark_table("pdebench")
    chosen = table.recorded["pdebench/burgers_1d"]
    means = {}
    for file in committed_evidence().glob("*.csv"):
        rows = csv.DictReader(file.read_text().splitlines())
        for row in rows:
            if "validation" in row and "/pdebench/burgers_1d/" in f"{row['study']}/":
                values = means.setdefault((file.stem, row["study"]), [])
                values.append((float(row["validation"]), float(row["test"])))
    best = min(means.values(), key=lambda rows: fmean(value for value, _ in rows))
    assert chosen.test == pytest.approx(fmean(test for _, test in best))
    assert chosen.seeds == len(best)
