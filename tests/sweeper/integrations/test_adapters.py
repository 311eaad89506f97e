"""Adapters by the gallery's scripts, in attempts of this process, on the real packages."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeper import integrations
from sweeper.errors import UsageError
from tests.support.command import ROOT
from trainables.methods.program import text_hash
from trainables.report import Measured
from trainables.runtime.attempt import Attempt
from trainables.spec import AttemptConfig, ProgramSpec

SCRIPTS = ROOT / ".site" / "gallery" / "scripts" / "tuned"
ADAPTERS = [path for path in Path(integrations.__file__).parent.glob("*.py") if path.stem[0] != "_"]
STEPS, ENDS = 3, 1
METRICS = {
    "torch_loop": "accuracy",
    "sklearn_sgd": "accuracy",
    "lightgbm_rounds": "valid_0_multi_logloss",
    "lightning_module": "val_loss",
    "hf_trainer": "eval_loss",
}
# Their packages take seconds to import.
HEAVY = [pytest.param(name, marks=pytest.mark.slow) for name in ("lightning_module", "hf_trainer")]


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])


def attempt(script: str, folder: Path, *resume: Path) -> Attempt:
    spec = ProgramSpec(
        name="main",
        function=f"{script}:main",
        metric=METRICS[script],
        steps=STEPS,
        folder=str(SCRIPTS),
    )
    spec = spec.model_copy(update={"code": text_hash(spec)})
    params: dict[str, Any] = {"epochs": STEPS}
    if script == "lightgbm_rounds":
        params = {"rounds": STEPS}
    return Attempt(
        AttemptConfig(
            spec={"program": spec.model_dump(mode="json"), "params": params, "seed": 2**32 - 1},
            is_program=True,
            label=script,
            folder=str(folder),
            resume=tuple(map(str, resume)),
        )
    )


def values(running: Attempt, steps: int) -> list[tuple[int, float]]:
    """Return the steps and objectives of so many reports, after which the trial is stopped."""
    found = []
    for _ in range(steps):
        result = running.step()
        assert isinstance(result, Measured), result
        found.append((result.measurement.epoch, result.measurement.objective))
    running.close()  # fails if the script does not end by itself
    return found


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize("script", ["torch_loop", "sklearn_sgd", "lightgbm_rounds", *HEAVY])
def test_a_script_that_was_stopped_goes_on_as_if_never_interrupted(script, tmp_path):
    whole = values(attempt(script, tmp_path / "whole" / "attempt-1"), STEPS)
    first = values(attempt(script, tmp_path / "cut" / "attempt-1"), ENDS)
    kept = tmp_path / "cut" / "attempt-1" / f"run-{ENDS:04d}"
    rest = values(attempt(script, tmp_path / "cut" / "attempt-2", kept), STEPS - ENDS)
    assert [step for step, _ in whole] == [1, 2, 3]
    assert len({value for _, value in whole}) == STEPS
    assert first + rest == whole


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: path.stem)
def test_an_adapter_is_short(adapter):
    assert len(adapter.read_text().splitlines()) <= 40


@pytest.mark.parametrize(
    ("adapter", "package"),
    [("lightning", "lightning"), ("lightgbm", "lightgbm"), ("huggingface", "accelerate")],
)
def test_a_missing_package_names_its_extra(monkeypatch, adapter, package):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"sweeper.integrations.{adapter}", raising=False)
    told = rf"`{package}.*` is not installed: pip install .crossmodal-sweeper\[{adapter}\]"
    with pytest.raises(UsageError, match=told):
        importlib.import_module(f"sweeper.integrations.{adapter}")
