"""The example plugin in this process: short, and as exact as what is built in."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sweeper.planning.plugin_path import activate
from tests.support.command import ROOT
from tests.support.tiny_trials import weights
from trainables import plugins
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.loading import prepare_task

PLUGIN = ROOT / "tests" / "example_plugin"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrialSpec]:
    """Return a small trial of which method, task and backbone are the plugin's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("PYTHONPATH", "SWEEPER_PLUGIN_FOLDERS"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    activate(PLUGIN, tmp_path)
    yield TrialSpec.model_validate(
        {
            "method": "noisy",
            "task": "example/travel",
            "backbone": {"name": "example_mixer", "weights": "random", "tokens": 16},
            "data": {"samples": 24, "val_fraction": 0.25, "test_fraction": 0.25, "resolution": 32},
            "model": {"head": "linear"},
            "stages": {
                "noisy": {"epochs": 2, "batch_size": 4},
                "refine": {"epochs": 2, "batch_size": 4, "warmup_epochs": 1.0},
            },
            "home": tmp_path,
        }
    )
    monkeypatch.undo()
    for name in [n for n in sys.modules if n.startswith("example_plugin")]:
        del sys.modules[name]
    plugins.reread()


def test_it_has_at_most_150_lines():
    files = [PLUGIN / "pyproject.toml", *(PLUGIN / "example_plugin").glob("*.py")]
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) <= 150


def test_a_trial_of_it_is_the_same_when_interrupted(spec: TrialSpec, tmp_path: Path):
    prepare_task(spec.task, spec.data, spec.home)
    parts = WarmParts()
    whole = Training.begin(spec, parts)
    reports = list(whole.reports())
    assert [report.stage for report in reports] == ["noisy", "noisy", "refine", "refine"]
    for stop in (1, 3):
        first = Training.begin(spec, parts)
        running = first.reports()
        for _ in range(stop):
            next(running)
        first.save(tmp_path / f"checkpoint-{stop}")
        second = Training.begin(spec, parts)
        second.load(tmp_path / f"checkpoint-{stop}")
        assert len(list(second.reports())) == 4 - stop
        ours, theirs = weights(second), weights(whole)
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())
