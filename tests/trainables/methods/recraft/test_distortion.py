"""The feature-label distortion: closed forms of its entropies, and inequalities between them."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainables.methods.recraft.distortion import distortion, entropy


def batch(seed: int, samples: int, sources: int, classes: int):
    """Return random predictions, classes and shares, of which one class may not be drawn."""
    rng = torch.Generator().manual_seed(seed)
    probabilities = (4 * torch.randn(samples, sources, generator=rng).double()).softmax(1)
    labels = torch.randint(classes, (samples,), generator=rng)
    shares = torch.rand(classes, generator=rng).double() + 0.1
    return probabilities, labels, shares / shares.sum()


batches = st.builds(
    batch, st.integers(0, 2**16), st.integers(1, 12), st.integers(2, 6), st.integers(1, 5)
)


@pytest.mark.parametrize("sources", [1, 2, 7])
def test_a_uniform_prediction_has_the_entropy_of_its_number_of_labels(sources):
    uniform = torch.full((3, sources), 1 / sources).double()
    torch.testing.assert_close(entropy(uniform), torch.full((3,), math.log(sources)).double())


def test_a_certain_prediction_has_no_entropy_and_a_finite_gradient():
    logits = torch.tensor([[0.0, -1e4, -1e4]], requires_grad=True)
    certain = entropy(logits.softmax(1))
    assert certain.item() == 0
    (gradient,) = torch.autograd.grad(certain.sum(), logits)
    assert gradient.isfinite().all()


@given(batches)
def test_knowing_the_sample_or_its_class_makes_the_source_label_no_less_certain(drawn):
    found = distortion(*drawn)
    bounds = [0.0, found.sample, found.conditional, found.marginal, math.log(drawn[0].shape[1])]
    assert all(low <= high + 1e-9 for low, high in pairwise(bounds))


@given(batches)
def test_the_forms_are_two_conditional_entropies_and_a_negative_information(drawn):
    found = distortion(*drawn)
    assert found.loss("entropy") == found.sample
    assert found.loss("conditional") == found.conditional
    assert found.loss("information") == found.conditional - found.marginal <= 1e-9


def test_classes_with_a_source_label_each_have_no_conditional_entropy_and_all_information():
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    found = distortion(
        functional.one_hot(labels, 3).double(), labels, torch.full((3,), 1 / 3).double()
    )
    assert found.conditional == 0
    assert found.loss("information").item() == pytest.approx(-math.log(3))


def test_predictions_that_do_not_depend_on_the_class_hold_no_information():
    labels = torch.tensor([0, 0, 1, 1])
    found = distortion(torch.eye(2).repeat(2, 1), labels, torch.tensor([0.25, 0.75]))
    assert found.sample == 0
    assert found.conditional.item() == pytest.approx(math.log(2))
    assert found.loss("information").item() == pytest.approx(0, abs=1e-7)


def test_a_class_weighs_by_its_share_however_many_of_it_are_drawn():
    certain, uniform = [1.0, 0.0], [0.5, 0.5]
    shares = torch.tensor([0.2, 0.3, 0.5])
    few = distortion(torch.tensor([certain, uniform]), torch.tensor([0, 1]), shares)
    many = distortion(torch.tensor([certain, *[uniform] * 5]), torch.tensor([0, *[1] * 5]), shares)
    assert few.conditional.item() == pytest.approx(0.6 * math.log(2))  # 0.3 / (0.2 + 0.3)
    torch.testing.assert_close(tuple(few), tuple(many))


@given(batches, st.permutations(range(12)))
def test_the_order_of_the_samples_has_no_effect(drawn, order):
    probabilities, labels, shares = drawn
    order = [index for index in order if index < len(labels)]
    torch.testing.assert_close(
        tuple(distortion(probabilities[order], labels[order], shares)), tuple(distortion(*drawn))
    )
