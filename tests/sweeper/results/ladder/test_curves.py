"""The curves of a sweep with a ladder: crossings, floors, forecasts, and how they are told."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sweeper.ledger import Ledger
from sweeper.render.json import comparison_as_json
from sweeper.render.page.curves import ladder_figure
from sweeper.render.page.figures import colours
from sweeper.render.page.plot import draw
from sweeper.render.page.report import render_comparison
from sweeper.results.compare import RUNGS, compare
from sweeper.results.ladder.curves import LadderResult, Outcome
from sweeper.results.ladder.sentences import ladder_lines, ladder_rows
from sweeper.text import readable
from tests.support.compared_ledgers import Scores

TASK = "pdebench/advection_1d"
LEVELS = (100, 400, 1600)
NOISE = (0.004, -0.006, 0.008, -0.002, 0.005, -0.008, 0.001, -0.003)
SEEDS = range(100, 108)
Law = Callable[[int], float]


def steep(n: int) -> float:
    return 3 * n**-0.4


def flat(n: int) -> float:
    return 1.2 * n**-0.25


def arms(
    method: str, law: Law, *, floor: float = 0.9, levels: Sequence[int] = LEVELS, shift: int = 0
) -> list[Scores]:
    """An arm for each level, of a draw for each seed, beside ridge regression."""
    noise = NOISE[shift:] + NOISE[:shift]
    return [
        Scores(
            method=method,
            task=TASK,
            arm=f"data.samples={n}",
            best=[law(n) * (1 + each) for each in noise],
            seeds=SEEDS,
            facts={"floor": {"name": "ridge", "value": floor}, "content_hash": f"{n}" * 16},
        )
        for n in levels
    ]


@pytest.fixture
def ladder(sweep) -> Callable[..., LadderResult]:
    def of(*studies: list[Scores]) -> LadderResult:
        (found,) = compare([_ledger(sweep, *studies)]).ladders
        return found

    return of


def _ledger(sweep, *studies: list[Scores]) -> Ledger:
    levels = {"data.samples": [*LEVELS]}
    return sweep(*(arm for each in studies for arm in each), compare_by=levels, ladder=levels)


def test_a_curve_passes_another_where_their_laws_are_equal(ladder):
    (pair,) = ladder(arms("nft", steep), arms("scratch", flat, shift=3)).pairs
    assert pair.outcome is Outcome.PASSES
    assert pair.crossing is not None
    assert pair.crossing.at == pytest.approx((3 / 1.2) ** (1 / 0.15), rel=0.05)
    assert (pair.seeds, pair.levels) == (8, LEVELS)


def test_the_other_order_is_told_as_to_be_passed(ladder):
    found = ladder(arms("scratch", flat), arms("nft", steep, shift=3))
    (pair,) = found.pairs
    assert pair.outcome is Outcome.PASSED
    assert "NFT passes From scratch at 450 samples" in " ".join(ladder_lines(found))


def test_a_curve_above_another_never_passes_it(ladder):
    def worse(n: int) -> float:
        return 1.2 * steep(n)

    found = ladder(arms("nft", worse), arms("scratch", steep, shift=3))
    assert found.pairs[0].outcome is Outcome.NEVER
    told = "NFT never passes From scratch, from 100 to 1,600 samples"
    assert any(line.startswith(told) for line in ladder_lines(found))
    (other,) = ladder(arms("scratch", steep, shift=3), arms("nft", worse)).pairs
    assert other.outcome is Outcome.AHEAD


def test_equal_arms_cannot_be_told_apart(ladder):
    (pair,) = ladder(arms("nft", steep), arms("scratch", steep, shift=3)).pairs
    assert pair.outcome is Outcome.UNKNOWN


def test_equal_arms_are_not_told_to_be_lower(ladder):
    found = ladder(arms("nft", steep), arms("scratch", steep))
    assert found.pairs[0].outcome is Outcome.UNKNOWN
    assert "NFT and From scratch: cannot tell (" in " ".join(ladder_lines(found))


def test_what_does_not_beat_the_floor_says_nothing_of_the_task(ladder):
    found = ladder(arms("nft", steep, floor=0.1), arms("scratch", flat, floor=0.1))
    assert found.pairs[0].outcome is Outcome.NOT_INFORMATIVE
    assert {each.outcome for each in found.from_floor} == {Outcome.NEVER}
    assert "NFT never passes ridge regression" in " ".join(ladder_lines(found))


def test_a_floor_that_changes_its_predictor_is_named_by_all(ladder):
    studies = arms("nft", steep, floor=0.3)
    facts = {"floor": {"name": "knn", "value": 0.3}}
    studies[0] = Scores(**{**vars(studies[0]), "facts": {**studies[0].facts, **facts}})
    told = "NFT passes the floor (nearest neighbours, then ridge regression) at 320 samples"
    assert any(line.startswith(told) for line in ladder_lines(ladder(studies)))


def test_the_largest_rung_is_forecast_before_it_is_run_and_the_forecast_stays(ladder):
    before, after = (ladder(arms("nft", steep, levels=LEVELS[:n])) for n in (2, 3))
    (seen,), (come,) = before.curves, after.curves
    assert seen.forecast is not None
    assert come.forecast is not None
    assert seen.forecast.came is None
    assert (seen.forecast.value, seen.forecast.ci) == (come.forecast.value, come.forecast.ci)
    assert come.forecast.value == pytest.approx(steep(1600), rel=0.01)
    assert come.forecast.is_met
    assert "It has no value yet." in ladder_lines(before)[-1]
    assert "in the interval." in ladder_lines(after)[-1]
    assert ladder_rows(before)[1][0][-1] == "not run"


def test_a_largest_rung_with_an_error_of_0_has_run_and_lies_below_its_forecast(ladder):
    *smaller, largest = arms("nft", steep)
    found = ladder([*smaller, replace(largest, best=[0.0, *largest.best[1:]])])
    assert ladder_lines(found)[-1].endswith("It came to 0, below it.")


def test_beside_a_longer_ladder_a_curve_keeps_the_forecast_of_its_own(sweep):
    ours = _ledger(sweep, arms("nft", steep))
    longer = {"data.samples": [*LEVELS, 6400]}
    theirs = sweep(*arms("scratch", flat, levels=longer["data.samples"]), name="longer",
                   compare_by=longer, ladder=longer)  # fmt: skip
    (alone,), (beside,) = compare([ours]).ladders, compare([ours, theirs]).ladders
    assert alone.curves[0].forecast == beside.curves[0].forecast
    assert [each.forecast.level for each in beside.curves] == [1600, 6400]


def test_a_largest_rung_with_fewer_seeds_is_told_beside_its_forecast(ladder):
    found = ladder([*arms("nft", steep)[:-1], replace(arms("nft", steep)[-1], best=[0.16] * 7)])
    (curve,) = found.curves
    assert (curve.forecast.came, curve.forecast.absent) == (pytest.approx(0.16), 1)
    assert curve.forecast.is_met is None
    told = ladder_lines(found)[-1]
    assert "over 8 seeds (" in told
    assert told.endswith("It came to 0.16 on 7 of them.")


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_the_figure_leaves_out_a_rung_without_values(ladder, number):
    found = ladder(arms("nft", steep))
    (curve,) = found.curves
    rungs = [
        replace(r, mean=None, ci=None) if i == number else r for i, r in enumerate(curve.rungs)
    ]
    shown = replace(found, curves=(replace(curve, rungs=tuple(rungs), forecast=None),))
    drawn = draw(ladder_figure(shown, colours(["nft"])))
    for i, rung in enumerate(curve.rungs):
        assert (f"{rung.level:,g}: {readable(rung.mean)}" in drawn) == (i != number)


def test_the_interval_of_a_forecast_that_knows_little_does_not_stretch_the_figure(ladder):
    found = ladder(arms("nft", steep))
    (curve,) = found.curves
    loose = replace(curve.forecast, ci=(1e-9, 1e9))
    shown = replace(found, curves=(replace(curve, forecast=loose),))
    (line,) = (s for s in ladder_figure(shown, colours(["nft"])).series if len(set(s.x)) < len(s.x))
    means = [rung.mean for rung in curve.rungs]
    assert line.y == (min(*means, loose.value), max(*means, loose.value))


def test_two_keys_give_a_curve_for_each_level_of_the_other(sweep):
    levels = {"data.samples": [100, 400], "backbone.layers": [2, 4]}
    cells = [
        Scores(method="nft", task=TASK, arm=f"data.samples={n},backbone.layers={k}",
               best=[steep(n) / k * (1 + each) for each in NOISE], seeds=SEEDS)
        for n in (100, 400) for k in (2, 4)
    ]  # fmt: skip
    samples, layers = compare([sweep(*cells, compare_by=levels, ladder=levels)]).ladders
    assert (samples.key, layers.key) == tuple(levels)
    assert [curve.label for curve in samples.curves] == [
        "nft backbone.layers=2", "nft backbone.layers=4"
    ]  # fmt: skip
    assert [len(curve.rungs) for curve in layers.curves] == [2, 2]
    assert samples.pairs[0].outcome is Outcome.NEVER


@pytest.mark.slow
def test_text_json_and_page_tell_the_same(sweep):
    found = compare([_ledger(sweep, arms("nft", steep), arms("scratch", flat, shift=3))])
    (task,) = found.tasks
    assert (task.differences, task.incomparable) == ((), (RUNGS,))
    (plain,) = comparison_as_json(found)["ladders"]
    lines = ladder_lines(found.ladders[0])
    assert plain["sentences"] == lines
    page = render_comparison(found)
    assert all(line in page for line in lines)
    figure = ladder_figure(found.ladders[0], colours(["nft", "scratch"]))
    assert {series.name for series in figure.series} == {"NFT", "From scratch", "floor"}
