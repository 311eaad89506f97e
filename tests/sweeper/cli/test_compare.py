"""`sweeper compare`: what it prints, in which form, and with which exit code."""

import sqlite3
from contextlib import closing
from dataclasses import asdict
from html import unescape
from pathlib import Path

import pytest

from sweeper.cli.main import run
from tests.support.compared_ledgers import Scores, write
from trainables.tasks.registry import published_numbers

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
SIX = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]
PUBLISHED = {
    "method": "orca", "value": 0.0098, "metric": "nrmse", "protocol": "one-shot",
    "table": "PDEBench", "citation": "Shen et al., ICML 2023",
}  # fmt: skip


@pytest.fixture
def folder(here):
    """A folder with two sweeps: PaRe is better on one task, as good on the other."""
    higher = [value + 0.1 for value in SIX]
    facts = {"published": [{**PUBLISHED, "task": ADVECTION}], "published_samples": 10_000}
    write(
        here / "sweeps/pare", "pare",
        [Scores(method="pare", task=ADVECTION, best=SIX, control=higher, facts=facts),
         Scores(method="pare", task=DARCY, best=SIX)],
    )  # fmt: skip
    write(
        here / "sweeps/mona", "mona",
        [Scores(method="mona", task=ADVECTION, best=higher), 
         Scores(method="mona", task=DARCY, best=SIX)],
    )  # fmt: skip
    return here


def as_json(command, *arguments: str, code: int = 0) -> dict:
    return command("compare", *arguments, "--json", code=code).json


def test_the_json_has_the_pinned_names(folder, command):
    found = as_json(command, "pare", "mona")
    assert (found["schema"], found["command"], found["exit_code"]) == (1, "compare", 0)
    assert found["sweeps"] == ["pare", "mona"]
    (task, _) = found["tasks"]
    (each,) = task["comparisons"]
    assert (each["first"], each["second"]) == ("pare", "mona")
    assert each["p_value"] == each["p_holm"] == 0.03125
    low, high = each["ci"]
    assert low <= each["difference"] <= high
    assert each["verdict"] == "lower"
    assert each["d_z"] is None, "it is infinite, since all differences are the same"
    assert [m["label"] for m in task["methods"]] == ["pare", "mona"]
    assert task["methods"][0]["values"] == {str(100 + i): value for i, value in enumerate(SIX)}
    assert task["methods"][0]["n"] == 6
    assert task["pairs_needed"]["comparisons"] == 6
    assert task["methods"][0]["rises"] == 0.0, "validation only falls"
    assert [e["p_holm"] for e in found["effects"]] == [1.0, 1.0]
    assert len(found["effect_notes"]) == 2
    assert task["published"] == [
        {**PUBLISHED, "data_source": "official", "samples": 10_000, "floor": None, "remark": ""}
    ]
    assert found["average_ranks"] == {"pare": 1.25, "mona": 1.75}
    assert found["gate"] is None


def test_people_get_sentences_and_tables(folder, command):
    out = command("compare", "pare", "mona").out
    assert out.startswith("PaRe has the best average rank, 1.25 over 2 tasks (MoNA 1.75)")
    assert "lower than MoNA (0.3, p = 0.03125)." in out
    assert "cannot distinguish" in out
    assert "Tuning budgets are equal in candidates, epochs and device-seconds." in out
    assert "published: orca 0.0098 (Shen et al., ICML 2023)" in out
    assert "official data, 10000 samples; one-shot; not ranked with ours" in out
    assert "average ranks over 2: pare 1.25, mona 1.75" in out
    assert (
        "Nothing can be significant: one comparison at 0.05 needs 6 tasks, and there are 2" in out
    )
    assert "The control has the preset's settings and is not tuned; a tuned one is a study" in out
    assert "0.1 to 0.1" not in out.splitlines()[0]


