"""Units and class correlations: against NumPy, whatever the kind of task, from training data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.methods.contrastive_pare import prototypes
from trainables.methods.contrastive_pare.prototypes import (
    channel_units,
    class_correlations,
    class_means,
    correlations,
    input_units,
)
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task, TaskInfo
from trainables.training.pseudo_labels import target_labels

INFO = TaskInfo(
    name="tiny/made_up",
    title="Made up",
    dimension="1d",
    kind="dense",
    metric="nrmse",
    loss="nrmse",
    samples=40,
    resolution=8,
    channels=(2, 1),
    protocol="one shot",
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def task(kind: str, y: np.ndarray, *, x: np.ndarray | None = None, name: str = "") -> Task:
    split = Split(x=normal(len(y), 2, 8) * 3 + 1 if x is None else x, y=y)
    return Task(
        info=replace(INFO, kind=kind),
        train=split,
        val=split,
        test=split,
        data_source="generated",
        content_hash=f"{kind}/{name}",
        baselines={},
    )


class Lazy:
    """Rows that are made when they are asked for, and remember how many at once."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read = rows, []
        self.shape, self.dtype = rows.shape, rows.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.read.append(len(indices))
        return self.rows[indices]


@pytest.mark.parametrize("shape", [(9, 2), (9, 2, 8), (9, 3, 4, 5)])
def test_units_are_numpys_by_channel_and_broadcast_to_a_sample(shape):
    rows = 10 + 3 * normal(*shape)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    units = channel_units(rows)
    assert units.mean.shape == (shape[1], *[1] * (len(shape) - 2))
    np.testing.assert_allclose(units.mean.flatten(), rows.astype(float).mean(axes), rtol=1e-12)
    np.testing.assert_allclose(units.std.flatten(), rows.astype(float).std(axes), rtol=1e-9)


def test_a_channel_that_never_varies_has_spread_zero_however_large_it_is():
    rows = np.stack([np.full((7, 8), 1234.567, np.float32), normal(7, 8)], axis=1)
    assert channel_units(rows).std.flatten()[0] == 0
    assert channel_units(rows).std.flatten()[1] > 0


def test_rows_are_read_in_chunks_that_do_not_change_the_result(monkeypatch):
    rows, labels = normal(10, 2, 8), np.arange(10) % 3
    whole = (*channel_units(rows), class_means(rows, labels))
    monkeypatch.setattr(prototypes, "CHUNK", 3 * 16)
    lazy = Lazy(rows)
    parts = (*channel_units(lazy), class_means(lazy, labels))
    assert set(lazy.read) == {3, 1}
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_class_means_are_numpys():
    rows, labels = normal(10, 2, 8), np.arange(10) % 3
    expected = [rows[labels == y].mean(0) for y in range(3)]
    np.testing.assert_allclose(class_means(rows, labels), expected, rtol=1e-5, atol=1e-6)


def test_correlations_are_numpys_and_zero_with_a_constant():
    rows = normal(4, 20).astype(np.float64)
    ours = correlations(torch.from_numpy(rows))
    np.testing.assert_allclose(ours, np.corrcoef(rows), atol=1e-12)
    rows[1] = 0.1
    ours = correlations(torch.from_numpy(rows))
    assert ours[1].tolist() == [0, 0, 0, 0]
    assert ours[0, 2].item() == pytest.approx(np.corrcoef(rows[[0, 2]])[0, 1])


def test_a_classification_task_compares_its_inputs_and_others_their_outputs():
    labels = np.arange(12) % 3
    x = normal(12, 2, 8)
    fields = normal(12, 1, 8, seed=1)
    sets = (normal(12, 5, seed=2) > 0).astype(np.float32)
    for kind, y in (("classification", labels), ("dense", fields), ("multilabel", sets)):
        made = task(kind, y, x=x)
        of = target_labels(made, 3)
        rows = (x if kind == "classification" else y).astype(float)
        axes = tuple(axis for axis in range(rows.ndim) if axis != 1)
        spread = rows.std(axes, keepdims=True)
        standard = (rows - rows.mean(axes, keepdims=True)) / spread
        means = np.stack([standard[of == k].mean(0).ravel() for k in range(of.max() + 1)])
        np.testing.assert_allclose(class_correlations(made, 3), np.corrcoef(means), atol=1e-6)


def test_classes_that_are_alike_are_correlated():
    t = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    shapes = np.stack([np.sin(t), np.sin(t + 0.3), -np.sin(t)])
    labels = np.arange(30) % 3
    x = (shapes[labels][:, None] + 0.1 * normal(30, 1, 8)).astype(np.float32)
    found = class_correlations(task("classification", labels, x=x, name="alike"), 10)
    assert found[0, 1] > 0.9
    assert found[0, 2] < -0.9


def test_data_are_read_once_a_process_and_anew_for_other_data(monkeypatch):
    made = task("dense", normal(10, 1, 8), name="memo")
    first, units = class_correlations(made, 2), input_units(made)

    def refuse(*arguments):
        raise AssertionError("the data were read")

    monkeypatch.setattr(prototypes, "_chunks", refuse)
    assert class_correlations(made, 2) is first
    assert input_units(made) is units
    others = [replace(made, content_hash="other"), task("dense", normal(9, 1, 8), name="memo")]
    for other in others:
        with pytest.raises(AssertionError, match="data were read"):
            class_correlations(other, 2)
        with pytest.raises(AssertionError, match="data were read"):
            input_units(other)
    with pytest.raises(AssertionError, match="data were read"):
        class_correlations(made, 3)
