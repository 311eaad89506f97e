"""The example plugin in this process: short, and as exact as what is built in."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.planning import load
from sweeper.planning.plugin_path import activate
from tests.support.command import ROOT
from tests.support.plugins import restored
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.loading import prepare_task

PLUGIN = ROOT / "tests" / "example_plugin"
PAGE = ROOT / "trainables" / "methods" / "README.md"

TESTS = """
import sys

LOADED = set(sys.modules)
from example_plugin.method import NOISY
from example_plugin.task import EXAMPLE
from trainables.spec import BackboneSpec


def test_pytest_starts_without_torch():
    assert "sweeper.pytest_plugin" in LOADED
    assert not {"torch", "trainables"} & LOADED


def test_method(check_method):
    assert check_method(NOISY, settings={"noisy.sigma": 0.2})[0].stage == "noisy"


def test_benchmark(check_benchmark):
    check_benchmark(EXAMPLE)


def test_backbone(check_backbone):
    check_backbone(BackboneSpec(name="example_mixer", weights="random", tokens=8))
"""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from restored(monkeypatch, "example_plugin", "noisy")


def block(language: str) -> str:
    """Return the first block of this language on the page of how to add a method."""
    page = PAGE.read_text().partition("## Adding a method\n")[2]
    return page.partition(f"```{language}\n")[2].partition("```")[0]


def test_it_has_at_most_150_lines():
    files = [PLUGIN / "pyproject.toml", *(PLUGIN / "example_plugin").glob("*.py")]
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) <= 150


@pytest.mark.slow
def test_its_own_tests_have_the_contracts_as_fixtures(tmp_path: Path):
    activate(PLUGIN, tmp_path / "home")
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_page_on_methods_can_be_followed_literally(tmp_path: Path):
    file = tmp_path / "noisy.py"
    file.write_text(block("python"))
    sweep = tmp_path / "noisy.yaml"
    sweep.write_text(block("yaml"))
    activate(file, tmp_path / "home")
    noisy, _ = load.read(sweep, load.Options()).studies
    assert (noisy.method, noisy.control["noisy.epochs"]) == ("noisy", 0)
    spec = TrialSpec.model_validate(
        {
            "method": "noisy",
            "task": noisy.task,
            "backbone": {"name": str(save_tiny_roberta(tmp_path / "roberta")), "tokens": 8},
            "data": {"samples": 8, "val_fraction": 0.25, "test_fraction": 0.25, "resolution": 32},
            "model": {"head": "linear"},
            "stages": {"noisy": {"epochs": 1}, "refine": {"epochs": 1, "warmup_epochs": 0.0}},
            "home": tmp_path,
        }
    )
    prepare_task(spec.task, spec.data, spec.home)
    reports = list(Training.begin(spec, WarmParts()).reports())
    assert [report.stage for report in reports] == ["noisy", "refine"]
    assert tomllib.loads(block("toml"))["project"]["entry-points"]["sweeper.methods"]
