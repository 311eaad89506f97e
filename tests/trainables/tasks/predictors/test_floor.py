"""The floor: its rule, its cache, what a predictor sees, memory, and predictors of plugins."""

import math
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.support.plugins import install, write_distribution
from tests.support.shapes import with_splits
from trainables import plugins
from trainables.spec import DataSpec
from trainables.tasks.loading import load_task
from trainables.tasks.predictors import (
    PREDICTORS,
    CannotApply,
    Predictor,
    Setting,
    features,
    kernel_ridge,
    linear,
)
from trainables.tasks.predictors.floor import Score, Scores, scores_of
from trainables.tasks.predictors.isotropic_filter import IsotropicFilter
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task


def score(test: float, validation: float | None) -> Score:
    return Score(test=test, validation=validation, samples=1, seconds=0.0)


def test_the_floor_is_chosen_by_validation_and_never_a_solver():
    scored = {
        "mean": score(0.1, 0.9),  # the best by the test value
        "ridge": score(0.5, 0.2),
        "knn": score(0.4, 0.2),  # as good by validation, but later in the registry
        "coarse_solver": score(0.0, None),
    }
    assert Scores(scored=scored).floor == "ridge"
    assert Scores(scored={"coarse_solver": score(0.0, None)}).floor is None
    assert Scores().floor is None


def task_of(x: np.ndarray, y: np.ndarray, name: str = "pdebench/advection_1d") -> Task:
    """Return a task of which a half trains, and a quarter each validates and tests."""
    half, rest = len(x) // 2, 3 * len(x) // 4
    rows = {"train": slice(half), "val": slice(half, rest), "test": slice(rest, None)}
    splits = {part: Split(x=x[each], y=y[each]) for part, each in rows.items()}
    return with_splits(TASKS[name], "x", source="official", **splits)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_every_predictor_is_scored_or_says_why_not(tmp_path):
    found = scores_of(load_task("pdebench/burgers_1d", SMALL, tmp_path), tmp_path)
    assert set(found.scored) | set(found.refused) == set(PREDICTORS)
    assert not set(found.scored) & set(found.refused)
    assert all(found.refused.values())
    assert found.floor == "ridge"
    for knows_the_equation in ("closed_form", "coarse_solver"):
        assert found.scored[knows_the_equation].validation is None
    assert found.scored["coarse_solver"].samples <= 64


SMALL = DataSpec(samples=40, resolution=32)


def test_scores_are_computed_once_and_again_if_damaged(tmp_path, monkeypatch):
    task = task_of(noise(40, 1, 32), noise(40, 1, 32))
    found = scores_of(task, tmp_path)
    (file,) = (tmp_path / "cache" / "predictors" / "x").glob("*.json")
    file.write_text("{")
    assert scores_of(task, tmp_path).scored.keys() == found.scored.keys()
    monkeypatch.setattr("trainables.tasks.predictors.floor.compute_scores", None)
    again = scores_of(task, tmp_path)
    assert again.floor == found.floor
    assert again.refused == found.refused


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert scores_of(task_of(noise(40, 1, 32), noise(40, 1, 32)), tmp_path).floor is not None


def test_a_predictor_sees_inputs_and_outputs_alone(tmp_path):
    """The random numbers of generated samples are stored beside them, and never handed out."""
    seen: list[Split] = []
    asked: list[np.ndarray] = []

    class Spy(Predictor):
        name = "spy"

        def fit(self, train: Split, val: Split) -> Predictor:
            seen.extend((train, val))
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            asked.append(x)
            return np.zeros((len(x), 1, 32), np.float32)

    task = load_task("pdebench/darcy_2d", DataSpec(samples=20, resolution=32), tmp_path)
    assert "initial" in next((tmp_path / "data").rglob("manifest.json")).read_text()
    with PREDICTORS.holding("spy", Spy):
        PREDICTORS["spy"](Setting.of(task)).fit(task.train, task.val).predict(task.test.x)
    for split in seen:
        assert {name for name, value in vars(split).items() if value is not None} <= {
            "x",
            "y",
            "sample_id",
        }
    assert asked[0].shape == task.test.x.shape
    settings = vars(Setting.of(task))
    assert settings.keys() == {"info", "is_generated", "normalisation"}


