"""What the runs of a sweep and its studies show in MLflow besides metrics: notes, and files."""

from html import unescape

from sweeper.driver import pages
from sweeper.model import TrialState
from sweeper.results import verdicts
from sweeper.results.compare import compare
from sweeper.text import readable
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import EPOCHS, TASK, new_ledger, objective, rate_of, script

LUCKY = Scores(
    method="mona", task=TASK, best=[0.40, 0.55, 0.56, 0.53, 0.54, 0.52],
    control=[0.52, 0.54, 0.53, 0.55, 0.52, 0.54],
)  # fmt: skip


def test_files_of_a_study_and_of_the_sweep(ledger):
    files = pages.files(ledger, f"mona/{TASK}")
    assert files["search_space.yaml"] == ledger.sweep().text
    assert files["trials.csv"].count("\n") == 6
    compared = {"comparison.csv", "comparison.json"}
    assert files.keys() == {
        "trials.csv",
        "trials.json",
        "search_space.yaml",
        "plots.html",
        *compared,
    }
    assert pages.files(ledger, None).keys() == {"report.html", "sweep.json", *compared}


def test_the_sweeps_note_has_a_table_of_methods_once_it_has_ended(tmp_path):
    ledger = new_ledger(tmp_path)
    for _ in script(ledger, tmp_path):
        if ledger.trials() and ledger.trials()[0].state is TrialState.COMPLETE:
            assert pages.note(ledger, None).startswith("- On pdebench/advection_1d, MoNA reaches")
            assert "|" not in pages.note(ledger, None)
            break
    ledger.end("interrupted")
    assert pages.note(ledger, None).startswith("- On pdebench/advection_1d, MoNA reaches")


def test_the_sweeps_note_says_what_the_comparison_says(ledger):
    note = pages.note(ledger, None)
    best, control = (
        1.1 * objective("mona", rate_of(2), EPOCHS),
        1.1 * objective("mona", 0.35, EPOCHS),
    )
    assert note.startswith("- On pdebench/advection_1d, MoNA has the lowest test nRMSE")
    assert note.endswith("is not tuned; a tuned one is a study of NFT.")
    row = f"| {TASK} | MoNA | {readable(best)} | – | 1 | {readable(control)} |"
    assert row in note.splitlines()


def test_a_replicated_study_is_answered_over_its_replicates_wherever_it_is(tmp_path):
    ledger = write(tmp_path, "s", [LUCKY])
    (task,) = compare([ledger]).tasks
    told = verdicts.answer(task)
    assert "cannot distinguish it from untuned vanilla fine-tuning (0.5333" in told
    study = f"mona/{TASK}"
    note = pages.note(ledger, study)
    assert note.startswith(told)
    assert "| best, mean of 6 replicates | 2 | 0.5167 | 0.5167 |" in note.splitlines()
    assert "| control, mean of 6 replicates | 1 | 0.5333 | 0.5333 |" in note.splitlines()
    assert told in unescape(pages.files(ledger, study)["plots.html"])


def test_while_replicates_run_the_notes_tell_of_those_that_are_complete(tmp_path):
    ledger = write(tmp_path, "s", [LUCKY])
    told = verdicts.answer(compare([ledger]).tasks[0])
    ledger.start({})
    assert pages.note(ledger, None) == f"- {told}"
    assert pages.note(ledger, f"mona/{TASK}").startswith(told)


def test_the_summary_has_how_often_validation_rises(tmp_path):
    ledger = write(tmp_path, "s", [LUCKY])
    values = pages.summary(ledger, f"mona/{TASK}")
    assert (values["rises/val/nrmse"], values["jaggedness/val/nrmse"]) == (0.0, 0.0)
