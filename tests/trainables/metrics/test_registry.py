import pytest
import torch

from trainables.metrics import METRICS, mean_of_groups


def test_metrics_are_registered_under_their_own_names():
    assert {name: cls.name for name, cls in METRICS.items()} == {name: name for name in METRICS}
    assert len(METRICS) == 15


def test_the_parts_of_a_group_count_as_one_whatever_their_order_and_number():
    values = torch.tensor([[1.0, 0.0], [5.0, 2.0], [3.0, 0.0], [0.0, 4.0]])
    means = mean_of_groups(values, torch.tensor([7, 2, 7, 7]))
    torch.testing.assert_close(means, torch.tensor([[5.0, 2.0], [4 / 3, 4 / 3]]))


def test_groups_of_one_leave_values_as_they_are():
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mean_of_groups(values, torch.arange(5)), values)


def test_the_mean_of_many_parts_does_not_lose_precision():
    values = torch.full((30_000, 1), 0.1)
    groups = torch.zeros(30_000, dtype=torch.int64)
    assert mean_of_groups(values, groups).item() == pytest.approx(0.1, rel=1e-7)