def test_columns_of_specialists_are_printed_where_they_are_asked_for(folder, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    plain = command("compare", "pare", "mona").out
    verbose = command("compare", "pare", "mona", "--verbose").out
    for column in ("rises", "jaggedness", "d_z", "detectable"):
        assert f" {column} " not in plain
        assert f" {column} " in verbose
    assert "p, Holm" in plain


@pytest.mark.slow
def test_one_seed_is_one_sentence_and_no_table_of_differences(folder, capsys):
    lone = [Scores(method=m, task=ADVECTION, best=[v]) for m, v in (("pare", 0.2), ("mona", 0.3))]
    write(folder / "sweeps/lone", "lone", lone)
    assert run(["compare", "lone", "--html", "page.html"]) == 0
    out, page = capsys.readouterr().out, unescape((folder / "page.html").read_text())
    for text in (out, page):
        assert text.count("One seed: no test is possible") == 1
        assert "cannot distinguish" not in text
        assert "p, Holm" not in text.partition('<p class="soft">The lowest')[0]


@pytest.mark.slow
def test_the_floor_of_a_protocol_stands_beside_published_numbers(folder, capsys, command):
    task = "pdebench/shallow_water_2d"
    published = [asdict(each) for each in published_numbers(task).values()]
    write(
        folder / "sweeps/waves", "waves",
        [Scores(method="pare", task=task, best=SIX, facts={"published": published})],
    )  # fmt: skip
    assert run(["compare", "waves", "--html", "page.html"]) == 0
    printed, page = capsys.readouterr().out, (folder / "page.html").read_text()
    for text in (printed, page):
        text = unescape(text)
        assert text.count("A perfect predictor of the last frame scores 0.0057 on frame 99") == 1
        assert "published scores sit on the floor of the protocol and cannot rank methods" in text
        assert "that the papers' runs used ORCA's released loader is an inference" in text
    assert '<th class="number">floor of protocol</th>' in page
    (found,) = as_json(command, "waves")["tasks"]
    floors = {each["method"]: each["floor"] for each in found["published"]}
    assert floors == {"orca": 0.0057, "mona": 0.0057, "pare": 0.0057, "recraft": 0.0057,
                      "fno": None, "pinn": None, "unet": None}  # fmt: skip
    assert run(["compare", "pare", "--html", "page.html"]) == 0
    assert "floor of protocol</th>" not in (folder / "page.html").read_text()


@pytest.mark.slow
def test_a_task_and_a_baseline_can_be_chosen(folder, command):
    found = as_json(command, "pare", "mona", "--task", DARCY, "--baseline", "control")
    assert [task["task"] for task in found["tasks"]] == [DARCY]
    assert found["baseline"] == "control"
    assert found["tasks"][0]["comparisons"] == []


def test_a_gate_that_holds_exits_with_0(folder, command):
    found = as_json(command, "pare", "mona", "--gate", f"pare < mona on {ADVECTION}")
    assert found["gate"]["met"] is True
    assert found["gate"]["claims"][0]["claim"] == f"pare < mona on {ADVECTION}"


def test_a_gate_that_does_not_hold_exits_with_9_and_says_why(folder, command):
    claim = f"pare < mona on {DARCY}"
    found = as_json(command, "pare", "mona", "--gate", claim, code=9)
    assert (found["gate"]["met"], found["exit_code"]) == (False, 9)
    told = command("compare", "pare", "mona", "--gate", claim, code=9)
    assert f"gate: {claim}: not met" in told.out
    assert told.err.startswith(f"sweeper: gate not met: {claim}: PaRe 0.2, MoNA 0.2, 6 seeds")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["pare", "mona", "--gate", "pare is better"], 2, "METHOD < METHOD on TASK"),
        (["pare", "mona", "--gate", f"pare < monna on {ADVECTION}"], 2, "Did you mean `mona`?"),
        (["pare", "mona", "--task", "pdebench/darcy"], 2, f"Did you mean `{DARCY}`?"),
        (["pare", "mona", "--baseline", "monna"], 2, "Did you mean `mona`?"),
        (["pare", "pare"], 2, "named 2 times"),
        (["pare", "--html", "no/such/folder.html"], 2, "no/such/folder.html"),
        (["parre"], 8, "Did you mean `pare`?"),
        ([], 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_says_so(folder, command, arguments, code, told):
    assert told in command("compare", *arguments, code=code).err


def dump(ledger: Path) -> list[str]:
    with closing(sqlite3.connect(ledger)) as connection:
        return list(connection.iterdump())


def test_a_comparison_reads_and_changes_nothing(folder, command):
    ledgers = [folder / "sweeps" / name / "ledger.db" for name in ("pare", "mona")]
    before = [dump(ledger) for ledger in ledgers]
    as_json(command, "pare", "mona")
    assert [dump(ledger) for ledger in ledgers] == before


HOSTILE = "pare\nx\x1b[31m\u202e[/red]"


@pytest.mark.slow
def test_hostile_text_of_a_ledger_moves_no_line_and_turns_no_text(here, command):
    facts = {"protocol": HOSTILE, "data_source": HOSTILE, "published": [
        {**PUBLISHED, "task": ADVECTION, "method": HOSTILE, "citation": HOSTILE}]}  # fmt: skip
    for name, method in (("pare", HOSTILE), ("mona", "mona")):
        scores = Scores(method=method, task=ADVECTION, best=SIX, control=SIX, facts=facts)
        write(here / "sweeps" / name, name, [scores])
    assert run(["compare", "pare", "mona", "--html", "page.html"]) == 0
    told = command("best", "pare", "--json").out
    told += command("best", "pare").out
    page = Path("page.html").read_text()
    for text in (told, page):
        assert r"x\x1b[31m\u202e[/red]" in text
        assert not {"\x1b", "\u202e"} & set(text)
    assert r"pare\nx\x1b[31m\u202e[/red]" in told
    assert "pare\n" not in told
