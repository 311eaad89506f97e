"""Whether a distance foretells the error: known orders, and trials that cannot tell."""

import math
from dataclasses import replace

import pytest
from scipy import stats

from sweeper.model import Study, StudyFacts, TrialKind, TrialState
from sweeper.render.json import comparison_as_json
from sweeper.render.page.figures import CONTROL_COLOUR
from sweeper.render.page.figures import distances as scatter
from sweeper.render.page.report import render_comparison
from sweeper.render.page.sections import distance_section
from sweeper.results.compare import compare
from sweeper.results.distance_correlation import distance_correlations
from sweeper.results.schema import StudyResult, TrialRow
from sweeper.results.statistics import holm
from sweeper.results.verdicts import distance_answer
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import TASK
from tests.support.trials import record
from trainables.report import Measurement

RECORD = record(config_hash="", profile="laptop")
EIGHT = tuple(0.1 * n for n in range(1, 9))  # as few trials as are shown
PALETTE = {"orca": "#000000", "mona": "#ffffff"}


def tuned(label: str, distances, errors, **changes) -> StudyResult:
    """A study whose trials measured these distances, then these test errors."""
    study = Study(name=f"{label}/t", method=label, task="t", objective="val/nrmse", seed=0)
    trials = []
    for number, (distance, error) in enumerate(zip(distances, errors, strict=True)):
        settings = {"kind": TrialKind.SAMPLED, "state": TrialState.COMPLETE, **changes}
        steps = [(1, distance + 100.0, None), (2, float(distance), None)]  # the last epoch counts
        measured = [
            Measurement(stage="align", epoch=e, num_epochs=2, metrics={"align/otdd_exact": d})
            for e, d, _ in steps
        ]
        trials.append(
            TrialRow(
                study=study.name, number=number, params={}, seed=number,
                test={"test/nrmse": error}, measurements=tuple(measured), epochs=2, seconds=1.0,
                ended=number, **settings,
            )
        )  # fmt: skip
    return StudyResult(
        record=RECORD, label=label, study=study, facts=StudyFacts(), trials=tuple(trials)
    )


def test_a_study_that_is_not_compared_has_the_colour_of_a_control():
    (found,) = distance_correlations([tuned("base", EIGHT, EIGHT)])
    assert [series.colour for series in scatter([found], PALETTE).series] == [CONTROL_COLOUR]


def test_the_last_distance_before_fine_tuning_stands_against_the_test_error():
    distances, errors = (8.0, 1.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0), (0.8, *EIGHT[1:])
    (found,) = distance_correlations([tuned("orca", distances, errors)])
    assert (found.stage, found.distance, found.metric) == ("align", "otdd_exact", "test/nrmse")
    assert (found.distances, found.errors) == (distances, errors)
    assert found.correlation.rho == pytest.approx(stats.spearmanr(distances, errors).statistic)
    assert (
        distance_answer([found])
        == "OTDD predicts the test error in none of 1 study, as far as can be told."
    )


@pytest.mark.parametrize(("sign", "way"), [(1, "closer is better"), (-1, "closer is worse")])
def test_an_order_that_is_no_chance_is_said_which_way_it_goes(sign, way):
    (found,) = distance_correlations([tuned("orca", range(12), [5 + sign * n for n in range(12)])])
    assert found.correlation.rho == pytest.approx(sign)
    assert distance_answer([found]) == f"By OTDD, {way} for ORCA on t (ρ = {sign})."


def test_p_is_corrected_for_the_studies():
    both = distance_correlations([tuned(m, range(12), range(12)) for m in ("orca", "mona")])
    for each in both:
        assert each.p_holm == pytest.approx(2 * each.correlation.p_value)


