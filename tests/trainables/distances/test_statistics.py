"""Sides of a distance: their order by class, and the cache of constant ones."""

import pytest
import torch
from torch import Tensor

from trainables.distances.otdd import otdd, prepare
from trainables.distances.statistics import KEPT, by_class, cached_statistics
from trainables.errors import DataError


def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator), torch.arange(n) % 2


@pytest.mark.parametrize("solver", ["emd", "sinkhorn"])
def test_a_hit_gives_the_identical_value(solver):
    x, y = sample(12, seed=0), sample(8, seed=1)
    first = otdd(cached_statistics("identical", *x, solver=solver), *y).value
    hit = otdd(cached_statistics("identical", *x, solver=solver), *y).value
    assert first.item() == hit.item() == otdd(prepare(*x, solver=solver), *y).value.item()


def test_the_same_samples_and_settings_are_found_again():
    x = sample(6, seed=0)
    kept = cached_statistics("found", *x, method="gaussian", shrinkage=0.2)
    copy = tuple(part.clone() for part in x)
    assert cached_statistics("found", *copy, shrinkage=0.2, method="gaussian") is kept


def test_other_samples_or_settings_are_not():
    kept = cached_statistics("one", *sample(6, seed=0))
    assert cached_statistics("another", *sample(6, seed=0)) is not kept
    assert cached_statistics("one", *sample(4, seed=0)) is not kept
    assert cached_statistics("one", *sample(6, seed=0), solver="sinkhorn") is not kept


def test_the_oldest_are_forgotten():
    x = sample(6, seed=0)
    kept = cached_statistics("oldest", *x)
    for i in range(KEPT):
        cached_statistics(f"newer {i}", *x)
    assert cached_statistics("oldest", *x) is not kept


def test_a_refusal_is_not_kept():
    with pytest.raises(DataError):
        cached_statistics("refused", torch.full((6, 3), torch.nan), torch.arange(6) % 2)
    x = sample(6, seed=0)
    assert cached_statistics("refused", *x).classes.counts == (3, 3)


def test_samples_are_sorted_by_class_and_small_classes_left_out():
    features = torch.arange(7.0)[:, None].requires_grad_()
    classes = by_class(features, torch.tensor([5, -1, 5, 9, -1, 5, 2]))
    assert classes.features.flatten().tolist() == [1, 4, 0, 2, 5]
    assert classes.features.dtype == torch.float64
    assert classes.counts == (2, 3)
    (gradient,) = torch.autograd.grad(classes.features.sum(), features)
    assert gradient.flatten().tolist() == [1, 1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("labels", [[0, 1, 2], [0], []])
def test_no_class_of_two_is_refused_with_the_way_out(labels):
    with pytest.raises(DataError, match="draw more samples"):
        by_class(torch.zeros(len(labels), 3), torch.tensor(labels, dtype=torch.long))
