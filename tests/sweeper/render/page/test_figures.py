"""Figures: each trial is where it belongs, every mark on the paper, and no text is markup."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from sweeper.model import TrialKind, TrialState
from sweeper.render.page.figures import (
    OWN_COLOURS,
    TrialCurve,
    any_time,
    bars,
    best_so_far,
    by_stage,
    colours,
    history,
    hover,
    learning,
    learning_curves,
    parallel,
    scores,
)
from sweeper.render.page.html import render
from sweeper.render.page.plot import MAX_POINTS, Axis, Figure, Series, draw, stacked, wrap
from sweeper.results.compare import compare
from tests.support.compared_ledgers import Scores
from tests.support.ledgers import RESOLVED, TASK, tuned_study


def test_history_shows_every_measured_trial_once(large_ledger):
    study = tuned_study(large_ledger, f"mona/{TASK}")
    shown = [
        (x, y)
        for trace in history(study).series
        if trace.symbol
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    assert sorted(shown) == [(t.number, t.value) for t in study.trials]
    assert {t.name for t in history(study).series} == {
        "lowest so far", "preset", "control", "complete", "pruned", "failed",
    }  # fmt: skip


def test_learning_shows_a_line_a_trial_and_each_state_once_in_the_legend(large_ledger):
    study = tuned_study(large_ledger, f"mona/{TASK}")
    figure = learning(study, learning_curves(study))
    assert len(figure.series) == 24
    assert sorted(each.name for each in figure.legend) == [
        "complete",
        "control",
        "failed",
        "preset",
        "pruned",
    ]
    assert sum(trace.width == 3 for trace in figure.series) == 1, "the best"


def test_a_curve_holds_each_epoch_once_though_one_was_run_again(ledger):
    curves = {c.trial.number: c for c in learning_curves(tuned_study(ledger, f"nft/{TASK}"))}
    assert curves[2].epochs == (1, 2, 3, 4, 5, 6)
    assert curves[3].epochs == (1, 2)


def test_a_curve_is_what_was_measured_in_the_stages_of_the_objective(ledger):
    for curve in learning_curves(tuned_study(ledger, f"mona/{TASK}")):
        assert set(curve.stages) == {"refine"}
        assert min(curve.values) == curve.trial.value


def test_best_so_far_never_rises_and_leaves_the_control_out(large_ledger):
    trials = large_ledger.trials(f"mona/{TASK}")
    numbers, lowest = best_so_far(trials)
    assert lowest == sorted(lowest, reverse=True)
    assert 1 not in numbers
    assert lowest[-1] == min(t.value for t in trials if t.state == "complete" and t.number != 1)


def test_parallel_has_a_line_a_complete_sampled_trial_the_best_on_top(large_ledger):
    study = tuned_study(large_ledger, f"mona/{TASK}")
    figure = parallel(study, RESOLVED["parameters"])
    assert figure.series[-1].name == f"trial {study.best.number}"
    assert all(len(trace.x) == 3 for trace in figure.series), "two parameters, and the value"
    assert [trace.y[-1] for trace in figure.series] == sorted(
        (trace.y[-1] for trace in figure.series), reverse=True
    )
    assert (figure.series[-1].y[-1], figure.series[0].y[-1]) == (0, 1)
    assert all(0 <= y <= 1 for trace in figure.series for y in trace.y)


def test_the_thick_line_is_the_best_over_replicates(large_ledger):
    study = tuned_study(large_ledger, f"mona/{TASK}")
    other = next(
        t for t in study.trials
        if t.kind is TrialKind.SAMPLED and t.state is TrialState.COMPLETE and t != study.best
    )  # fmt: skip
    repeat = replace(other, number=100_000, kind=TrialKind.REPLICATE, origin=other.number)
    figure = parallel(replace(study, trials=(*study.trials, repeat)), RESOLVED["parameters"])
    thick = [trace.name for trace in figure.series if trace.width == 3]
    assert thick == [f"trial {other.number}"]


def test_one_trial_makes_no_parallel_figure(ledger):
    assert parallel(tuned_study(ledger, f"mona/{TASK}"), {}) is None


def test_a_parameter_that_was_not_sampled_leaves_a_gap(large_ledger):
    study = tuned_study(large_ledger, f"mona/{TASK}")
    trials = tuple(
        replace(t, sampled=t.sampled[:1]) if t.number == study.best.number else t
        for t in study.trials
    )
    figure = parallel(replace(study, trials=trials), {})
    assert figure.series[-1].y[1] is None


def test_replicates_have_curves_of_their_own(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    trials = tuple(
        replace(t, kind=TrialKind.REPLICATE) if t.state is TrialState.COMPLETE else t
        for t in tuned.trials
    )
    study = replace(tuned, trials=trials)
    figure = learning(study, learning_curves(study))
    assert {t.name for t in figure.series} == {"replicate", "pruned", "failed"}


def test_a_value_that_is_not_finite_is_a_gap_in_its_curve(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    first = tuned.trials[0]
    broken = tuple(
        replace(m, objective=math.nan) if (m.stage, m.epoch) == ("refine", 3) else m
        for m in first.measurements
    )
    trials = (replace(first, measurements=broken), *tuned.trials[1:])
    curves = learning_curves(replace(tuned, trials=trials))
    figure = learning(tuned, curves)
    assert "nan" not in draw(figure)
    assert [c.values[2] for c in curves if c.trial.number == 0] == [None]


def test_importance_is_summed_by_stage():
    shares = {"refine.lr": 0.5, "meta.alpha": 0.25, "refine.epochs": 0.125, "proxy": 0.125}
    assert by_stage(shares) == {"refine": 0.625, "meta": 0.25, "proxy": 0.125}
    figure = bars(shares)
    assert [each.name for each in figure.legend] == ["refine: 0.62", "meta: 0.25", "proxy: 0.12"]
    assert sum(trace.x[-1] for trace in figure.series) == 1
    assert figure.y.names[0] == "refine.lr", "the largest on top"


def test_text_of_a_user_is_no_markup(ledger):
    trial = tuned_study(ledger, f"mona/{TASK}").trials[2]
    params = {"<b>x</b>": "a<i>&'\u202e"}
    text = hover(replace(trial, params=params, sampled=tuple(params)))
    assert text.endswith("\n<b>x</b> = a<i>&'\u202e"), "it is escaped where it is written"
    figure = Figure(
        caption=text,
        series=(
            Series(
                name=text, colour="#000000", x=(0,), y=(0,), tips=(f'"{text}',), title=text,
                labels=(text,), symbol="o",
            ),
        ),
        x=Axis(title=text),
        y=Axis(names=(text,)),
    )  # fmt: skip
    for shown in (_shown(figure), stacked([figure])):
        assert "<b>" not in shown
        assert "\u202e" not in shown
    (tips,) = (group.get("data-tips") for group in _groups(draw(figure)))
    assert tips == f'"{text}'.replace("\n", " ").replace("\u202e", r"\u202e")


def _shown(figure: Figure) -> str:
    """Return the page of a study that has this figure alone."""
    study = SimpleNamespace(
        place="", title="", counts="", facts="", notes=[], figures=[figure], importance="",
        num_trials=0, trials=SimpleNamespace(columns=(), lines=(), marked=(), printed_pt=7.0),
        best=None, same="", goals="", front=None, is_open=False,
    )  # fmt: skip
    return render("study.html.j2", title="", answer="", study=study, distance=None)


SVG = "{http://www.w3.org/2000/svg}"


def _groups(svg: str) -> list[ElementTree.Element]:
    """Return the groups of the series of a figure that have tips."""
    return [
        group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if group.get("data-tips")
    ]


def _texts(svg: str) -> list[tuple[str, float, float, str]]:
    """Return each text with its place and its anchor."""
    return [
        (each.text, float(each.get("x")), float(each.get("y")), each.get("style"))
        for each in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if not each.get("transform")
    ]


def _places(group: ElementTree.Element) -> list[tuple[float, float]]:
    """Return the points of a series: its marks, or the corners of its lines."""
    if marks := [(float(e.get("x")), float(e.get("y"))) for e in group.iter(f"{SVG}use")]:
        return marks
    path = next(group.iter(f"{SVG}path")).get("d")
    numbers = list(map(float, path.replace("M", " ").split()))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _ticks(values, **axis) -> list[str]:
    """Return the labels of a y axis whose series has these values."""
    places = tuple(range(len(values)))
    series = Series(name="a", colour="#000000", x=places, y=tuple(values), symbol="o", tips=("",))
    svg = draw(Figure(caption="", series=(series,), y=Axis(**axis)))
    return [text for text, *_, style in _texts(svg) if "end" in style]


@pytest.mark.parametrize("values", [[0.1], [0.0, 0.0], [1e-9, 1.0, 1e9], [-3.0, 5.0], [7, 8], []])
def test_an_axis_has_a_few_different_ticks(values):
    ticks = _ticks(values)
    assert 1 <= len(ticks) <= 10
    assert len(set(ticks)) == len(ticks)


def test_values_that_differ_by_more_than_a_factor_of_four_have_a_logarithmic_axis():
    assert _ticks([0.1, 0.5]) == ["0.1", "0.2", "0.5"]
    assert _ticks([0.2, 0.5]) == ["0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5"]
    assert _ticks([-1.0, 5.0]) == ["-1", "0", "1", "2", "3", "4", "5"]
    assert _ticks([1.0, 5.0], kind="amounts") == ["0", "1", "2", "3", "4", "5"]
    assert _ticks([1, 3], kind="counts") == ["1", "2", "3"]


def test_every_mark_and_label_is_on_the_paper(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    figures = [
        history(tuned),
        learning(tuned, learning_curves(tuned)),
        parallel(tuned, RESOLVED["parameters"]),
        bars({"refine.lr": 0.8, "a_very_long_name_of_a_stage.and_of_its_parameter": 0.2}),
    ]
    for figure in figures:
        svg = draw(figure)
        *_, width, height = map(float, ElementTree.fromstring(svg).get("viewBox").split())
        groups = _groups(svg)
        assert len(groups) == sum(bool(series.tips) for series in figure.series)
        for x, y in (place for group in groups for place in _places(group)):
            assert 0 <= x <= width
            assert 0 <= y <= height
        for text, x, y, style in _texts(svg):
            half = len(text) * 6 / (1 if "end" in style else 2)
            assert x - (half if "text-anchor" in style else 0) >= -1
            assert 0 <= y <= height


def test_names_of_many_lines_do_not_overlap():
    name = "ORCA with refine.freeze=body, refine.lr=0.003, backbone.pretrained_layers="
    names = tuple(f"{name}{number}" for number in range(8))
    series = Series(name="a", colour="#000000", x=(1.0,) * 8, y=tuple(range(8)), symbol="o")
    svg = draw(Figure(caption="", series=(series,), y=Axis(names=names)))
    places = sorted(float(y) for y in re.findall(r"translate\([\d.]+ ([\d.]+)\)", svg))
    assert len(places) == 8 * 4
    assert min(later - y for y, later in pairwise(places)) > 11  # the size of the font


def test_a_gap_breaks_a_line():
    series = Series(
        name="a", colour="#000000", x=(0, 1, 2), y=(0.0, None, 1.0), line="straight", tips=("b",)
    )
    (group,) = _groups(draw(Figure(caption="", series=(series,))))
    assert next(group.iter(f"{SVG}path")).get("d").count("M") == len(_places(group)) == 2


def test_very_long_curves_are_thinned_and_keep_their_lowest_and_last_point(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    count = 2 * MAX_POINTS
    values = [1.0 - 0.5 * (epoch == 1001) for epoch in range(1, count + 1)]
    curve = TrialCurve(
        trial=tuned.trials[0], epochs=tuple(range(1, count + 1)), values=tuple(values),
        stages=("refine",) * count,
    )  # fmt: skip
    (group,) = _groups(draw(learning(tuned, [curve])))
    first, *tips = group.get("data-tips").replace(": ", ":").split()
    assert len(_places(group)) == 1 + len(tips) <= MAX_POINTS + 2
    assert first == "1", "whose number is its place"
    assert "1001:0.5" in tips
    assert tips[-1] == f"{count}:1"


def test_long_labels_are_broken_behind_dots_and_dashes():
    assert wrap("contrast.learning_rate", 14) == "contrast.\nlearning_rate"
    assert wrap("abcdefghij", 5) == "abcd…"
    assert wrap("adam", 14) == "adam"


def test_a_method_has_one_colour_in_all_figures_and_no_two_arms_have_the_same():
    methods = list(OWN_COLOURS)
    for number in range(len(methods)):
        found = colours(methods[number:] + methods[:number])
        assert {method: found[method] for method in methods} == OWN_COLOURS
    arms = ["mona meta.epochs=1", "mona meta.epochs=2", "unet", "orca data.samples=100", "nft"]
    found = colours(arms)
    assert len(set(found.values())) == len(found) == len(arms) + 1
    assert [found[arms[0]], found[arms[3]], found["nft"]] == [
        OWN_COLOURS["mona"], OWN_COLOURS["orca"], OWN_COLOURS["nft"]
    ]  # fmt: skip
    assert len(colours([f"mona {number}" for number in range(40)])) == 41


@pytest.mark.parametrize("floor", [0.0037, 0.25, 3.0])
def test_the_floor_is_a_line_within_the_axis(sweep, floor):
    facts = {"baselines": {"ridge": floor}}
    best = Scores(method="mona", task=TASK, best=[0.2, 0.3], facts=facts)
    figure = scores(compare([sweep(best)]).tasks[0], colours(["mona"]))
    assert figure.rule == floor
    root = ElementTree.fromstring(draw(figure))
    (rule,) = (p for p in root.iter(f"{SVG}path") if "dasharray" in p.get("style", ""))
    assert 30 < float(rule.get("d")[1:].split()[0]) < 460
    assert figure.caption.endswith(f"; dotted: ridge regression, {floor:.4g}")


def test_candidates_are_counted_by_whole_numbers(sweep):
    best = Scores(method="mona", task=TASK, best=[0.2], num_trials=4)
    figure = any_time(compare([sweep(best)]).tasks[0], "trials", colours(["mona"]))
    shown = [text for text, *_, style in _texts(draw(figure)) if "middle" in style]
    assert shown[:3] == ["1", "2", "3"]