@pytest.mark.parametrize(
    ("distances", "errors", "changes"),
    [
        (EIGHT[1:], EIGHT[1:], {}),
        ([*EIGHT[1:], math.nan], EIGHT, {}),
        (EIGHT, [*EIGHT[1:], math.nan], {}),
        (EIGHT, EIGHT, {"state": TrialState.PRUNED}),
        (EIGHT, EIGHT, {"kind": TrialKind.REPLICATE}),
    ],
)
def test_fewer_than_eight_trials_of_the_search_with_both_numbers_show_nothing(
    distances, errors, changes
):
    found = distance_correlations([tuned("orca", distances, errors, **changes)])
    assert found == ()
    assert distance_section(found, {}) is None


def test_trials_that_are_all_alike_are_shown_and_tell_nothing():
    (found,) = distance_correlations([tuned("orca", [1.0] * 8, EIGHT)])
    assert found.correlation is None
    assert found.p_holm is None
    assert "nothing can be told" in distance_answer([found])


def reading(found: StudyResult, *sources: str) -> StudyResult:
    """The same study, whose trials read these sources in turn."""
    trials = tuple(
        replace(t, params={"proxy": sources[t.number % len(sources)]}) for t in found.trials
    )
    return replace(found, trials=trials)


def test_distances_to_two_sources_are_two_series():
    near, far = [n / 10 for n in range(8)], [100 - n for n in range(8)]
    distances = [d for both in zip(near, far, strict=True) for d in both]
    errors = [1 + n for n in range(8) for _ in range(2)]
    both = distance_correlations([reading(tuned("orca", distances, errors), "digits", "noise")])
    assert [(each.proxy, each.correlation.rho) for each in both] == [
        ("digits", pytest.approx(1)), ("noise", pytest.approx(-1)),
    ]  # fmt: skip
    assert [each.p_holm for each in both] == holm([each.correlation.p_value for each in both])
    section = [line[1].text for line in distance_section(both, PALETTE)["series"].lines]
    assert section == ["ORCA from digits", "ORCA from noise"]
    assert [trace.name for trace in scatter(both, PALETTE).series] == [
        "ORCA from digits, ρ = 1", "ORCA from noise, ρ = -1",
    ]  # fmt: skip


def test_a_source_that_all_trials_read_is_not_named():
    (found,) = distance_correlations([reading(tuned("orca", EIGHT, EIGHT), "digits")])
    assert found.proxy is None


def test_of_two_sources_it_is_said_from_which():
    distances = [float(n // 2) for n in range(24)]
    found = distance_correlations([reading(tuned("orca", distances, distances), "digits", "noise")])
    assert distance_answer(found) == (
        "By OTDD, closer is better for ORCA from digits on t (ρ = 1) and ORCA from noise on t "
        "(ρ = 1)."
    )


def test_the_figure_has_every_trial_of_every_method():
    found = distance_correlations([tuned(m, EIGHT, EIGHT[::-1]) for m in ("orca", "mona")])
    figure = scatter(found, PALETTE)
    assert [(list(t.x), list(t.y), t.colour) for t in figure.series] == [
        ([*EIGHT], [*EIGHT[::-1]], "#000000"),
        ([*EIGHT], [*EIGHT[::-1]], "#ffffff"),
    ]


@pytest.mark.slow
def test_a_comparison_says_it_in_json_and_on_its_page(large_ledger):
    comparison = compare([large_ledger])
    told = comparison_as_json(comparison)["distance"]
    assert told["answer"] == "By OTDD, closer is better for MoNA on pdebench/advection_1d (ρ = 1)."
    (series,) = told["series"]
    complete = [t for t in large_ledger.trials(f"mona/{TASK}") if t.state is TrialState.COMPLETE]
    assert series["trials"] == len(complete) - 1, "the control measures none"
    assert (series["stage"], series["distance"], series["label"]) == ("meta", "otdd_exact", "mona")
    assert series["rho"] == pytest.approx(1)
    assert told["answer"] in render_comparison(comparison)


def test_a_task_that_is_not_compared_is_not_asked(tmp_path):
    scores = [Scores(method="orca", task=task, best=[0.1]) for task in (TASK, "pdebench/darcy_2d")]
    ledger = write(tmp_path, "s", scores)
    assert comparison_as_json(compare([ledger], tasks=[TASK]))["distance"] is None
