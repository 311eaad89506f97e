"""Figures of means with intervals: curves by epoch, and the response to a numeric factor."""

import numpy as np
import pytest

from sweeper.driver.pages import report_of
from sweeper.render.json import comparison_as_json
from sweeper.render.page.curves import epoch_figures, response_figure
from sweeper.render.page.figures import colours
from sweeper.render.page.report import render_comparison
from sweeper.results.compare import compare
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
LEVELS = {"control": 0.5, "align.epochs=0": 0.4, "align.epochs=5": 0.3, "align.epochs=60": 0.2}
QUESTION = {
    "title": "Does more help?",
    "published": "It does.",
    "claims": [{"says": "More helps.", "trend": "align.epochs", "expect": "better"}],
}


@pytest.fixture
def ledger(sweep):
    rng = np.random.default_rng(0)
    return sweep(
        *(
            Scores(method="orca", task=TASK, arm=arm, best=list(rng.normal(mean, 0.01, 6)))
            for arm, mean in LEVELS.items()
        ),
        compare_by={"align.epochs": [0, 5, 60]},
        question=QUESTION,
    )


def test_each_arm_and_the_control_has_a_line_with_its_interval(ledger):
    comparison = compare([ledger])
    (task,) = comparison.tasks
    (figure,) = epoch_figures(task, colours(comparison.labels))
    lines = [series for series in figure.series if series.title]
    assert [line.name for line in lines][-1] == "ORCA: control"
    assert len(lines) == 4
    assert len(figure.series) == 3 * 4, "and the two ends of each interval"
    low, high, mean = figure.series[:3]
    assert mean.x == (1, 2, 3, 4)
    (values,) = (e.values for e in task.entries if e.label == "orca align.epochs=0")
    assert mean.y[-1] == pytest.approx(np.mean([*values.values()]))
    for bottom, middle, top in zip(low.y, mean.y, high.y, strict=True):
        assert bottom < middle < top


def test_few_seeds_have_no_interval_and_one_seed_or_one_epoch_no_line(sweep):
    for epochs, best, figures in ((3, [0.1, 0.2], 1), (1, [0.1, 0.2], 0), (3, [0.1], 0)):
        study = Scores(method="orca", task=TASK, best=best, epochs=epochs)
        comparison = compare([sweep(study)])
        found = epoch_figures(comparison.tasks[0], colours(comparison.labels))
        assert len(found) == figures
        assert all(len(figure.series) == 2 for figure in found), "the method and its control"


def test_the_response_to_a_factor_is_drawn_for_its_claims_and_where_it_is_compared(ledger):
    (response,) = compare([ledger]).responses
    assert response.levels == (0, 5, 60)
    assert [ci[0] < mean < ci[1] for ci, mean in zip(response.intervals, response.means,
                                                     strict=True)] == [True] * 3  # fmt: skip
    figure = response_figure([response], {"orca": "#000000"}, "test/nrmse")
    assert figure.x.names == ("0", "5", "60")
    line = figure.series[-1]
    assert (line.x, line.y, line.symbol) == ((0, 1, 2), response.means, "o")
    by_factor = compare([ledger], by="align.epochs")
    assert by_factor.trends == by_factor.responses == (response,)
    assert compare([ledger]).trends == (), "which are told with --by alone"


@pytest.mark.slow
def test_pages_have_the_figures(ledger):
    page = render_comparison(compare([ledger]))
    assert "nRMSE by epoch of refine: means over seeds, and 95 % intervals" in page
    assert "Response to align.epochs: means over seeds" in page
    assert "nRMSE by epoch of refine: means over seeds" in report_of(ledger)


def test_the_values_of_epochs_are_not_in_json(ledger):
    (task,) = comparison_as_json(compare([ledger]))["tasks"]
    assert all("epochs" not in entry for entry in task["methods"])
