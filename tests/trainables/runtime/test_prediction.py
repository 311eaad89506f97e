"""Trained models of every kind of task: what they predict scores exactly as the trial recorded."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.planted_tasks import NAMES
from tests.support.trained_models import GENERATED, Trained
from trainables.errors import ConfigError, DataError, WeightsError
from trainables.metrics import METRICS, FromFirst, mean_of_groups
from trainables.runtime.model_folder import read_origin
from trainables.runtime.prediction import PredictionModel, load_model
from trainables.tasks.loading import load_task
from trainables.tasks.registry import task_info
from trainables.training.evaluation import rows_at_once

pytestmark = pytest.mark.slow


def score(trained: Trained, outputs: np.ndarray) -> dict[str, float]:
    """Score outputs of the test split in the network's unit, in one pass."""
    split = load_task(trained.spec.task, trained.spec.data, trained.spec.home).test
    prediction, target = torch.from_numpy(outputs), torch.from_numpy(np.array(split.y))
    first = target[int(split.sample_id.argmin())]
    if split.groups is not None:
        groups = torch.from_numpy(np.array(split.groups))
        prediction, target = (mean_of_groups(part, groups) for part in (prediction, target))
    values = {}
    for name in task_info(trained.spec.task).metrics:
        metric = METRICS[name]()
        if isinstance(metric, FromFirst):
            metric.begin(first)
        metric.update(prediction, target)
        values[name] = metric.compute()
    return values


def network_outputs(model: PredictionModel, trained: Trained) -> np.ndarray:
    """Return the outputs of `forward` of the stored test inputs."""
    x = load_task(trained.spec.task, trained.spec.data, trained.spec.home).test.x
    step = rows_at_once(x)
    with torch.inference_mode():
        parts = [model(torch.tensor(x[i : i + step])) for i in range(0, len(x), step)]
    return torch.cat(parts).float().numpy()


def raw_test_inputs(trained: Trained) -> np.ndarray:
    """Return the test inputs before the normalisation that the manifest states."""
    x = trained.store.stored("test")["x"].copy()
    rule = trained.store.manifest.get("normalization") or {}
    if trained.spec.task.endswith("darcy_flow"):
        x[:, 0] = x[:, 0] * np.float32(rule["std"]) + np.float32(rule["mean"])
    elif rule:
        x = x * np.float32(rule["scale"]) + np.float32(rule["mean"])
    return x


@pytest.mark.parametrize(
    ("task", "head"),
    [
        *((task, "linear") for task in (*NAMES, *GENERATED)),
        *((task, "orca_pool") for task in (*NAMES, *GENERATED) if task_info(task).kind == "dense"),
    ],
)
def test_the_outputs_score_exactly_as_recorded_and_the_predictions_follow_from_them(
    train, task, head
):
    trained = train(task, head)
    model = trained.model()
    outputs = network_outputs(model, trained)
    assert score(trained, outputs) == trained.recorded
    raw = raw_test_inputs(trained)
    predicted, info = model.predict(raw), task_info(task)
    logits = torch.from_numpy(outputs).double()
    if info.kind == "classification":
        expected = logits.softmax(1).numpy()
    elif info.kind == "multilabel" or info.mask == "ignored":
        expected = logits.sigmoid().numpy()
    else:
        rule = trained.store.manifest.get("normalization") or {}
        both = task == "pdebench/navier_stokes_1d"
        expected = outputs
        if both:
            expected = outputs * np.float32(rule["scale"]) + np.float32(rule["mean"])
    if trained.store.manifest.get("normalization"):
        # Undoing the normalisation of the stored inputs here costs the last digits.
        np.testing.assert_allclose(predicted, expected, rtol=2e-3, atol=2e-4)
    else:
        assert np.array_equal(predicted, expected)
    assert not np.allclose(predicted[0], predicted[1], atol=0)  # the inputs matter


def test_predictions_of_classes_score_as_recorded(train):
    trained = train("nasbench360/spherical")
    model, y = trained.model(), trained.store.test.y
    predicted = model.predict(trained.store.stored("test")["x"])
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted.sum(1), 1, rtol=1e-12)
    assert np.mean(predicted.argmax(1) != y) == pytest.approx(trained.recorded["zero_one_error"])
    labels = model.labels(trained.store.stored("test")["x"])
    assert model.classes == tuple(map(str, range(100)))
    assert np.mean(labels.astype(int) != y) == pytest.approx(trained.recorded["zero_one_error"])


