"""Gauges: what they say follows from what the sweep did, and the dashboard asks for no others."""

import json
import re
from dataclasses import replace
from typing import ClassVar

import pytest

from sweeper.execution import gauges
from sweeper.execution.gauges import LABELS, OF_TRIALS, REFRESH_S, Gauges
from sweeper.model import TrialState
from tests.support.command import ROOT
from tests.support.trials import measured, sampled

TRIAL = sampled("mona/t", 7, state=TrialState.RUNNING)
PANELS = ROOT / "docker" / "grafana" / "dashboards" / "sweeper.json"


class Gauge:
    """Takes the place of Ray's, which answers to a cluster alone (end_to_end/test_gauges.py)."""

    shown: ClassVar[dict[tuple[str, ...], float]] = {}

    def __init__(self, name: str, *, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys = name, tag_keys

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.keys), "a label that was not declared, or one too few"
        self.shown[self.name, *(tags[key] for key in self.keys)] = value


class Runner:
    """A sweep of ten planned trials."""

    num_planned = 10
    trials = (
        TRIAL,
        replace(TRIAL, number=8, state=TrialState.COMPLETE),
        replace(TRIAL, number=9, state=TrialState.PAUSED),
    )


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.setattr(gauges, "Gauge", Gauge)
    Gauge.shown.clear()
    return Gauge.shown


def test_a_trial_is_shown_as_it_reported_last(shown):
    now = 100.0
    sweep = Gauges("s", Runner(), lambda: 42, clock=lambda: now)
    sweep.changed(TRIAL)
    sweep.changed(replace(TRIAL, value=0.5), measured(1, 0.5, seconds=3.0))
    sweep.changed(replace(TRIAL, value=0.5), measured(2, 0.75, seconds=5.5))
    now += 4
    sweep.tick()
    of_trial = {name: shown[name, "s", "mona/t", "007", "refine"] for name in OF_TRIALS}
    assert of_trial == {
        "sweeper_trial_epoch": 2,
        "sweeper_trial_objective": 0.75,
        "sweeper_trial_best": 0.5,
        "sweeper_trial_epoch_seconds": 2.5,
    }
    states = {state.value: shown["sweeper_trials", "s", state.value] for state in TrialState}
    assert states == {
        "waiting": 7, "running": 1, "complete": 1, "pruned": 0, "failed": 0, "interrupted": 0,
        "paused": 1,
    }  # fmt: skip
    assert shown["sweeper_seconds_since_report", "s"] == 4
    assert shown["sweeper_mlflow_pending_records", "s"] == 42


def test_what_has_no_value_is_not_shown(shown):
    sweep = Gauges("s", Runner(), lambda: 0)
    sweep.changed(TRIAL, measured(seconds=1.0))
    sweep.tick()
    assert {key[0] for key in shown} & OF_TRIALS.keys() == {
        "sweeper_trial_epoch",
        "sweeper_trial_epoch_seconds",
    }


@pytest.mark.parametrize("state", [s for s in TrialState if s is not TrialState.RUNNING])
def test_a_trial_that_does_not_run_is_no_longer_shown(shown, state):
    sweep = Gauges("s", Runner(), lambda: 0)
    sweep.changed(TRIAL, measured(1, 0.5, seconds=1.0))
    sweep.changed(replace(TRIAL, state=state))
    sweep.tick()
    assert not {key[0] for key in shown} & OF_TRIALS.keys()


def test_values_are_set_again_and_again_but_not_each_time(shown):
    times = iter([0.0, 0.0, 1.0, REFRESH_S - 0.1, REFRESH_S, 2 * REFRESH_S])
    asked = []
    sweep = Gauges("s", Runner(), lambda: asked.append("pending") or 0, clock=lambda: next(times))
    known = []
    for _ in range(5):
        sweep.tick()
        known.append(len(asked))
    assert known == [1, 1, 1, 2, 3]


def test_the_dashboard_asks_for_every_gauge_and_for_labels_that_it_has():
    dashboard = json.loads(PANELS.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queried = {name for text in asked for name in re.findall(r"\w*sweeper_\w+", text)}
    assert queried == {f"ray_{name}" for name in LABELS}
    for text in asked:
        (name,) = re.findall(r"ray_(sweeper_\w+)", text)
        used = set(re.findall(r"(\w+)=~", text))
        used |= {label.strip() for found in re.findall(r"by \((.*?)\)", text)
                 for label in found.split(",")}  # fmt: skip
        assert used <= set(LABELS[name]), text
    variables = [v["definition"] for v in dashboard["templating"]["list"] if "definition" in v]
    for text in variables:
        name, label = re.fullmatch(r"label_values\(ray_(\w+)(?:\{.*\})?, (\w+)\)", text).groups()
        assert label in LABELS[name]