def test_ridge_is_the_same_by_the_samples_and_by_the_numbers(monkeypatch):
    """The kernel of the samples and the covariance of the numbers give one map."""
    monkeypatch.setattr(linear, "STRENGTHS", (0.1,))
    x, y = noise(60, 1, 40), noise(60, 1, 40)
    setting, val = Setting(info=TASKS["pdebench/advection_1d"]), Split(x=x[:5], y=y[:5])
    for count in (30, 60):  # fewer samples than numbers, and more
        fitted = linear.Ridge(setting).fit(Split(x=x[:count], y=y[:count]), val)
        flat = x[:count].reshape(count, -1).astype(np.float64)
        scale = (flat - flat.mean(0)).std()
        z, target = (flat - flat.mean(0)) / scale, y[:count].reshape(count, -1)
        penalty = 0.1 * (z**2).sum() / z.shape[1]
        weights = np.linalg.solve(z.T @ z + penalty * np.eye(40), z.T @ (target - target.mean(0)))
        expected = (x[:7].reshape(7, -1) - flat.mean(0)) / scale @ weights + target.mean(0)
        np.testing.assert_allclose(fitted.predict(x[:7]).reshape(7, -1), expected, atol=2e-4)


def test_ridge_on_large_fields_stays_in_memory():
    """A map of 128 x 128 onto 128 x 128 points has 2 GB of weights, which are never formed."""
    x = noise(60, 1, 128, 128)
    setting = Setting(info=TASKS["pdebench/shallow_water_2d"])
    tracemalloc.start()
    try:
        linear.Ridge(setting).fit(Split(x=x[:40], y=x[:40]), Split(x=x[40:50], y=x[40:50]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("predictor", [linear.Ridge, kernel_ridge.KernelRidge])
def test_ridge_that_would_exceed_memory_says_so(predictor, monkeypatch):
    monkeypatch.setattr(features, "MAX_WEIGHTS", 100)
    x = noise(20, 1, 32)
    setting = Setting(info=TASKS["pdebench/advection_1d"])
    with pytest.raises(CannotApply, match=r"its 20 x 32 weights would take .* of memory.*lower"):
        predictor(setting).fit(Split(x=x, y=x), Split(x=x, y=x))


def test_a_filter_of_many_channels_that_would_exceed_memory_says_so():
    x = np.zeros((4, 200, 64, 64), np.float32)
    setting = Setting(info=replace(TASKS["pdebench/darcy_2d"], channels=(200, 200)))
    with pytest.raises(CannotApply, match=r"would take 1.2 GiB of memory, above 0.25\. A lower"):
        IsotropicFilter(setting).fit(Split(x=x, y=x), Split(x=x, y=x))


PERFECT = """
from trainables.tasks.predictors import Predictor

class Mine(Predictor):
    name = "mine"

    def fit(self, train, val):
        return self

    def predict(self, x):
        return x**3
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution that offers the predictor `mine`, of this source."""

    def offer(source: str) -> None:
        entries = {"sweeper.predictors": {"mine": "my_predictor:Mine"}}
        write_distribution(tmp_path / "site", "my-one", entries, {"my_predictor": source})
        install(tmp_path / "site", monkeypatch)

    yield offer
    monkeypatch.undo()
    sys.modules.pop("my_predictor", None)
    plugins.reread()


@pytest.mark.slow
def test_a_predictor_of_a_plugin_counts(plugin, tmp_path):
    x = noise(40, 1, 32)
    before = scores_of(task_of(x, x**3), tmp_path)
    assert "mine" not in before.scored
    plugin(PERFECT)
    found = scores_of(task_of(x, x**3), tmp_path)
    assert found.floor == "mine"
    assert found.scored["mine"].test == 0


def test_a_fault_of_a_plugin_is_a_reason_and_no_traceback(plugin, tmp_path):
    plugin(PERFECT.replace("return x**3", "return 1 / 0"))
    x = noise(40, 1, 32)
    found = scores_of(task_of(x, x**3), tmp_path)
    assert "ZeroDivisionError" in found.refused["mine"]
    assert "my-one 1.0" in found.refused["mine"]
    assert found.floor is not None


def test_values_that_are_not_finite_are_no_floor(plugin, tmp_path):
    plugin(PERFECT.replace("x**3", "x / 0 * 0"))
    x = noise(40, 1, 32)
    with np.errstate(all="ignore"):
        found = scores_of(task_of(x, x**3), tmp_path)
    assert found.refused["mine"].endswith("not finite.")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the values that are not finite
def test_data_that_are_not_finite_have_reasons_and_no_traceback(tmp_path):
    x, y = noise(12, 1, 16), noise(12, 1, 16)
    x[:, :, 3] = np.nan
    found = scores_of(task_of(x, y), tmp_path)
    assert "ridge" in found.refused
    assert all(math.isfinite(each.test) for each in found.scored.values())


def test_no_validation_split_has_no_floor(tmp_path):
    task = task_of(noise(40, 1, 32), noise(40, 1, 32))
    none = Split(x=task.val.x[:0], y=task.val.y[:0])
    assert scores_of(replace(task, val=none), tmp_path) == Scores()
