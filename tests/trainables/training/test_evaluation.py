from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, root_mean_squared_error

from tests.support.shapes import task_of
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.metrics import METRICS, FromFirst
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.spec import BackboneSpec, ModelSpec
from trainables.tasks.store.rows import StoredRows
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task
from trainables.training.evaluation import evaluate, gather
from trainables.training.losses import LOSSES
from trainables.training.state import TrainState

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(11), [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 1])
LABELS = (RNG.random((11, 3)) < 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def split() -> Split:
    x = StoredRows(RNG.integers(0, 9, size=(40, 2, 16), dtype=np.uint8))
    return Split(x=x, y=LABELS[GROUPS], groups=GROUPS)


@pytest.fixture(scope="module")
def task(split) -> Task:
    made = task_of(split.x, split.y, "multilabel", metric="one_minus_map", loss="bce_4")
    return replace(made, train=split)


@pytest.fixture(scope="module")
def state(tmp_path_factory, task) -> TrainState:
    home = tmp_path_factory.mktemp("home")
    folder = save_tiny_roberta(home / "roberta", layers=1)
    backbone = load_backbone(BackboneSpec(name=str(folder), tokens=8), home)
    return TrainState(model=build_model(backbone, task, ModelSpec(), seed=0), seed=0)


def test_the_parts_of_a_group_are_averaged_before_the_metric(state, task, split):
    state.model.eval()
    with torch.no_grad():
        logits = state.model(torch.from_numpy(split.x[np.arange(40)])).numpy()
    by_clip = np.stack([logits[group == GROUPS].mean(axis=0) for group in range(11)])
    expected = 1 - average_precision_score(LABELS, by_clip, average="macro")
    assert evaluate(state, state.model, split, task).value == pytest.approx(expected, abs=1e-6)
    alone = evaluate(state, state.model, replace(split, groups=None), task).value
    assert alone != pytest.approx(expected, abs=1e-3)
    assert state.model.training


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("limit", [("EVALUATION_BATCH", 7), ("EVALUATION_BYTES", 1)])
def test_the_value_does_not_depend_on_the_batches(state, task, split, groups, limit, monkeypatch):
    split = replace(split, groups=groups)
    whole = evaluate(state, state.model, split, task)
    monkeypatch.setattr(f"trainables.training.evaluation.{limit[0]}", limit[1])
    assert evaluate(state, state.model, split, task)[:2] == pytest.approx(whole[:2], abs=1e-6)


def test_the_loss_is_the_mean_over_samples_whatever_groups_and_batches(
    state, task, split, monkeypatch
):
    """Batches of seven, and a last one of five, which a mean over batches would count as seven."""
    state.model.eval()
    with torch.no_grad():
        logits = state.model(torch.from_numpy(split.x[np.arange(40)]))
    expected = LOSSES[task.info.loss](logits, torch.from_numpy(split.y)).item()
    monkeypatch.setattr("trainables.training.evaluation.EVALUATION_BATCH", 7)
    for groups in (GROUPS, None):
        found = evaluate(state, state.model, replace(split, groups=groups), task)
        assert found.loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_rows_are_copies_of_their_type(dtype):
    array = np.arange(12).reshape(4, 3).astype(dtype)
    array.flags.writeable = False
    rows = gather(array, np.array([3, 1, 1]), torch.device("cpu"))
    np.testing.assert_array_equal(rows.numpy(), array[[3, 1, 1]])
    rows += 1
    np.testing.assert_array_equal(array, np.arange(12).reshape(4, 3))
    assert rows.numpy().dtype == dtype


def test_a_metric_that_asks_for_it_sees_the_first_target_of_the_published_order(
    state, task, split, monkeypatch
):
    seen = []

    class First(METRICS[task.info.metric], FromFirst):
        name = "first"

        def begin(self, first):
            seen.append(first.numpy())

    monkeypatch.setattr("trainables.training.evaluation.METRICS", {**METRICS, "first": First})
    numbers = np.roll(np.arange(7, 47), 3)  # the lowest is row 3's
    numbered = replace(split, sample_id=numbers)
    found = evaluate(state, state.model, numbered, task, also=("first",))
    assert found.also["first"] == found.value
    np.testing.assert_array_equal(seen, split.y[3:4])
    evaluate(state, state.model, split, task, also=("first",))
    assert len(seen) == 1, "data whose order is not known have no first sample"


def test_vectors_of_a_group_are_averaged_before_the_metric(state, task, split):
    """The same network, whose three numbers are now those of a regression."""
    info = replace(task.info, kind="regression", metric="rmse", loss="mse")
    y = RNG.normal(size=(11, 3)).astype(np.float32)[GROUPS]
    split = replace(split, y=y)
    vectors = replace(task, info=info, train=split)
    state.model.eval()
    with torch.no_grad():
        numbers = state.model(torch.from_numpy(split.x[np.arange(40)])).numpy()
    by_group = np.stack([numbers[group == GROUPS].mean(axis=0) for group in range(11)])
    expected = root_mean_squared_error(y[np.unique(GROUPS, return_index=True)[1]], by_group)
    found = evaluate(state, state.model, split, vectors)
    assert found.value == pytest.approx(expected, rel=1e-5)
    loss = (((numbers - y) / y.std(axis=0)) ** 2).mean()
    assert found.loss == pytest.approx(loss, rel=1e-5), "in units of each output, over samples"
