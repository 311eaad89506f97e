"""`sweeper best` and `sweeper export`: what they print and write."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from pyarrow import parquet
from rich.console import Console

from sweeper.cli.main import run
from sweeper.driver.hooks.progress import Progress
from sweeper.ledger import Ledger
from sweeper.model import Study, StudyFacts, TrialState
from sweeper.planning import load, resuming
from sweeper.planning.load import Options
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write
from tests.support.trials import sampled

SPACE = ROOT / "search_spaces/mona_pdebench.yaml"
ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
STUDY = f"mona/{ADVECTION}"
CHOSEN = {"meta.alpha": 0.1234567890123456, "refine.lr": 3e-4, "meta.epochs": 3}


@pytest.fixture
def folder(here):
    """A folder with a sweep of two methods."""
    write(
        here / "sweeps/s", "s",
        [Scores(method="pare", task=ADVECTION, best=[0.1, 0.3], control=[0.4]),
         Scores(method="mona", task=ADVECTION, best=[0.2])],
    )  # fmt: skip
    return here


@pytest.fixture
def real(here):
    """A folder with a sweep of a shipped file, of which one trial is complete."""
    sweep = load.read(SPACE, Options(profile="laptop"))
    plan = sweep.study("mona", ADVECTION)
    ledger = Ledger.in_folder(here / "sweeps" / sweep.name)
    resuming.match(ledger, sweep, SPACE.read_text())
    ledger.start({})
    study = Study(name=plan.name, method="mona", task=ADVECTION, objective=plan.objective, seed=0)
    ledger.add_study(study, StudyFacts.from_json({"dimension": "1d", "kind": "dense"}))
    params = plan.complete_params(CHOSEN)
    ledger.add_trial(
        sampled(
            plan.name, 5, params=params, sampled=tuple(CHOSEN), state=TrialState.COMPLETE,
            value=0.25, test={"test/nrmse": 0.3},
        )
    )  # fmt: skip
    ledger.close()
    return here, params


def test_the_printed_file_is_valid_and_is_the_winner(real, command):
    folder, params = real
    text = command("best", "mona_pdebench", "--study", STUDY).out
    assert text.startswith(f"# {STUDY}/5 (sampled) of sweep mona_pdebench: val/nrmse 0.25.")
    (folder / "best.yaml").write_text(text)
    found = command("validate", "best.yaml", "--json").json
    assert found["sweep"] == "mona_pdebench-mona-advection_1d-best"
    assert found["studies"] == [STUDY]
    assert found["resolved"]["fixed"] == {k: v for k, v in params.items() if k != "proxy"}
    assert found["resolved"]["proxies"] == {"1d": params["proxy"]}
    assert found["resolved"]["parameters"] == {}
    assert found["resolved"]["fixed"]["meta.alpha"] == 0.1234567890123456


def test_best_as_json_has_every_parameter_and_the_file(real, command):
    _, params = real
    found = command("best", "mona_pdebench", "--study", STUDY, "--json").json
    assert (found["schema"], found["command"], found["sweep"]) == (1, "best", "mona_pdebench")
    (study,) = found["studies"]
    (winner,) = study["best"]
    assert (winner["trial"], winner["value"], winner["test"]) == (5, 0.25, 0.3)
    assert winner["params"] == params
    assert "fixed:" in found["file"]


def test_best_lists_studies_and_the_top_of_each(folder, command):
    found = command("best", "s", "--top", "2", "--json").json
    assert [[t["trial"] for t in study["best"]] for study in found["studies"]] == [[2, 0], [2, 0]]
    pare = found["studies"][0]["best"][0]
    assert (pare["value"], pare["test"], pare["seeds"]) == (0.1, 0.2, 2)
    assert pare["validation"] == 0.2
    assert "file" not in found
    shown = command("best", "s").out
    assert "refine.lr = 0.0003" in shown
    assert f" pare/{ADVECTION}/2 " in shown
    assert len(shown.splitlines()) == 3


@pytest.mark.slow
def test_best_is_one_trial_and_one_number_wherever_it_is_shown(here, command):
    """In the search the preset was ahead with 0.6, and trial 2 reached 0.65; over seeds, 0.475."""
    ledger = write(
        here / "sweeps/s", "s",
        [Scores(method="mona", task=ADVECTION, best=[0.65, 0.3], control=[0.7, 0.5])],
    )  # fmt: skip

    def told(*arguments: str) -> str:
        return command(*arguments).out

    (study,) = json.loads(told("status", "s", "--json"))["studies"]
    (found,) = json.loads(told("best", "s", "--json"))["studies"][0]["best"]
    for each in (study["best"], found):
        shown = {k: each[k] for k in ("trial", "value", "validation", "test", "seeds")}
        assert shown == {
            "trial": 2, "value": 0.65, "validation": 0.475, "test": 0.475, "seeds": 2,
        }  # fmt: skip
    assert (study["control"]["test"], study["control"]["seeds"]) == (0.6, 2)

    table = told("status", "s")
    assert re.search(r"002 +0\.475 +0\.475 +2 +0\.6\b", " ".join(table.splitlines()))
    assert "validation and test of trials with replicates are means over their seeds" in table
    assert "val/nrmse 0.475, mean of 2 replicates; 0.65 in the search" in told(
        "best", "s", "--study", STUDY
    )
    told("report", "s")
    page = Path("sweeps/s/report.html").read_text()
    assert "Over 2 seeds the mean of validation is 0.475, of test 0.475" in page
    screen = Progress(
        Console(file=io.StringIO(), width=110),
        lambda: 9,
        1,
        {study.name: study for study in ledger.studies()},
        known=ledger.trials(),
    )
    assert screen.best_of(STUDY) == "0.475 (2 seeds)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["best", "t"], "unknown sweep `t`"),
        (["best", "s", "--study", f"monna/{ADVECTION}"], f"Did you mean `mona/{ADVECTION}`?"),
        (["export", "t"], "unknown sweep `t`"),
    ],
)
def test_what_is_not_there_is_not_found(folder, command, arguments, told):
    assert told in command(*arguments, code=8).err


def test_a_study_without_a_complete_trial_has_no_winner(here, command):
    empty = Scores(method="pare", task=ADVECTION, best=[0.1], num_trials=0)
    write(here / "sweeps/s", "s", [empty])
    assert "no trial of" in command("best", "s", "--study", f"pare/{ADVECTION}", code=8).err
    assert "no trial is complete" in command("best", "s").out


def test_csv_goes_to_the_terminal_or_to_a_file(folder, capsys, command):
    text = command("export", "s").out
    assert len(list(csv.DictReader(io.StringIO(text)))) == 10
    assert run(["export", "s", "--format", "csv", "-o", "trials.csv"]) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'trials.csv'}\n"
    assert (folder / "trials.csv").read_text() == text


def test_parquet_needs_a_file(folder, command):
    assert "`-o FILE`" in command("export", "s", "--format", "parquet", code=2).err
    assert run(["export", "s", "--format", "parquet", "-o", "trials.parquet"]) == 0
    assert parquet.read_table(folder / "trials.parquet").num_rows == 10


@pytest.mark.parametrize(
    ("words", "file", "head"),
    [([], "t.csv", b"sweep,study,"), ([], "t.parquet", b"PAR1"), ([], "T.PQ", b"PAR1"),
     ([], "t.tex", rb"% \usepackage{booktabs}"), ([], "trials", b"sweep,study,"),
     (["--format", "csv"], "t.txt", b"sweep,study,")],
)  # fmt: skip
def test_the_suffix_decides_the_format_unless_it_is_named(folder, words, file, head):
    assert run(["export", "s", *words, "-o", file]) == 0
    assert (folder / file).read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("form", "file", "told"),
    [("csv", "t.parquet", "t.parquet"), ("parquet", "t.csv", "t.csv"), ("latex", "t.csv", "t.csv"),
     (None, "t.xls", "t.xls"), ("xls", "t.xls", "latex")],
)  # fmt: skip
def test_a_suffix_of_another_format_or_of_none_is_refused(folder, command, form, file, told):
    words = [] if form is None else ["--format", form]
    assert told in command("export", "s", *words, "-o", file, code=2).err
    assert not (folder / file).exists()


def test_compare_writes_a_table_for_a_paper(folder, command):
    words = ["compare", "s", "--latex", "t.tex", "--with", "control", "--with", "baselines"]
    assert command(*words, "--json").json["latex"] == str(folder / "t.tex")
    text = (folder / "t.tex").read_text()
    assert "Task & PaRe & MoNA" in text
    assert r"\quad control" in text
    assert r"\quad mean predictor" in text
    assert "published" not in text
    assert f"wrote {folder / 't.tex'}" in command(*words).out
    assert run(["compare", "s", "--with", "control"]) == 2
    assert run(["compare", "s", "--latex", "t.tex", "--with", "everything"]) == 2
