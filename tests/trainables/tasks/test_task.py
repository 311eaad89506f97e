from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.shapes import with_splits
from trainables.errors import ConfigError
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task, TaskInfo

RNG = np.random.default_rng(0)


def task(info: TaskInfo, y: np.ndarray) -> Task:
    split = Split(x=np.zeros((len(y), *info.input_shape), dtype=np.float32), y=y)
    return with_splits(info, "", source="official", train=split)


@pytest.mark.parametrize(
    ("name", "y_shape", "prediction"),
    [
        ("pdebench/advection_1d", (1, 256), (1, 256)),
        ("pdebench/diffusion_reaction_2d@hard", (2, 64, 64), (2, 64, 64)),
        ("nasbench360/darcy_flow", (1, 85, 85), (1, 85, 85)),
        ("nasbench360/psicov", (2, 512, 512), (1, 512, 512)),
        ("nasbench360/cosmic", (2, 128, 128), (1, 128, 128)),
        ("nasbench360/ecg", (), (4,)),
        ("nasbench360/deepsea", (36,), (36,)),
    ],
)
def test_the_output_shape_is_that_of_a_prediction(name, y_shape, prediction):
    info = TASKS[name]
    assert task(info, np.zeros((2, *y_shape), dtype=np.float32)).output_shape == prediction


def test_the_unit_of_a_field_is_that_of_all_its_training_outputs():
    y = RNG.normal(3, 2, size=(20, 1, 85, 85)).astype(np.float32)
    unit = task(TASKS["nasbench360/darcy_flow"], y).output_unit
    assert unit == (float(y.mean()), float(y.std()))


def test_a_constant_output_has_the_unit_one():
    y = np.full((4, 1, 85, 85), 2.0, dtype=np.float32)
    assert task(TASKS["nasbench360/darcy_flow"], y).output_unit == (2.0, 1.0)


def test_the_unit_of_distances_is_that_of_the_known_ones():
    info = replace(TASKS["nasbench360/psicov"], resolution=16)
    distance, known = RNG.uniform(1, 16, size=(5, 1, 16, 16)), RNG.random((5, 1, 16, 16)) < 0.5
    y = np.concatenate([distance * known, known], axis=1).astype(np.float32)
    mean, std = task(info, y).output_unit
    assert mean == pytest.approx(distance[known].mean(), rel=1e-5)
    assert std == pytest.approx(distance[known].std(), rel=1e-5)


def test_logits_have_no_unit():
    y = np.ones((2, 2, 128, 128), dtype=np.float32)
    assert task(TASKS["nasbench360/cosmic"], y).output_unit == (0.0, 1.0)


def regression(**changes: Any) -> TaskInfo:
    info = TASKS["pdebench/advection_1d"]
    return replace(info, kind="regression", resolution=8, channels=(1, 3), **changes)


def test_each_output_of_a_regression_has_its_unit_and_a_constant_one_the_unit_one():
    y = (RNG.normal(size=(20, 3)) * [1e-9, 0, 1e9] + [1, 5, 1e10]).astype(np.float32)
    found = task(regression(), y)
    np.testing.assert_allclose(found.output_units.shift, y.mean(axis=0, dtype=np.float64), 1e-6)
    spread = y.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.output_units.scale, [spread[0] or 1, 1, spread[2]], 1e-6)
    assert found.output_shape == (3,)


@pytest.mark.parametrize("changes", [{"mask": "known"}, {"mask": "ignored"}, {"decoded": True}])
def test_a_vector_has_no_points_and_therefore_no_mask(changes):
    with pytest.raises(ConfigError, match="for dense outputs"):
        regression(**changes)
