"""Ridge and nearest neighbours: what they learn, by closed forms and by scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import KNeighborsRegressor

from tests.support.shapes import with_splits
from trainables.tasks.predictors import features, kernel_ridge, neighbours
from trainables.tasks.predictors.floor import scores_of
from trainables.tasks.predictors.predictor import Setting
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task

SIZES = {"train": 60, "val": 30, "test": 40}


def made(info, make, seed=0) -> Task:
    """Return a task whose splits are drawn by `make`."""
    rng = np.random.default_rng(seed)
    splits = {}
    for name, size in SIZES.items():
        x = rng.normal(size=(size, info.channels[0], 16)).astype(np.float32)
        splits[name] = Split(x=x, y=make(x, rng))
    return with_splits(info, "x", **splits)


FIELDS = TASKS["pdebench/advection_1d"]
LABELS = replace(TASKS["nasbench360/ecg"], channels=(1, 3))


def learned(task: Task, home: Path) -> dict[str, float]:
    """Return the test values of the two predictors that learn from any input."""
    scored = scores_of(task, home).scored
    return {name: scored[name].test for name in ("ridge", "knn") if name in scored}


def shifted(x, rng):
    return 3 + np.roll(x, 2, axis=-1) + 0.01 * rng.normal(size=x.shape).astype(np.float32)


def test_ridge_learns_a_linear_map_of_fields_and_neighbours_do_not(tmp_path):
    found = learned(made(FIELDS, shifted), tmp_path)
    assert found["ridge"] < 0.01
    assert found["knn"] > 0.1


def test_kernel_ridge_learns_what_is_not_linear(tmp_path):
    def energy(x, rng):
        return (x**2).mean(axis=-1, keepdims=True) + np.zeros_like(x)

    scored = scores_of(made(FIELDS, energy), tmp_path).scored
    assert scored["kernel_ridge"].test < 0.5 * min(scored["ridge"].test, scored["knn"].test)


def test_kernel_ridge_is_that_of_scikit_learn_at_the_same_width_and_strength(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_ridge, "WIDTHS", (2.0,))
    monkeypatch.setattr(kernel_ridge, "STRENGTHS", (0.1,))
    task = made(FIELDS, shifted)
    ours = kernel_ridge.KernelRidge(Setting.of(task)).fit(task.train, task.val)
    x, y, z = (
        a.reshape(len(a), -1).astype(np.float64) for a in (task.train.x, task.train.y, task.test.x)
    )
    apart, known = (euclidean_distances(a, x, squared=True) / (x - x.mean(0)).var() for a in (x, z))
    width = 2 * np.median(apart)
    similar = [1 / np.sqrt(1 + d / width) for d in (apart, known)]
    theirs = KernelRidge(alpha=0.1, kernel="precomputed").fit(similar[0], y - y.mean(0))
    wanted = theirs.predict(similar[1]) + y.mean(0)
    assert np.allclose(ours.predict(task.test.x).reshape(40, -1), wanted, atol=1e-3)


def test_neighbours_are_those_of_scikit_learn(tmp_path, monkeypatch):
    task = made(FIELDS, shifted)
    monkeypatch.setattr(neighbours, "NEIGHBOURS", (4,))
    found = learned(task, tmp_path)["knn"]
    flat = [s.reshape(len(s), -1) for s in (task.train.x, task.train.y, task.test.x, task.test.y)]
    mean = flat[0].mean(0)
    other = KNeighborsRegressor(4).fit(flat[0] - mean, flat[1]).predict(flat[2] - mean)
    errors = np.sqrt(((other - flat[3]) ** 2).mean(1)) / np.sqrt((flat[3] ** 2).mean(1))
    assert found == pytest.approx(errors.mean(), rel=1e-5)


def test_classes_that_are_apart_are_told_apart(tmp_path):
    def centres(x, rng):
        labels = rng.integers(0, 3, len(x))
        x[:, 0, :3] += 8 * np.eye(3, dtype=np.float32)[labels]
        return labels

    found = learned(made(LABELS, centres), tmp_path)
    assert found == {"ridge": pytest.approx(0, abs=0.05), "knn": pytest.approx(0, abs=0.1)}


def test_labels_without_a_relation_to_the_input_are_not_learned(tmp_path):
    found = learned(made(LABELS, lambda x, rng: rng.integers(0, 3, len(x))), tmp_path)
    assert min(found.values()) > 0.4


def test_a_few_points_of_large_inputs_are_read():
    lines, squares = np.ones((4, 1, 16), np.float32), np.ones((4, 2, 9, 9), np.float32)
    assert features.Features(0 * lines, 5)(lines).shape == (4, 4)
    assert features.Features(0 * squares, 5)(squares).shape[1] == 2


def test_unknown_points_are_learned_from_known_ones(tmp_path):
    """Values of unknown points, however large, do not matter."""
    psicov = TASKS["nasbench360/psicov"]

    def task(unknown: float) -> Task:
        splits = {}
        for name, size in SIZES.items():
            x = np.random.default_rng(size).normal(size=(size, 57, 24, 24)).astype(np.float32)
            known = np.ones((size, 1, 24, 24), np.float32)
            known[:, :, 20:] = 0
            y = np.where(known > 0, np.abs(x[:, :1]), unknown).astype(np.float32)
            splits[name] = Split(x=x, y=np.concatenate([y, known], axis=1))
        return with_splits(psicov, f"{unknown}", source="official", **splits)

    found = [learned(task(unknown), tmp_path) for unknown in (0.0, 1e6)]
    assert found[0] == found[1]


def test_data_that_a_metric_is_not_defined_on_have_no_score_and_a_reason(tmp_path):
    """An area under a curve needs samples of both classes."""
    info = TASKS["nasbench360/deepsea"]
    task = made(info, lambda x, rng: np.zeros((len(x), info.channels[1]), np.float32))
    found = scores_of(task, tmp_path)
    assert not found.scored
    assert found.refused["ridge"].startswith("its score is not defined: ")
