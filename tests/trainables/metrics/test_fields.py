import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from tests.support.measured_pairs import value
from trainables.errors import DataError
from trainables.metrics.fields import ContactError, NormalizedRMSE, OrcaContactError


def fields(n: int, *shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, *shape, generator=generator),
        torch.randn(n, *shape, generator=generator) + 0.5,
    )


@pytest.mark.parametrize("name", ["nrmse", "relative_l2"])
def test_nrmse_agrees_with_scikit_learn(name):
    prediction, target = (array.reshape(7, -1).numpy() for array in fields(7, 2, 5))
    ratios = [
        reference.root_mean_squared_error(y, p) / reference.root_mean_squared_error(y, 0 * y)
        for p, y in zip(prediction, target, strict=True)
    ]
    assert value(name, *fields(7, 2, 5)) == pytest.approx(np.mean(ratios), rel=1e-6)


def test_targets_of_zero_are_dropped_and_counted():
    prediction, target = fields(5, 4)
    target[1], target[3] = 0.0, 1e-12
    total = NormalizedRMSE()
    total.update(prediction, target)
    assert total.num_dropped == 2
    kept = torch.tensor([0, 2, 4])
    assert total.compute() == pytest.approx(value("nrmse", prediction[kept], target[kept]))


def test_a_metric_of_targets_that_are_all_dropped_is_an_error():
    total = NormalizedRMSE()
    total.update(torch.ones(2, 3), torch.zeros(2, 3))
    with pytest.raises(DataError, match="got 2, dropped 2"):
        total.compute()


def test_a_prediction_of_another_shape_is_refused_rather_than_broadcast():
    _, target = fields(3, 1, 4)
    with pytest.raises(ValueError, match=r"must have its target's shape"):
        value("nrmse", target[:, :, :1], target)


def test_no_graph_is_kept():
    prediction, target = fields(3, 4)
    total = NormalizedRMSE()
    total.update(prediction.requires_grad_(), target)
    kept = [value for value in vars(total).values() if isinstance(value, torch.Tensor)]
    assert [value.requires_grad for value in kept] == [False, False]


def proteins(n: int, length: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions, and targets of which some distances are unknown."""
    generator = torch.Generator().manual_seed(1)
    prediction = 10 * torch.randn(n, 1, length, length, generator=generator)
    distance = 20 * torch.rand(n, 1, length, length, generator=generator)
    known = (torch.rand(n, 1, length, length, generator=generator) > 0.2).float()
    return prediction, torch.cat([distance * known, known], dim=1)


def test_the_contact_error_is_its_definition_pair_by_pair():
    prediction, target = proteins(3)
    by_protein = []
    for p, (y, known) in zip(prediction[:, 0].tolist(), target.tolist(), strict=True):
        errors = [
            abs(max((p[i][j] + p[j][i]) / 2, 0.01) - y[i][j])
            for i in range(40)
            for j in range(i + 24, 40)
            if known[i][j] and y[i][j] <= 8
        ]
        by_protein.append(np.mean(errors))
    assert value("mae8", prediction, target) == pytest.approx(np.mean(by_protein), rel=1e-5)


def test_the_contact_error_of_the_truth_is_zero_whatever_is_said_elsewhere():
    _, target = proteins(2)
    target[:, 0] = (target[:, 0] + target[:, 0].transpose(1, 2)) / 2
    target[:, 1] = target[:, 1] * target[:, 1].transpose(1, 2)
    prediction = target[:, :1].clone()
    prediction[:, 0] += 100 * (target[:, 0] > 8)
    assert value("mae8", prediction, target) == pytest.approx(0, abs=1e-6)


def test_a_distance_that_is_nan_shows_where_it_is_said_to_be_known():
    prediction, target = proteins(3)
    target[1, 1, 2, 35] = 1.0
    target[1, 0, 2, 35] = math.nan
    assert math.isnan(value("mae8", prediction, target))
    target[1, 1, 2, 35] = 0.0
    assert math.isfinite(value("mae8", prediction, target))


def test_a_protein_without_contacts_is_dropped():
    prediction, target = proteins(3)
    target[1, 0] = 9.0
    total = ContactError()
    total.update(prediction, target)
    assert total.num_dropped == 1
    kept = torch.tensor([0, 2])
    assert total.compute() == pytest.approx(value("mae8", prediction[kept], target[kept]))


def test_the_official_contact_error_makes_maps_symmetric_twice_and_has_the_first_one_s_length():
    prediction, target = proteins(3, length=50)
    target[:, 1] = 0.0
    for place, residues in zip(target[:, 1], (44, 46, 40), strict=True):  # at 5, as in a store
        place[5 : 5 + residues, 5 : 5 + residues] = 1.0
    for first in (0, 1):
        total = OrcaContactError()
        total.begin(target[first])
        for p, y in zip(prediction.split(2), target.split(2), strict=True):
            total.update(p, y)
        expected = official_contact_error(prediction, target, (44, 46)[first])
        assert total.compute() == pytest.approx(expected, rel=1e-5)
        assert expected != pytest.approx(value("mae8", prediction, target), rel=1e-3)
    whole = official_contact_error(prediction, target, 50)
    assert value("mae8_orca", prediction, target) == pytest.approx(whole, rel=1e-5)
    symmetric = (prediction + prediction.mT) / 2
    assert value("mae8_orca", symmetric, target) == pytest.approx(
        value("mae8", symmetric, target), rel=1e-6
    )


def official_contact_error(prediction, target, residues: int) -> float:
    """Compute the official result, pair by pair. The upper triangle becomes the mean of both in
    place, all is clipped, and the mean of both triangles is taken once more."""
    by_protein = []
    for p, (y, known) in zip(prediction[:, 0].tolist(), target.tolist(), strict=True):
        errors = []
        for i in range(5, 5 + residues):
            for j in range(i + 24, min(5 + residues, len(p))):
                upper, lower = max((p[i][j] + p[j][i]) / 2, 0.01), max(p[j][i], 0.01)
                if known[i][j] and 0 < y[i][j] <= 8:
                    errors.append(abs((upper + lower) / 2 - y[i][j]))
        by_protein.append(np.mean(errors))
    return np.mean(by_protein)
