"""What a researcher sees: the tree in MLflow's runs page, and two trials side by side."""

import pytest

from sweeper.analysis import pages
from sweeper.recording.mlflow_recorder import MlflowRecorder
from tests.browser import browser, needs_chromium
from tests.ledgers import finished_ledger
from tests.mlflow_server import snapshot

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_runs_page_shows_the_tree_and_compares_trials(tmp_path, server, request):
    ledger = finished_ledger(tmp_path)
    recorder = MlflowRecorder(ledger, uri=server.uri, experiment="pdebench_ui", pages=pages)
    assert recorder.sync().last_error is None
    runs = snapshot(server.uri, "pdebench_ui")
    experiment = server.experiment_id("pdebench_ui")
    mona, nft = (runs[f"{method} · advection_1d · 002"]["id"] for method in ("mona", "nft"))
    with browser() as chromium:
        chromium.open(f"{server.uri}/#/experiments/{experiment}/runs", width=1600, height=1000)
        chromium.wait_for("mona_pdebench")
        chromium.screenshot(tmp_path / "folded.png")
        for _ in range(3):  # sweep, then its two studies
            chromium.click_all("[data-testid='expander-button'], [data-testid*='expand']")
        chromium.screenshot(tmp_path / "tree.png")
        chromium.wait_for("mona · advection_1d · 002")

        chromium.open(
            f'{server.uri}/#/compare-runs?runs=["{mona}","{nft}"]&experiments=["{experiment}"]',
            width=1600, height=1000,
        )  # fmt: skip
        chromium.wait_for("Comparing 2 Runs")
        chromium.wait_for("refine.lr")
        chromium.screenshot(tmp_path / "compare.png")

        study = runs["mona · advection_1d"]["id"]
        chromium.open(f"{server.uri}/#/experiments/{experiment}/runs/{study}", width=1600)
        chromium.wait_for("0.08348")
        chromium.screenshot(tmp_path / "study.png")
