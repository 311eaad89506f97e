"""The source head: the norm of its gradient, and the penalty above the bound."""

import pytest
import torch
from torch.nn import functional

from trainables.methods.pare.source_heads import LabelHead
from trainables.methods.recraft.config import MatchConfig
from trainables.methods.recraft.source_head import excess, gradient_norms, train_source_head

CLASSES, WIDTH = 3, 6
HEAD = {"head_epochs": 40, "head_lr": 1e-2, "tau": 0.4, "rho": 100.0}


@pytest.fixture
def samples():
    """Sixty points in three groups that a linear map can almost tell apart."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % CLASSES
    centres = 2 * torch.eye(WIDTH)[:CLASSES]
    return centres[labels] + 0.5 * torch.randn(60, WIDTH, generator=rng), labels


def train(samples, seed=0, **settings) -> LabelHead:
    rng = torch.Generator().manual_seed(seed)
    return train_source_head(*samples, CLASSES, MatchConfig(**{**HEAD, **settings}), rng=rng)


def test_the_norm_is_that_of_the_gradient_by_the_features(samples):
    head = train(samples, head_epochs=3)
    features, labels = samples[0].clone().requires_grad_(), samples[1]
    loss = functional.cross_entropy(head(features[:, None]), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, features)
    torch.testing.assert_close(gradient_norms(head, features, labels), gradient.norm(dim=1))


def test_the_penalty_is_zero_up_to_the_bound_and_grows_with_the_square_above_it():
    norms = torch.tensor([0.1, 0.3, 0.5])
    assert excess(norms, 0.5) == 0
    assert excess(norms, 1.0) == 0
    assert excess(norms, 0.3).item() == pytest.approx(0.2**2 / 3)


def test_below_the_bound_training_is_that_without_a_penalty_bit_for_bit(samples):
    bounded, free = train(samples, tau=1e3), train(samples, rho=0.0)
    assert all(map(torch.equal, bounded.parameters(), free.parameters()))


def test_a_bound_lowers_the_largest_norm_towards_it_and_the_head_still_tells_the_classes(samples):
    norms = {rho: gradient_norms(train(samples, rho=rho), *samples).max() for rho in (0.0, 100.0)}
    assert norms[100.0] < 1.25 * HEAD["tau"] < norms[0.0]
    features, labels = samples
    right = train(samples)(features[:, None]).argmax(1) == labels
    assert right.float().mean() > 0.9


def test_the_head_is_frozen_and_decided_by_its_generator(samples):
    head, again, other = train(samples), train(samples), train(samples, seed=1)
    assert not any(parameter.requires_grad for parameter in head.parameters())
    assert all(map(torch.equal, head.parameters(), again.parameters()))
    assert not all(map(torch.equal, head.parameters(), other.parameters()))
