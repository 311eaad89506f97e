"""The plane around trained weights: its middle, its directions, and that it changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from trainables.seeding import generator
from trainables.training.evaluation import evaluate
from trainables.training.landscape import filter_normalized, landscape, validation_loss


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv1d(2, 3, 4), nn.Flatten(), nn.LayerNorm(15), nn.Linear(15, 2))


def quadratic(model: nn.Module) -> float:
    return sum(float(p.detach().square().sum()) for p in model.parameters())


def test_the_middle_is_the_loss_of_the_weights_and_they_come_back_bit_for_bit(model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    plane = landscape(model, lambda: quadratic(model), seed=0, points=5)
    assert plane.loss[2, 2] == quadratic(model)
    assert (plane.a[2], plane.b[2]) == (0, 0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert model.training


def test_directions_are_complex_where_weights_are_and_0_where_these_are_0_by_construction():
    weight = torch.complex(torch.ones(2, 8), torch.ones(2, 8))
    weight[:, 5:] = 0
    weight[1] = 0
    layer = nn.Module()
    layer.weight = nn.Parameter(weight)
    drawn = filter_normalized(layer, generator(0, "test"))["weight"]
    assert bool((drawn.imag[0, :5] != 0).all())
    assert not drawn[:, 5:].any()
    assert not drawn[1].any()
    torch.testing.assert_close(drawn[0].norm(), weight[0].norm())


def test_weights_come_back_when_the_loss_fails(model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def fails() -> float:
        raise RuntimeError("no loss here")

    with pytest.raises(RuntimeError, match="no loss"):
        landscape(model, fails, seed=0, points=3)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_each_filter_of_a_direction_has_the_norm_of_the_models_own_and_vectors_stay(model):
    direction = filter_normalized(model, generator(0, "x"))
    weights = dict(model.named_parameters())
    assert set(direction) == {"0.weight", "3.weight"}
    for name, drawn in direction.items():
        ours, theirs = (
            torch.linalg.vector_norm(t.flatten(1), dim=1) for t in (drawn, weights[name])
        )
        torch.testing.assert_close(ours, theirs)


def test_the_model_is_evaluated_and_not_trained_meanwhile(model):
    seen = []
    landscape(model, lambda: seen.append(model.training) or 0.0, seed=0, points=3)
    assert not any(seen)
    assert len(seen) == 9


def test_the_loss_of_all_validation_samples_is_that_which_training_reports(make_state, task):
    state = make_state()
    reported = evaluate(state, state.model, task.val, task).loss
    state.model.eval()
    assert validation_loss(state, task, most=100) == pytest.approx(reported, rel=1e-6)


def test_the_loss_of_two_samples_is_a_mean_of_two_and_the_same_each_time(make_state, task):
    state = make_state()
    state.model.eval()
    some = validation_loss(state, task, most=2)
    assert validation_loss(state, task, most=2) == some
    singles = [
        evaluate(state, state.model, replace(task.val, x=task.val.x[i : i + 1],
                                             y=task.val.y[i : i + 1]), task).loss
        for i in range(5)
    ]  # fmt: skip
    pairs = [(a + b) / 2 for i, a in enumerate(singles) for b in singles[:i]]
    assert min(abs(some - pair) for pair in pairs) < 1e-5


def test_of_a_quadratic_loss_the_plane_is_a_paraboloid(model):
    """|theta|^2 + 2a<theta, delta> + 2b<theta, eta> + a^2|delta|^2 + b^2|eta|^2 + 2ab..."""
    plane = landscape(model, lambda: quadratic(model), seed=1, span=0.5, points=5)
    second = np.diff(plane.loss, n=2, axis=0) / (plane.a[1] - plane.a[0]) ** 2
    size = sum(float(p.detach().square().sum()) for p in model.parameters() if p.dim() > 1)
    np.testing.assert_allclose(second, 2 * size, rtol=1e-3)


def test_a_sharper_minimum_has_more_curvature(model):
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.3)
    start = [p.detach().clone() for p in model.parameters()]

    def bowl(sharpness: float) -> float:
        moved = sum(
            float((p - s).detach().square().sum())
            for p, s in zip(model.parameters(), start, strict=True)
        )
        return 1 + sharpness * moved

    flat, sharp = (landscape(model, lambda s=s: bowl(s), seed=0, points=9) for s in (0.1, 10.0))
    assert sharp.curvature > 50 * flat.curvature > 0


def test_an_even_number_of_points_has_no_middle(model):
    with pytest.raises(ValueError, match="points=4"):
        landscape(model, lambda: 0.0, seed=0, points=4)
