"""Samples by class: the order, what is left out, and what is refused."""

import pytest
import torch

from trainables.distances.labelled import by_class
from trainables.errors import DataError


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
