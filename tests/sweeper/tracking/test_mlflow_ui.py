"""What a researcher sees: the tree in MLflow's runs page, two trials side by side, a study."""

import time
from pathlib import Path

import pytest

from sweeper.commands.upkeep.mlflow import pages_of
from sweeper.driver import pages
from sweeper.results.compare import compare
from sweeper.tracking.mlflow_recorder import MlflowRecorder, Sources
from sweeper.tracking.mlflow_store import CLICK, experiments_page
from tests.support.browser import browser, needs_chromium
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import finished_ledger
from tests.support.servers.mlflow_server import snapshot

pytestmark = [pytest.mark.slow, needs_chromium]

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d"
SEARCH = "input[placeholder*='metrics.rmse']"
STUDIES = f"tags.`sweeper.level` = 'study' AND tags.`sweeper.task` = '{ADVECTION}'"
UNFOLD = "[data-component-id*='runnamecellrenderer']"
TICK = ".ag-row[row-index='{}'] .ag-selection-checkbox input"


def record(ledger, server, experiment: str, **options) -> None:
    options |= {"uri": server.uri, "experiment": experiment, "sources": Sources(pages=pages)}
    assert MlflowRecorder(ledger, **options).sync().last_error is None


def see_the_tree(chromium, picture: Path) -> None:
    """Unfold the sweep and its studies, whose trials are below them, the latest on top."""
    assert "nft · advection_1d" not in chromium.text(), "folded at first"
    chromium.click(UNFOLD)  # the sweep: row 0
    chromium.wait_for("mona · advection_1d")
    chromium.click(UNFOLD, 2)
    chromium.wait_for("004 · mona")
    chromium.click(UNFOLD, 1)
    see_the_trials(chromium, picture)


def see_the_trials(chromium, picture: Path) -> None:
    for trial in range(5):  # all rows are there before one is counted
        chromium.wait_for(f"{trial:03d} · nft")
        chromium.wait_for(f"{trial:03d} · mona")
    chromium.screenshot(picture)


def compare_selected(chromium, *words: str) -> None:
    chromium.click_text("Compare")
    for word in ("Comparing 2 Runs from 1 Experiment", *words):
        chromium.wait_for(word)


def see_the_plots(chromium) -> None:
    """See the page of plots in its sandboxed frame."""
    deadline = time.monotonic() + 30
    while not chromium.find("iframe") and time.monotonic() < deadline:
        time.sleep(0.1)
    chromium.driver.switch_to.frame(chromium.find("iframe")[0])
    chromium.wait_for("MoNA on pdebench/advection_1d")
    assert len(chromium.find(".plot svg")) == 2, "the page needs no other file"
    assert len(chromium.find("th[tabindex]")) > 0, "its script runs"
    chromium.driver.switch_to.default_content()


def test_the_ui_shows_the_tree_compares_trials_and_says_what_won(tmp_path, server):
    announced: list[str] = []
    record(finished_ledger(tmp_path), server, "pdebench_ui", announce=announced.append)
    experiment = f"{server.uri}/#/experiments/{server.experiment_id('pdebench_ui')}"
    home = f"{experiment}/runs"
    (printed,) = announced
    assert printed == f"{home}?workflowType=machine_learning"
    shown = pages_of(server.uri).message.splitlines()
    assert f"MLflow, the runs of pdebench_ui: {printed}" in shown
    (view,) = (each for each in shown if each.startswith("MLflow, the trials of pdebench_ui"))
    with browser() as chromium:
        chromium.open(experiment, width=1600, height=1000)
        chromium.wait_for("Observability")  # of language models, which is not what we print
        chromium.open(f"{experiments_page(server.uri)}&again", width=1600, height=1000)
        chromium.wait_for("pdebench_ui")
        chromium.open(printed, width=1600, height=1000)
        chromium.wait_for("mona_pdebench")
        assert "Observability" not in chromium.text()
        assert "Model training" in CLICK
        assert "Model training" in chromium.text()
        see_the_tree(chromium, tmp_path / "tree.png")

        chromium.click(TICK.format(4))  # trial 2 of nft, then of mona
        chromium.click(TICK.format(10))
        runs = (f"002 · {method} · advection_1d" for method in ("nft", "mona"))
        compare_selected(chromium, "refine.lr", *runs)
        chromium.screenshot(tmp_path / "compare.png")

        chromium.open(f"{view.rpartition(' ')[2]}", width=1600, height=1000)
        for words in ("10 matching runs", "best/val/nrmse", "test/nrmse", "floor", "method"):
            chromium.wait_for(words)
        see_the_trials(chromium, tmp_path / "view.png")  # no row is folded

        study = snapshot(server.uri, "pdebench_ui")["mona · advection_1d"]["id"]
        chromium.open(f"{home}/{study}", width=1600, height=1400)
        chromium.wait_for("control/test/nrmse")
        chromium.wait_for("57 % below untuned vanilla fine-tuning")
        chromium.screenshot(tmp_path / "study.png")

        chromium.open(f"{home}/{study}/artifacts/plots.html", width=1600, height=1000)
        see_the_plots(chromium)


@pytest.mark.soak
def test_two_sweeps_studies_are_filtered_selected_and_compared(tmp_path, server):
    errors = [0.21, 0.19, 0.22, 0.2, 0.18, 0.205]
    ledgers = []
    for name, more in (("pare", 0.0), ("mona", 0.1)):
        on_both = [
            Scores(method=name, task=ADVECTION, best=[v + more for v in errors], control=errors),
            Scores(method=name, task=DARCY, best=errors),
        ]
        ledgers.append(write(tmp_path / name, f"{name}_pdebench", on_both))
        record(ledgers[-1], server, "compared")
    home = f"{server.uri}/#/experiments/{server.experiment_id('compared')}/runs"
    with browser() as chromium:
        chromium.open(home, width=1600, height=1000)
        chromium.wait_for("pare_pdebench")
        chromium.type(SEARCH, STUDIES)
        chromium.wait_for("4 matching runs")  # the two studies, below the sweeps that they are of
        chromium.click(UNFOLD, 1)
        chromium.click(UNFOLD, 0)
        chromium.wait_for("pare · advection_1d")
        chromium.wait_for("mona · advection_1d")
        assert "darcy" not in chromium.text()
        chromium.click(TICK.format(1))
        chromium.click(TICK.format(3))
        compare_selected(chromium, "mean_over_seeds/test/nrmse")
        lines = [line.strip() for line in chromium.text().splitlines()]
        for shown in ("method", "backbone", "data_source", "sweeper.best.refine.lr"):
            assert any(line.partition("\t")[0] == shown for line in lines), shown
        (task, _) = compare(ledgers).tasks
        means = [f"{entry.mean:.3g}" for entry in task.entries]
        assert means == ["0.201", "0.301"]
        assert {"test/nrmse", "control/mean_over_seeds/test/nrmse", "seeds", *means} <= set(lines)
        chromium.screenshot(tmp_path / "studies.png")
        chromium.click_link("Objective/nrmse")
        for shown in (
            "mona · advection_1d (Objective/nrmse)",
            "pare · advection_1d (Objective/nrmse)",
        ):
            chromium.wait_for(shown)  # in the legend: a curve a study
        for value in ("0.31 (step=3)", "0.21 (step=3)", "0.6 (step=1)"):
            chromium.wait_for(value)
        chromium.screenshot(tmp_path / "curves.png")

    sweep = snapshot(server.uri, "compared")["mona_pdebench"]
    assert sweep["metrics"]["average_rank/mona"][-1][1] == 1.0