def test_labels_that_occur_together_are_told_by_their_probability(train):
    trained = train("nasbench360/deepsea")
    x = trained.store.stored("test")["x"]
    model = trained.model()
    assert np.array_equal(model.labels(x), model.predict(x) >= 0.5)
    assert model.labels(x).shape == (len(x), 36)


def test_a_trial_in_half_precision_predicts_in_half_precision(train):
    trained = train(GENERATED[0], precision="bf16")
    model = trained.model()
    x = trained.store.stored("test")["x"]
    assert score(trained, model.predict(x)) == trained.recorded
    assert not np.array_equal(model.predict(x), network_outputs(model, trained))


def test_it_is_an_evaluated_module_with_the_best_weights(train):
    trained = train(GENERATED[0])
    model = trained.model()
    assert isinstance(model, torch.nn.Module)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    best = trained.training.state.best.weights
    ours = model.network.state_dict()
    assert ours.keys() == best.keys()
    assert all(torch.equal(ours[name], best[name]) for name in best)


def test_the_channel_axis_may_be_left_out_and_any_number_type_given(train):
    trained = train(GENERATED[0])
    model, x = trained.model(), trained.store.stored("test")["x"]
    expected = model.predict(x)
    assert np.array_equal(model.predict(x[:, 0]), expected)
    assert np.array_equal(model.predict(x.astype(np.float64)), expected)
    np.testing.assert_allclose(model.predict(x, batch_size=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", GENERATED)
def test_a_sample_may_be_one_row_of_numbers(train, task):
    trained = train(task)
    model, x = trained.model(), trained.store.stored("test")["x"]
    assert np.array_equal(model.predict(x.reshape(len(x), -1)), model.predict(x))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :, :-1], r"the shape \[4, 1, 31\], but .*@hard takes \[n, 1, 32\]"),
        (lambda x: x[0, 0], r"the shape \[32\]"),
        (lambda x: x[:0], r"the shape \[0, 1, 32\]"),
        (lambda x: np.repeat(x, 2, axis=1), r"the shape \[4, 2, 32\]"),
        (lambda x: x.astype(object), "real numbers, but are object"),
        (lambda x: x.astype(complex), "real numbers, but are complex128"),
        (lambda x: x.astype(str), "real numbers"),
        (lambda x: np.where(np.arange(4)[:, None, None] == 2, np.nan, x), "1 of 4 .* in row 2"),
        (lambda x: x.astype(float) + 1e300 * (np.arange(4) == 2)[:, None, None], "single .* row 2"),
    ],
)
def test_faulty_inputs_are_refused_with_the_expected_shape(train, spoil, message):
    trained = train(GENERATED[0])
    x = trained.store.stored("test")["x"].copy()
    with pytest.raises(DataError, match=message):
        trained.model().predict(spoil(x))


@pytest.mark.parametrize("size", [0, -1])
def test_no_sample_at_once_is_refused(train, size):
    with pytest.raises(DataError, match=f"batch_size must be 1 or more, but is {size}"):
        train(GENERATED[0]).model().predict(np.zeros((1, 1, 32)), size)


def test_a_field_has_no_labels(train):
    with pytest.raises(ConfigError, match="no labels, since it is a dense task"):
        train(GENERATED[0]).model().labels(np.zeros((1, 1, 32)))


def test_a_checkpoint_without_a_description_is_refused(train, tmp_path):
    trained = train(GENERATED[0])
    origin, trained.training.state.origin = trained.training.state.origin, None
    try:
        trained.training.save(tmp_path / "c")
    finally:
        trained.training.state.origin = origin
    with pytest.raises(DataError, match="has no description of its model"):
        load_model(tmp_path / "c", trained.spec.home)


def test_the_description_states_no_home_and_survives_a_move(train):
    trained = train(GENERATED[0])
    assert '"home"' not in (trained.folder / "state.json").read_text()
    origin = read_origin(trained.folder, trained.spec.home)
    assert origin.spec == trained.spec


@pytest.mark.parametrize("damage", ["text", {}, {"spec": {}}, {"spec": {"task": 3}}, [1], None])
def test_a_damaged_description_is_refused(train, damage):
    from trainables.models.origin import ModelOrigin

    with pytest.raises(WeightsError, match=r"s\.json: no description of a model"):
        ModelOrigin.from_plain(damage, Path("/home"), "s.json")
