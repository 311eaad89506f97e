import math

import pytest
import torch
from sklearn import metrics as reference

from trainables.losses import LOSSES
from trainables.metrics import METRICS

DENSE = ("nrmse", "rmse", "mse")


def fields(n: int, *shape: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=generator, dtype=dtype) for _ in range(2)]


def test_the_losses_are_these():
    assert set(LOSSES) == {*DENSE, "cross_entropy"}


@pytest.mark.parametrize("name", ["nrmse", "rmse"])
def test_a_loss_is_the_metric_of_its_name(name):
    prediction, target = fields(5, 2, 6)
    metric = METRICS[name]()
    metric.update(prediction, target)
    assert LOSSES[name](prediction, target).item() == pytest.approx(metric.compute(), rel=1e-12)


def test_mse_agrees_with_scikit_learn():
    prediction, target = fields(5, 7)
    expected = reference.mean_squared_error(target.numpy(), prediction.numpy())
    assert LOSSES["mse"](prediction, target).item() == pytest.approx(expected)


def test_cross_entropy_agrees_with_scikit_learn():
    scores, _ = fields(9, 4)
    labels = torch.arange(9) % 4
    expected = reference.log_loss(labels.numpy(), scores.softmax(dim=1).numpy())
    assert LOSSES["cross_entropy"](scores, labels).item() == pytest.approx(expected)


def test_cross_entropy_of_no_knowledge_is_the_log_of_the_classes():
    loss = LOSSES["cross_entropy"](torch.zeros(3, 10), torch.tensor([0, 5, 9]))
    assert loss.item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("name", DENSE)
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


def test_nrmse_does_not_change_with_the_unit():
    prediction, target = fields(4, 2, 5)
    scaled = LOSSES["nrmse"](1e3 * prediction, 1e3 * target)
    torch.testing.assert_close(scaled, LOSSES["nrmse"](prediction, target))


def test_nrmse_stays_finite_on_a_target_of_zero():
    loss = LOSSES["nrmse"](torch.zeros(1, 4), torch.zeros(1, 4))
    assert loss.item() == 0
    assert LOSSES["nrmse"](torch.full((1, 4), 1e-9), torch.zeros(1, 4)).isfinite()


@pytest.mark.parametrize("name", DENSE)
def test_another_shape_is_refused_rather_than_broadcast(name):
    _, target = fields(3, 1, 4)
    with pytest.raises(ValueError, match="must have its target's shape"):
        LOSSES[name](target[:, :, :1], target)
