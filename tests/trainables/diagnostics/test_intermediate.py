"""Mixtures between the modalities: their ends, and the way from one to the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.diagnostics.intermediate import (
    SHARES,
    Intermediate,
    intermediate,
    mixture,
    mixture_means,
    pair,
    random_scores,
)
from trainables.distances.otdd import otdd, prepare
from trainables.seeding import generator


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed, "test"))


@pytest.fixture
def as_long(source):
    """The source with windows of eight sub-words: as many tokens as a target sample has."""
    rng = torch.Generator().manual_seed(1)
    inputs = torch.randint(5, 60, (12, 8), generator=rng)
    with torch.no_grad():
        features = source.embed(inputs).mean(1)
    return replace(source, inputs=inputs, features=features, content_hash="2" * 64)


def test_of_no_token_a_mixture_is_the_target_and_of_all_tokens_it_is_the_source():
    target, source = normal(3, 5, 2, seed=0), normal(3, 5, 2, seed=1)
    scores = normal(3, 5, seed=2), normal(3, 5, seed=3)
    assert torch.equal(mixture(target, source, *scores, k=0), target)
    assert torch.equal(mixture(target, source, *scores, k=5), source)


def test_the_lowest_tokens_give_way_to_the_highest_in_the_order_of_their_places():
    target, source = -torch.arange(4.0).view(1, 4, 1), 10 + torch.arange(3.0).view(1, 3, 1)
    scores, source_scores = torch.tensor([[3.0, 0, 2, 1]]), torch.tensor([[2.0, 1, 3]])
    mixed = mixture(target, source, scores, source_scores, k=2).flatten()
    assert mixed.tolist() == [0, 10, -2, 12]


def test_the_ends_are_the_distance_of_the_modalities_and_zero(make_state, task, source):
    model = make_state().model
    found = intermediate(model, task, source, random_scores(0), most=10)
    pairs = pair(task, source, 10)
    with torch.no_grad():
        target = model.embed(torch.from_numpy(task.train.x[pairs.target.numpy()])).mean(1)
    statistics = prepare(source.features[pairs.source], pairs.source_classes)
    assert found.to_target[0] == pytest.approx(0, abs=1e-9)
    assert found.to_source[0] == pytest.approx(
        otdd(statistics, target, pairs.target_classes).value.item(), rel=1e-6
    )
    assert len(found.share) == len(SHARES) == 11


def test_the_last_mixtures_are_the_source_where_samples_are_as_long(make_state, task, as_long):
    model, pairs = make_state().model, pair(task, as_long, 10)
    (last,) = mixture_means(model, task, as_long, pairs, random_scores(0), shares=[1.0])
    torch.testing.assert_close(last, as_long.features[pairs.source])


def test_from_a_far_target_mixtures_come_ever_nearer_to_the_source(make_state, task, as_long):
    """The target lies far off in one direction, so that each token brings it closer."""
    model = make_state().model
    embed = model.embedder.forward
    model.embedder.forward = lambda x: embed(x) + 20
    found = intermediate(model, task, as_long, random_scores(0), most=10)
    assert (found.falls, found.rises) == (1, 1)
    assert found.to_source[-1] < 0.1 * found.to_source[0]
    assert found.to_target[-1] > 10 * found.to_target[1] > 0


def test_steps_the_wrong_way_are_counted():
    distances = np.array([3.0, 2.0, 2.5]), np.array([0.0, 1.0, 2.0])
    share = np.array([0, 0.5, 1])
    found = Intermediate(share=share, to_source=distances[0], to_target=distances[1])
    assert (found.falls, found.rises) == (0.5, 1)


def test_a_scorer_is_asked_of_both_sides_and_decides(make_state, task, source):
    """Mixtures by opposite scores differ; the same ones are alike to the bit."""
    model, pairs = make_state().model, pair(task, source, 10)

    def means(scorer):
        return mixture_means(model, task, source, pairs, scorer, shares=[0.5])

    forwards, again, backwards = (
        means(scorer) for scorer in (lambda t: t[..., 0], lambda t: t[..., 0], lambda t: -t[..., 0])
    )
    assert torch.equal(forwards, again)
    assert not torch.equal(forwards, backwards)
    assert torch.equal(means(random_scores(3)), means(random_scores(3)))


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_the_model_its_weights_and_mode(make_state, task, source, training):
    model = make_state().model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()
    intermediate(model, task, source, random_scores(0), most=10, shares=[0.5])
    assert model.embedder.training is training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(v, before[name]) for name, v in model.state_dict().items())
