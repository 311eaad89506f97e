"""Products of linear layers by oneDNN: exact in float32, chosen where they are faster."""

import pytest
import torch
from torch import Tensor, nn

from trainables.models import products
from trainables.models.products import OneDNNLinear, choose_products, use_products

pytestmark = pytest.mark.skipif(not products.has_onednn(), reason="torch was built without oneDNN")


def layers(*, bias: bool) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """Return the same layer with torch's products, with oneDNN's, and in float64."""
    plain = nn.Linear(96, 160, bias=bias)
    ours, exact = OneDNNLinear(96, 160, bias=bias), nn.Linear(96, 160, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    exact.load_state_dict(plain.state_dict())
    return plain, ours, exact


def derivatives(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    """Return outputs, first derivatives and second derivatives of a layer."""
    x = x.to(layer.weight.dtype).requires_grad_()
    y, leaves = layer(x), [x, *layer.parameters()]
    first = torch.autograd.grad((y.tanh() ** 2).sum(), leaves, create_graph=True)
    squares = torch.stack([each.square().sum() for each in first]).sum()
    return [y, *first, *torch.autograd.grad(squares, leaves)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(7,), (5, 33), (2, 3, 5)])
def test_outputs_and_two_derivatives_are_as_near_to_float64_as_those_of_torch(rows, bias):
    torch.manual_seed(0)
    plain, ours, exact = layers(bias=bias)
    x = torch.randn(*rows, 96)
    for a, b, c in zip(*(derivatives(each, x) for each in (plain, ours, exact)), strict=True):
        errors = [((each - c).norm() / c.norm()).item() for each in (a, b)]
        assert errors[1] <= max(2 * errors[0], 1e-6), errors


def test_other_precisions_and_empty_inputs_are_left_to_torch():
    plain, ours, exact = layers(bias=True)
    x = torch.randn(4, 96)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.double()(x.double()), exact(x.double()))
    assert plain(x[:0]).shape == OneDNNLinear(96, 160)(x[:0]).shape == (0, 160)


def test_linear_layers_alone_change_and_keep_their_weights():
    class Other(nn.Linear):
        """A layer that computes something else."""

    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), Other(4, 2))
    before = {name: id(each) for name, each in model.named_parameters()}
    use_products(model, "plain")
    assert type(model[0]) is nn.Linear
    use_products(model, "onednn")
    assert [type(each) for each in model] == [OneDNNLinear, nn.LayerNorm, Other]
    assert {name: id(each) for name, each in model.named_parameters()} == before


@pytest.mark.parametrize(
    ("width", "known", "gain", "chosen"),
    [
        (384, False, 2.0, ("onednn", 2.0)),
        (384, False, 1.29, ("plain", 1.29)),
        (384, True, 2.0, ("plain", None)),  # nothing is measured
        (64, False, 2.0, ("plain", None)),
    ],
)
def test_onednn_is_chosen_for_wide_bodies_where_mkl_is_slow(
    monkeypatch, width, known, gain, chosen
):
    seconds = {nn.Linear: gain, OneDNNLinear: 1.0}
    monkeypatch.setattr(products, "step_seconds", lambda kind, width: seconds[kind])
    monkeypatch.setattr(products, "mkl_is_fast", lambda: known)
    assert choose_products(width) == chosen


def test_a_build_of_torch_without_onednn_is_never_chosen(monkeypatch):
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    assert choose_products(384) == ("plain", None)
