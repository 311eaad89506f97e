import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from tests.support.shapes import task_of
from trainables.metrics import METRICS
from trainables.tasks.task import Task
from trainables.training.losses import LOSSES, loss_of

DENSE = ("nrmse", "relative_l2", "rmse")
VECTORS = ("mse", "mae")


def fields(n: int, *shape: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=generator, dtype=dtype) for _ in range(2)]


def test_the_losses_are_these():
    masked, labels = {"masked_mse", "masked_bce"}, {"cross_entropy", "bce", "bce_4", "bce_10"}
    assert set(LOSSES) == {*DENSE, *VECTORS, *masked, *labels}


@pytest.mark.parametrize("name", ["nrmse", "relative_l2"])
def test_a_loss_is_the_metric_of_its_name(name):
    prediction, target = fields(5, 2, 6)
    metric = METRICS[name]()
    metric.update(prediction, target)
    assert LOSSES[name](prediction, target).item() == pytest.approx(metric.compute(), rel=1e-12)


def test_rmse_agrees_with_scikit_learn():
    prediction, target = fields(7, 2, 5)
    by_sample = reference.root_mean_squared_error(
        target.reshape(7, -1).T.numpy(),
        prediction.reshape(7, -1).T.numpy(),
        multioutput="raw_values",
    )
    assert LOSSES["rmse"](prediction, target).item() == pytest.approx(by_sample.mean())


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mse", reference.mean_squared_error), ("mae", reference.mean_absolute_error)],
)
def test_losses_of_vectors_agree_with_scikit_learn(name, theirs):
    prediction, target = fields(7, 3)
    expected = theirs(target.numpy(), prediction.numpy())
    assert LOSSES[name](prediction, target).item() == pytest.approx(expected)


def regression(y: np.ndarray, kind: str = "regression", **facts: str) -> Task:
    x = np.zeros((len(y), 1, 4), np.float32)
    return task_of(x, y.astype(np.float32), kind, **{"metric": "rmse", **facts})


@pytest.mark.parametrize("name", VECTORS)
def test_the_loss_of_a_regression_does_not_depend_on_the_units_of_its_outputs(name):
    prediction, target = fields(20, 3, dtype=torch.float32)
    units = torch.tensor([1e-8, 1.0, 1e12])
    plain = loss_of(regression(target.numpy(), loss=name))(prediction, target)
    scaled = loss_of(regression((target * units).numpy(), loss=name))(
        prediction * units, target * units
    )
    torch.testing.assert_close(scaled, plain)
    expected = LOSSES[name](prediction / target.std(0, correction=0),
                            target / target.std(0, correction=0))  # fmt: skip
    torch.testing.assert_close(plain, expected)


def test_the_mean_predictor_has_the_loss_one_and_a_constant_output_none():
    _, target = fields(50, 2, dtype=torch.float32)
    target[:, 1] = 3.0
    loss = loss_of(regression(target.numpy()))
    mean = target.mean(0).expand_as(target)
    assert loss(mean, target).item() == pytest.approx(0.5, rel=1e-5)
    assert loss(target, target).item() == 0


def test_other_losses_keep_the_unit_of_the_targets():
    _, target = fields(9, 2)
    assert loss_of(regression(target.numpy(), loss="nrmse")) is LOSSES["nrmse"]
    assert loss_of(regression(target.numpy(), kind="multilabel", loss="bce")) is LOSSES["bce"]


def test_cross_entropy_agrees_with_scikit_learn():
    scores, _ = fields(9, 4)
    labels = torch.arange(9) % 4
    expected = reference.log_loss(labels.numpy(), scores.softmax(dim=1).numpy())
    assert LOSSES["cross_entropy"](scores, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", [*DENSE, *VECTORS])
def test_gradients_and_their_gradients_agree_with_finite_differences(name):
    prediction, target = fields(2, 3)

    def loss(p):
        return LOSSES[name](p, target)

    torch.autograd.gradcheck(loss, prediction.requires_grad_())
    torch.autograd.gradgradcheck(loss, prediction)


@pytest.mark.parametrize("name", DENSE)
def test_a_perfect_prediction_has_no_gradient_rather_than_nan(name):
    _, target = fields(3, 4)
    prediction = target.clone().requires_grad_()
    loss = LOSSES[name](prediction, target)
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


def test_nrmse_stays_finite_on_a_target_of_zero():
    loss = LOSSES["nrmse"](torch.zeros(1, 4), torch.zeros(1, 4))
    assert loss.item() == 0
    assert LOSSES["nrmse"](torch.full((1, 4), 1e-9), torch.zeros(1, 4)).isfinite()


@pytest.mark.parametrize("name", DENSE)
def test_another_shape_is_refused_rather_than_broadcast(name):
    _, target = fields(3, 1, 4)
    with pytest.raises(ValueError, match="must have its target's shape"):
        LOSSES[name](target[:, :, :1], target)


@pytest.mark.parametrize(("name", "weight"), [("bce_4", 4.0), ("bce_10", 10.0)])
def test_binary_cross_entropy_agrees_with_scikit_learn(name, weight):
    scores, _ = fields(9, 4)
    target = (torch.arange(36).reshape(9, 4) % 3 == 0).double()
    share = scores.sigmoid().flatten().numpy()
    truth = target.flatten().numpy()
    importance = 1 + (weight - 1) * truth
    expected = reference.log_loss(truth, share, sample_weight=importance, normalize=False) / 36
    assert LOSSES[name](scores, target).item() == pytest.approx(expected)


def masked(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A prediction, values of 0 and 1, and a mask of the points that count: all [n, 1, 4, 5]."""
    prediction, noise = fields(n, 1, 4, 5)
    return prediction, (noise > 0.3).double(), (noise.roll(1, -1) > -0.5).double()


def test_masked_mse_is_the_mean_over_known_points_of_each_sample():
    prediction, value, known = masked(3)
    expected = [
        reference.mean_squared_error(y[m > 0].numpy(), p[m > 0].numpy())
        for p, y, m in zip(prediction, value, known, strict=True)
    ]
    loss = LOSSES["masked_mse"](prediction, torch.cat([value, known], dim=1))
    assert loss.item() == pytest.approx(sum(expected) / 3)


def test_masked_binary_cross_entropy_is_the_mean_over_pixels_that_are_not_ignored():
    logits, truth, counts = masked(3)
    expected = [
        reference.log_loss(y[m > 0].numpy(), p[m > 0].sigmoid().numpy())
        for p, y, m in zip(logits, truth, counts, strict=True)
    ]
    loss = LOSSES["masked_bce"](logits, torch.cat([truth, 1 - counts], dim=1))
    assert loss.item() == pytest.approx(sum(expected) / 3)


@pytest.mark.parametrize("name", ["masked_mse", "masked_bce"])
def test_points_that_do_not_count_have_no_gradient(name):
    prediction, value, known = masked(2)
    mask = known if name == "masked_mse" else 1 - known
    target = torch.cat([value, mask], dim=1)
    LOSSES[name](prediction.requires_grad_(), target).backward()
    assert prediction.grad is not None
    assert torch.equal(prediction.grad != 0, known > 0)


@pytest.mark.parametrize("name", ["masked_mse", "masked_bce"])
def test_a_sample_of_which_nothing_counts_has_no_loss(name):
    prediction, value, _ = masked(2)
    mask = torch.zeros_like(value) if name == "masked_mse" else torch.ones_like(value)
    loss = LOSSES[name](prediction.requires_grad_(), torch.cat([value, mask], dim=1))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()
