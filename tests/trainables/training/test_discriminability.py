"""MoNA's outer loss: closed forms, laws, what it is for, and the sign that must not be flipped."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.support.shapes import normal
from trainables.training.discriminability import alignment, discriminability, uniformity


def labels_of(*classes: int) -> Tensor:
    return torch.tensor(classes)


samples = st.builds(normal, st.integers(2, 9), st.just(4), st.integers(0, 2**16))


@given(samples)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_both_terms_equal_their_definition(features):
    labels = torch.arange(len(features)) % 3
    z = functional.normalize(features, dim=1)
    pairs = [(i, j) for i in range(len(z)) for j in range(i + 1, len(z))]
    within = [(z[i] - z[j]).square().sum() for i, j in pairs if labels[i] == labels[j]]
    potentials = torch.stack([(-2 * (z[i] - z[j]).square().sum()).exp() for i, j in pairs])

    terms = discriminability(features, labels)

    expected = torch.stack(within).mean() if within else torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(terms.alignment, expected)
    torch.testing.assert_close(terms.uniformity, potentials.mean().log())
    torch.testing.assert_close(terms.loss, expected + potentials.mean().log())


def test_identical_features_have_alignment_and_uniformity_zero():
    features = normal(1, 8, seed=0).expand(5, 8)
    terms = discriminability(features, labels_of(0, 0, 0, 1, 1))
    assert terms.alignment.abs() < 1e-12
    assert terms.uniformity.abs() < 1e-12


def test_an_antipodal_pair_is_at_the_ends_of_both_ranges():
    z = normal(1, 8, seed=0)
    pair = torch.cat([z, -z])
    assert alignment(pair, labels_of(0, 0)).item() == pytest.approx(4)
    assert uniformity(pair).item() == pytest.approx(-8)


def test_a_uniform_sphere_of_many_dimensions_has_uniformity_near_minus_four():
    assert uniformity(normal(200, 1024, seed=0)).item() == pytest.approx(-4, abs=0.05)


def test_features_of_a_thousand_dimensions_do_not_underflow_in_single_precision():
    assert torch.isfinite(uniformity(100 * normal(8, 1024, seed=0).float()))


def test_without_a_pair_of_one_class_alignment_is_zero_with_a_zero_gradient():
    features = normal(4, 3, seed=0).requires_grad_()
    value = alignment(features, torch.arange(4))
    (gradient,) = torch.autograd.grad(value, features)
    assert value.item() == 0
    assert gradient.abs().max().item() == 0


def test_a_batch_of_one_class_is_drawn_together_and_kept_from_collapsing():
    features = normal(5, 3, seed=0).requires_grad_()
    terms = discriminability(features, labels_of(4, 4, 4, 4, 4))
    z = functional.normalize(features.detach(), dim=1)
    torch.testing.assert_close(terms.alignment.detach(), torch.pdist(z).square().mean())
    (gradient,) = torch.autograd.grad(terms.loss, features)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def literal_signs(features: Tensor, labels: Tensor) -> Tensor:
    """The formula with two minus signs, as printed in places: kept to show what it does."""
    terms = discriminability(features, labels)
    return -terms.alignment - terms.uniformity


def separation(loss_of) -> float:
    """Minimise `loss_of` over points on a circle; return mean distance between over within."""
    features = normal(30, 2, seed=0).requires_grad_()
    labels = torch.arange(30) % 3
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss_of(features, labels).backward()
        optimizer.step()
    z = functional.normalize(features.detach(), dim=1)
    squared = torch.cdist(z, z).square()
    same = labels[:, None] == labels[None, :]
    within = squared[same & ~torch.eye(30, dtype=torch.bool)].mean()
    return (squared[~same].mean() / within).item()


@pytest.mark.slow
def test_minimising_the_loss_separates_classes_and_minimising_the_literal_signs_does_not():
    assert separation(lambda z, y: discriminability(z, y).loss) > 5
    assert separation(literal_signs) < 1.5


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_are_refused(n):
    with pytest.raises(ValueError, match="Two samples or more"):
        discriminability(torch.zeros(n, 3), torch.zeros(n, dtype=torch.long))
