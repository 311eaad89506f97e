"""Figures: each trial is where it belongs, and no text of a user is markup."""

import json
import math
from dataclasses import replace

from sweeper.analysis.report.curves import learning_curves
from sweeper.analysis.report.figures import (
    as_plain,
    bars,
    by_stage,
    history,
    hover,
    learning,
    parallel,
)
from sweeper.analysis.table import read_study
from sweeper.model import TrialKind, TrialState
from tests.support.ledgers import RESOLVED, TASK, tuned_study


def test_history_shows_every_measured_trial_once(large_ledger):
    study = read_study(large_ledger, f"mona/{TASK}")
    shown = [
        (x, y)
        for trace in history(study).data
        if trace.mode == "markers"
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    assert sorted(shown) == [(t.number, t.value) for t in study.trials]
    assert {t.name for t in history(study).data} == {
        "lowest so far", "preset", "control", "complete", "pruned", "failed",
    }  # fmt: skip


def test_learning_shows_a_line_a_trial_and_each_state_once_in_the_legend(large_ledger):
    study = read_study(large_ledger, f"mona/{TASK}")
    figure = learning(study, learning_curves(tuned_study(large_ledger, study.study.name)))
    assert len(figure.data) == 24
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(named) == ["complete", "control", "failed", "preset", "pruned"]
    assert sum(trace.line.width == 3 for trace in figure.data) == 1, "the best"


def test_parallel_has_a_line_a_complete_sampled_trial_the_best_on_top(large_ledger):
    study = read_study(large_ledger, f"mona/{TASK}")
    figure = parallel(study, RESOLVED["parameters"])
    assert figure.data[-1].name == f"trial {study.best.number}"
    assert all(len(trace.x) == 3 for trace in figure.data), "two parameters, and the value"
    assert [trace.y[-1] for trace in figure.data] == sorted(
        (trace.y[-1] for trace in figure.data), reverse=True
    )
    assert (figure.data[-1].y[-1], figure.data[0].y[-1]) == (0, 1)
    assert all(0 <= y <= 1 for trace in figure.data for y in trace.y)


def test_the_thick_line_is_the_best_over_replicates(large_ledger):
    study = read_study(large_ledger, f"mona/{TASK}")
    other = next(
        t for t in study.trials
        if t.kind is TrialKind.SAMPLED and t.state is TrialState.COMPLETE and t != study.best
    )  # fmt: skip
    repeat = replace(other, number=100_000, kind=TrialKind.REPLICATE, origin=other.number)
    figure = parallel(replace(study, trials=(*study.trials, repeat)), RESOLVED["parameters"])
    thick = [trace.name for trace in figure.data if trace.line.width == 3]
    assert thick == [f"trial {other.number}"]


def test_one_trial_makes_no_parallel_figure(ledger):
    assert parallel(read_study(ledger, f"mona/{TASK}"), {}) is None


def test_a_parameter_that_was_not_sampled_leaves_a_gap(large_ledger):
    study = read_study(large_ledger, f"mona/{TASK}")
    trials = tuple(
        replace(t, sampled=t.sampled[:1]) if t.number == study.best.number else t
        for t in study.trials
    )
    figure = parallel(replace(study, trials=trials), {})
    assert figure.data[-1].y[1] is None


def test_replicates_have_curves_of_their_own(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    trials = tuple(
        replace(t, kind=TrialKind.REPLICATE) if t.state is TrialState.COMPLETE else t
        for t in tuned.study.trials
    )
    study = replace(tuned.study, trials=trials)
    figure = learning(study, learning_curves(replace(tuned, study=study)))
    assert {t.name for t in figure.data} == {"replicate", "pruned", "failed"}


def test_a_value_that_is_not_finite_is_a_gap_in_its_curve(large_ledger):
    tuned = tuned_study(large_ledger, f"mona/{TASK}")
    first = tuned.histories[0]
    broken = tuple(
        replace(m, objective=math.nan) if (m.stage, m.epoch) == ("refine", 3) else m
        for m in first.measurements
    )
    histories = {**tuned.histories, 0: replace(first, measurements=broken)}
    curves = learning_curves(replace(tuned, histories=histories))
    figure = learning(tuned.study, curves)
    json.dumps(as_plain(figure), allow_nan=False)
    assert [c.values[2] for c in curves if c.trial.number == 0] == [None]


def test_importance_is_summed_by_stage():
    shares = {"refine.lr": 0.5, "meta.alpha": 0.25, "refine.epochs": 0.125, "proxy": 0.125}
    assert by_stage(shares) == {"refine": 0.625, "meta": 0.25, "proxy": 0.125}
    figure = bars(shares)
    assert [trace.name for trace in figure.data] == ["refine: 0.62", "meta: 0.25", "proxy: 0.12"]
    assert sum(sum(trace.x) for trace in figure.data) == 1
    assert figure.layout.yaxis.categoryarray[-1] == "refine.lr", "the largest on top"


def test_text_of_a_user_is_no_markup(ledger):
    trial = read_study(ledger, f"mona/{TASK}").trials[2]
    params = {"<b>x</b>": "a<i>&"}
    text = hover(replace(trial, params=params, sampled=tuple(params)))
    assert text.endswith("<br>&lt;b>x&lt;/b> = a&lt;i>&amp;")


def test_a_figure_becomes_strict_json(ledger):
    study = read_study(ledger, f"mona/{TASK}")
    for figure in (history(study), bars({"refine.lr": 0.8, "meta.alpha": 0.2})):
        content = json.loads(json.dumps(as_plain(figure), allow_nan=False))
        assert content["data"]
