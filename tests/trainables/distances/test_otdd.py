"""OTDD: its definition by POT, laws, closed forms, gradients, and bad inputs."""

import itertools

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.plain_distances import gaussian_otdd, sinkhorn_otdd
from tests.support.shapes import normal
from trainables.distances.otdd import otdd, prepare
from trainables.distances.statistics import by_class
from trainables.errors import DataError, NonFiniteLoss

KINDS = list(itertools.product(("exact", "gaussian"), ("emd", "sinkhorn")))
every_kind = pytest.mark.parametrize(("method", "solver"), KINDS)


def side(n: int, classes: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Samples about the means of their classes."""
    labels = torch.arange(n) % classes
    return normal(n, d, seed) + 2 * normal(classes, d, seed + 1)[labels], labels


def value(source, target, label_weight=1.0, **settings) -> float:
    distance = otdd(prepare(*source, **settings), *target, label_weight=label_weight)
    assert distance.converged
    return distance.value.item()


def brute_force(source, target, label_weight: float) -> float:
    """Exact OTDD by POT, a pair of classes and a pair of samples at a time."""
    (x, a), (y, b) = source, target
    between = {
        (c, e): ot.emd2([], [], ot.dist(x[a == c].numpy(), y[b == e].numpy()))
        for c in a.unique().tolist()
        for e in b.unique().tolist()
    }
    cost = np.zeros((len(x), len(y)))
    for i, j in np.ndindex(cost.shape):
        label_term = label_weight * between[a[i].item(), b[j].item()]
        cost[i, j] = ((x[i] - y[j]).square().sum().item() + label_term) / 2
    return float(ot.emd2([], [], cost))


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**16), st.sampled_from([0.0, 0.5, 1.0])
)
def test_it_equals_its_definition(source_classes, target_classes, seed, label_weight):
    source = side(9, source_classes, 2, seed)
    target = side(6, target_classes, 2, seed + 10)
    expected = brute_force(source, target, label_weight)
    assert value(source, target, label_weight) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("d", [4, 40])  # the map between covariances by eigenvalues, and by poles
@pytest.mark.parametrize("settings", [{"entreg": 0.1}, {"entreg": 10.0}, {"shrinkage": 0.1}])
def test_batches_of_classes_have_the_value_and_gradient_of_one_class_at_a_time(settings, d):
    kind = {"solver": "sinkhorn"} if "entreg" in settings else {"method": "gaussian"}
    source = prepare(*side(41, 4, d, seed=0), **kind, **settings)
    y, b = side(29, 5, d, seed=9)
    y.requires_grad_()
    b = b.clamp_max(3)  # one class is twice as large
    ours = otdd(source, y, b).value
    plainly = sinkhorn_otdd if "entreg" in settings else gaussian_otdd
    theirs = plainly(source.classes, by_class(y, b), *settings.values())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    gradients = [torch.autograd.grad(value, y)[0] for value in (ours, theirs)]
    assert (gradients[0] - gradients[1]).norm() <= 1e-6 * gradients[1].norm()


@every_kind
def test_a_side_is_at_zero_from_itself(method, solver):
    source = side(24, 3, 5, seed=0)
    assert abs(value(source, source, method=method, solver=solver)) < 1e-6
    if solver == "emd":
        assert abs(value(source, source, method=method, solver=solver, shrinkage=0.0)) < 1e-9


def test_with_entropy_a_side_is_at_zero_only_since_both_levels_are_divergences():
    source = prepare(*side(24, 3, 5, seed=0), solver="sinkhorn", entreg=1.0)
    x, labels = source.classes.features, torch.arange(3).repeat_interleave(8)
    distance = otdd(source, x, labels)
    cross = (distance.value + source.self_cost(1.0).values).item()  # without the outer halves
    assert abs(distance.value.item()) < 1e-6
    assert cross > 0.1
    assert source.class_self_costs.values.min() > 0.1  # nor would the inner level be


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "gaussian"])
def test_with_little_entropy_it_is_the_exact_distance(method):
    source, target = side(20, 2, 3, seed=0), side(15, 3, 3, seed=9)
    exact = value(source, target, method=method)
    entropic = [
        value(source, target, method=method, solver="sinkhorn", entreg=entreg)
        for entreg in (1.0, 1e-2, 1e-3)
    ]
    errors = [abs(v / exact - 1) for v in entropic]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


@pytest.mark.slow
@every_kind
def test_a_shift_across_the_class_means_costs_its_square(method, solver):
    x, labels = side(20, 2, 3, seed=0)
    source = torch.nn.functional.pad(x, (0, 1)), labels
    shift = torch.tensor([0.0, 0.0, 0.0, 3.0], dtype=torch.float64)
    target = source[0] + shift, labels
    settings = {"method": method, "solver": solver}
    assert value(source, target, **settings) == pytest.approx(9, abs=1e-5)
    features_alone = value(source, target, label_weight=0.0, **settings)
    assert features_alone == pytest.approx(4.5, abs=1e-5)


@pytest.mark.slow
@every_kind
def test_it_is_a_symmetric_function_of_sets_whose_labels_are_only_names(method, solver):
    (x, a), (y, b) = side(14, 2, 3, seed=0), side(12, 3, 3, seed=9)
    settings = {"method": method, "solver": solver}
    expected = pytest.approx(value((x, a), (y, b), **settings), rel=1e-6)
    assert value((y, b), (x, a), **settings) == expected
    assert value((x, a), (y.flip(0), b.flip(0)), **settings) == expected
    assert value((x.flip(0), a.flip(0)), (y, b), **settings) == expected
    assert value((x, a), (y, 7 - 3 * b), **settings) == expected
    assert value((x.repeat(2, 1), a.repeat(2)), (y, b), **settings) == expected
    assert value((x, a), (y.repeat(3, 1), b.repeat(3)), **settings) == expected


def test_the_gaussian_variant_approximates_the_exact_one_on_gaussian_data():
    n, d = 1000, 2
    scales = torch.tensor([1.0, 2.0], dtype=torch.float64)
    target = normal(n, d, seed=1) * scales + 3, torch.arange(n) % 2
    source = normal(n, d, seed=0), torch.arange(n) % 2
    exact, gaussian = (
        value(source, target, method=m, shrinkage=0.0) for m in ("exact", "gaussian")
    )
    population = 9 * d + (scales - 1).square().sum().item()
    assert gaussian <= exact
    assert gaussian == pytest.approx(exact, rel=0.05)
    assert gaussian == pytest.approx(population, rel=0.05)


def test_with_one_class_a_side_the_label_term_is_the_distance_again():
    source, target = side(9, 1, 3, seed=0), side(6, 1, 3, seed=9)
    squared = ot.emd2([], [], ot.dist(source[0].numpy(), target[0].numpy()))
    assert value(source, target) == pytest.approx(squared)
    assert value(source, target, label_weight=0.0) == pytest.approx(squared / 2)


@pytest.mark.parametrize("method", ["exact", "gaussian"])
def test_classes_together_are_at_most_as_far_as_one_by_one(method):
    source, (y, b) = side(20, 2, 3, seed=0), side(15, 3, 3, seed=9)
    one_by_one = [value(source, (y[b == c], b[b == c]), method=method) for c in range(3)]
    assert value(source, (y, b), method=method) <= sum(one_by_one) / 3 + 1e-12


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("target_classes", [1, 3])
def test_the_gradient_is_that_of_the_value_through_the_label_term_too(
    method, solver, target_classes
):
    source = prepare(*side(14, 2, 3, seed=0), method=method, solver=solver)
    y, b = side(12, target_classes, 3, seed=9)
    y.requires_grad_()
    direction = normal(12, 3, seed=5)

    def along(**options) -> tuple[float, float]:
        (gradient,) = torch.autograd.grad(otdd(source, y, b, **options).value, y)
        ahead, behind = (
            otdd(source, y.detach() + h * direction, b, **options).value for h in (1e-5, -1e-5)
        )
        return (gradient * direction).sum().item(), ((ahead - behind) / 2e-5).item()

    analytic, difference = along()
    assert analytic == pytest.approx(difference, rel=1e-4)
    detached, _ = along(detach_label_term=True)
    assert detached != pytest.approx(analytic, rel=0.05)
    analytic, difference = along(label_weight=0.0)
    assert analytic == pytest.approx(difference, rel=1e-4)


@every_kind
def test_classes_of_one_sample_are_left_out(method, solver):
    x, a = side(12, 2, 3, seed=0)
    y, b = side(8, 2, 3, seed=9)
    settings = {"method": method, "solver": solver}
    source = prepare(torch.cat([x, 100 + x[:1]]), torch.cat([a, torch.tensor([7])]), **settings)
    target = torch.cat([y, y[:2] - 100]), torch.cat([b, torch.tensor([7, 8])])
    distance = otdd(source, *target)
    assert source.classes.counts == (6, 6)
    assert distance.value.item() == pytest.approx(value((x, a), (y, b), **settings))


@every_kind
def test_the_value_has_the_dtype_of_the_target_and_the_digits_of_float64(method, solver):
    source, (y, b) = side(14, 2, 3, seed=0), side(12, 3, 3, seed=9)
    prepared = prepare(source[0].float(), source[1], method=method, solver=solver)
    single = y.float().requires_grad_()
    distance = otdd(prepared, single, b)
    exact = otdd(prepared, single.detach().double(), b).value.item()
    assert distance.value.dtype == torch.float32
    assert distance.value.item() == pytest.approx(exact, rel=1e-7)
    assert torch.autograd.grad(distance.value, single)[0].dtype == torch.float32


@every_kind
@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_constant_features_have_a_finite_gradient(method, solver, shrinkage):
    source = prepare(*side(14, 2, 3, seed=0), method=method, solver=solver, shrinkage=shrinkage)
    y = torch.ones(6, 3, requires_grad=True)
    distance = otdd(source, y, torch.arange(6) % 2)
    (gradient,) = torch.autograd.grad(distance.value, y)
    assert torch.isfinite(distance.value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(bad):
    x, a = side(8, 2, 3, seed=0)
    broken = x.clone()
    broken[3, 1] = bad
    with pytest.raises(DataError, match="Source features"):
        prepare(broken, a)
    with pytest.raises(NonFiniteLoss, match="lower the rate"):
        otdd(prepare(x, a), broken, a)


@pytest.mark.parametrize("settings", [{"entreg": 0.0}, {"shrinkage": -0.1}, {"shrinkage": 1.1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must hold"):
        prepare(*side(8, 2, 3, seed=0), **settings)


def test_a_negative_label_weight_is_refused():
    sides = side(8, 2, 3, seed=0)
    with pytest.raises(ValueError, match="label_weight"):
        otdd(prepare(*sides), *sides, label_weight=-1.0)
