"""A new column of trials is one line, and all tables have it."""

import json
import re

import pytest

import sweeper
from sweeper.cli.main import run
from sweeper.driver import pages
from sweeper.ledger import Ledger
from sweeper.render import frames as exports
from sweeper.results import schema as results
from tests.support.compared_ledgers import Scores, write

TASK = "pdebench/advection_1d"
NEW = results.Column("double_rate", float, lambda _, t: 2e4 * t.params["refine.lr"])
SHOWN = "6"  # of trial 2, whose learning rate is 3e-4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for module in (results, exports):
        monkeypatch.setattr(module, "COLUMNS", (*results.COLUMNS, NEW))
    monkeypatch.setenv("SWEEPER_SWEEPS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "s", "s", [Scores(method="mona", task=TASK, best=(0.1,))]).close()
    return tmp_path


def column_of(line: str, header: str) -> str:
    """Return the words of a line below the heading of the new column."""
    start = header.index("double_rate")
    return line[start : start + len("double_rate")].strip()


@pytest.mark.slow
def test_a_new_column_is_in_every_table(folder, capsys):
    assert run(["status", "s"]) == 0
    _, header, line, *_ = capsys.readouterr().out.splitlines()
    assert column_of(line, header) == SHOWN

    assert run(["status", "s", "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert study["best"]["cells"] == {"double_rate": pytest.approx(6.0)}

    assert run(["export", "s"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert float(lines[2].split(",")[header.split(",").index("double_rate")]) == pytest.approx(6)

    assert run(["compare", "s", "--json", "--html", "s.html", "--latex", "s.tex"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert task["methods"][0]["double_rate"] == pytest.approx(6.0)
    assert re.search(r">\s*double rate\s*<", (folder / "s.html").read_text())
    assert rf"\quad double rate & ${SHOWN}$" in (folder / "s.tex").read_text()

    assert sweeper.open("s").trials()["double_rate"][2] == pytest.approx(6.0)
    assert sweeper.compare(["s"]).methods()["double_rate"][0] == pytest.approx(6.0)

    files = pages.files(Ledger.in_folder(folder / "s"), f"mona/{TASK}")
    (trial,) = (t for t in json.loads(files["trials.json"])["trials"] if t["trial"] == 2)
    assert trial["double_rate"] == pytest.approx(6.0)
    assert "double_rate" in files["plots.html"].replace("<wbr>", "")


def test_columns_have_different_names():
    names = [each.name for each in results.COLUMNS]
    assert len(set(names)) == len(names)
