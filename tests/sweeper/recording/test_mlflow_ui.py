"""What a researcher sees: the tree in MLflow's runs page, two trials side by side, a study."""

import pytest

from sweeper.analysis import pages
from sweeper.recording.mlflow_recorder import MlflowRecorder
from tests.browser import browser, needs_chromium
from tests.ledgers import finished_ledger
from tests.mlflow_server import snapshot

pytestmark = [pytest.mark.browser, needs_chromium]

UNFOLD = "[data-component-id*='runnamecellrenderer']"
TICK = ".ag-row[row-index='{}'] .ag-selection-checkbox input"


def test_the_ui_shows_the_tree_compares_trials_and_says_what_won(tmp_path, server):
    ledger = finished_ledger(tmp_path)
    recorder = MlflowRecorder(ledger, uri=server.uri, experiment="pdebench_ui", pages=pages)
    assert recorder.sync().last_error is None
    home = f"{server.uri}/#/experiments/{server.experiment_id('pdebench_ui')}/runs"
    with browser() as chromium:
        chromium.open(home, width=1600, height=1000)
        chromium.wait_for("mona_pdebench")
        assert "nft · advection_1d" not in chromium.text(), "folded at first"
        chromium.click(UNFOLD)  # the sweep: row 0, its studies below, the latest on top
        chromium.wait_for("mona · advection_1d")
        chromium.click(UNFOLD, 2)
        chromium.wait_for("004 · mona")
        chromium.click(UNFOLD, 1)
        for trial in range(5):  # all rows are there before one is counted
            chromium.wait_for(f"{trial:03d} · nft")
            chromium.wait_for(f"{trial:03d} · mona")
        chromium.screenshot(tmp_path / "tree.png")

        chromium.click(TICK.format(4))  # trial 2 of nft, then of mona
        chromium.click(TICK.format(10))
        chromium.click_text("Compare")
        chromium.wait_for("Comparing 2 Runs from 1 Experiment")
        chromium.wait_for("refine.lr")
        chromium.wait_for("002 · nft · advection_1d")
        chromium.wait_for("002 · mona · advection_1d")
        chromium.screenshot(tmp_path / "compare.png")

        study = snapshot(server.uri, "pdebench_ui")["mona · advection_1d"]["id"]
        chromium.open(f"{home}/{study}", width=1600, height=1400)
        chromium.wait_for("control/test/nrmse")
        chromium.wait_for("57 % below vanilla fine-tuning")
        chromium.screenshot(tmp_path / "study.png")
