"""The command line of `sweeper reproduce`: what it prints, and what it refuses."""

import json

import pytest

from sweeper.cli.main import run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    return tmp_path


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
def test_a_mistake_exits_with_2_and_the_way_out(arguments, told, capsys):
    assert run(["reproduce", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_verdicts_are_printed_and_the_page_is_written(capsys, folder):
    assert run(["reproduce", "fig7", "--no-run"]) == 0
    out = capsys.readouterr().out
    assert "The body has to be fine-tuned." in out
    assert "not informative, as the better arm does not beat the floor" in " ".join(out.split())
    assert "committed evidence of 2026-11-27" in " ".join(out.split())
    assert (folder / "reproduction.html").stat().st_size > 10_000


def test_json_has_a_verdict_for_each_claim(capsys, folder):
    assert run(["reproduce", "freezing", "--no-run", "--html", "page.html", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "reproduce"
    assert found["html"] == str(folder / "page.html")
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
def test_a_table_prints_its_published_rows_with_nothing_run(capsys, folder, name, row):
    assert run(["reproduce", name, "--no-run", "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    method, task, value = row
    assert figure["published"][method][task] == pytest.approx(value, rel=0.05)
    predictor, value = figure["floors"].get("pdebench/burgers_1d", ("closed_form", 0.0))
    assert (predictor, value) == ("closed_form", pytest.approx(0, abs=1e-5))
    assert bool(figure["floors"]) == task.startswith("pdebench/")
    page = (folder / "reproduction.html").read_text(encoding="utf-8")
    assert "Published values, in the unit of our metric" in page
