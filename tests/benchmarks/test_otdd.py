"""OTDD against the same distance written plainly with POT, which keeps nothing between calls.

5000 source and 160 target samples, of ten classes each or of one; equal values, no subsampling. The
exact variant has two plain contestants: one that computes what it needs, and one that, as ORCA's
code in every call, computes the distances between the source's own classes as well. Gaussian and
entropic distances also stand against the same formulas for one class at a time.
"""

import time
from collections.abc import Callable
from itertools import combinations

import numpy as np
import ot
import pytest
import torch
from scipy.special import rel_entr
from torch import Tensor

from tests.support.figures import compare
from tests.support.plain_distances import gaussian_otdd, sinkhorn_otdd
from trainables.distances.otdd import Distance, otdd, prepare
from trainables.distances.statistics import by_class as classes_of

SOURCE, TARGET, CLASSES, ROUNDS = 5000, 160, 10, 3
SHRINKAGE = 0.1
PIVOTS = 10_000_000

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]

Sample = tuple[Tensor, Tensor]


def sample(n: int, classes: int, width: int, seed: int) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    means = torch.randn(classes, width, generator=generator)[labels] / 2
    return torch.randn(n, width, generator=generator) + means, labels


def by_class(sample: Sample) -> list[np.ndarray]:
    features, labels = sample
    return [features[labels == c].double().numpy() for c in labels.unique()]


def exact_distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(ot.emd2([], [], ot.dist(x, y), numItermax=PIVOTS))


def gaussian_distance(x: np.ndarray, y: np.ndarray) -> float:
    def moments(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        covariance = np.cov(z, rowvar=False, bias=True)
        ridge = SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        return z.mean(0), (1 - SHRINKAGE) * covariance + ridge

    (m, s), (n, t) = moments(x), moments(y)
    return float(ot.gaussian.bures_wasserstein_distance(m, n, s, t)) ** 2


def plain(
    source: Sample, target: Sample, distance: Callable[..., float], within: bool = False
) -> float:
    """The definition, with POT's solvers and nothing kept."""
    sources, targets = by_class(source), by_class(target)
    if within:
        for x, y in combinations(sources, 2):
            distance(x, y)
    between = np.array([[distance(x, y) for y in targets] for x in sources])
    label_term = between.repeat([len(x) for x in sources], 0).repeat([len(y) for y in targets], 1)
    cost = (ot.dist(np.concatenate(sources), np.concatenate(targets)) + label_term) / 2
    return float(ot.emd2([], [], cost, numItermax=PIVOTS))


def timed(function: Callable[[], object]) -> tuple[float, object]:
    began = time.process_time()
    result = function()
    return time.process_time() - began, result


@pytest.mark.parametrize("width", [128, 768])
@pytest.mark.parametrize("target_classes", [1, 10])
@pytest.mark.parametrize("method", ["exact", "gaussian"])
def test_repeated_calls_against_plain_pot_at_equal_value(method, width, target_classes):
    source = sample(SOURCE, CLASSES, width, seed=0)
    y, labels = sample(TARGET, target_classes, width, seed=1)
    y.requires_grad_()
    prepared = prepare(*source, method=method, shrinkage=SHRINKAGE)
    first, _ = timed(lambda: otdd(prepared, y, labels))
    distance = exact_distance if method == "exact" else gaussian_distance
    target = y.detach(), labels
    plainly = {"plain": lambda: plain(source, target, distance)}
    if method == "exact":
        plainly["plain, W within"] = lambda: plain(source, target, distance, within=True)

    seconds = dict.fromkeys(["forward", "backward", *plainly], float("inf"))
    for turn in range(ROUNDS):
        forward, ours = timed(lambda: otdd(prepared, y, labels))
        assert isinstance(ours, Distance)
        assert ours.converged
        value = ours.value
        backward, _ = timed(lambda value=value: torch.autograd.grad(value, y))
        seconds["forward"] = min(seconds["forward"], forward)
        seconds["backward"] = min(seconds["backward"], backward)
        for name, call in plainly.items() if turn == 0 or method == "exact" else ():
            taken, theirs = timed(call)
            seconds[name] = min(seconds[name], taken)
            assert ours.value.item() == pytest.approx(theirs, rel=1e-6)

    call, ratios = (
        seconds["forward"],
        {name: seconds[name] / seconds["forward"] for name in plainly},
    )
    gradient = (call + seconds["backward"]) / call
    what = f"OTDD, {method}, d={width}, {target_classes} classes"
    print(f"{what}: first {first:.2f} s, with gradient x {gradient:.2f}")
    for name in plainly:
        compare(what, call, seconds[name], peer=f"{name} POT", unit="s", goal="< 1.25")
    assert gradient < 1.5
    if method == "gaussian" and width == 768 and target_classes == 10:
        assert ratios["plain"] > 10
    assert ratios["plain"] > 0.8


@pytest.mark.timeout(1800)
def test_with_entropy_what_is_constant_of_the_source_is_computed_once():
    width, entreg = 128, 10.0
    source = sample(SOURCE, CLASSES, width, seed=0)
    y, labels = sample(TARGET, CLASSES, width, seed=1)

    def entropic(cost: np.ndarray) -> float:
        a, b = (ot.unif(size) for size in cost.shape)
        plan, log = ot.bregman.sinkhorn_log(
            a, b, cost, entreg, numItermax=10_000, stopThr=1e-7, log=True
        )
        assert log["err"][-1] < 1e-7
        return float((plan * cost).sum() + entreg * rel_entr(plan, np.outer(a, b)).sum())

    def plainly() -> float:
        sides = [by_class(source), by_class((y, labels))]
        own = [[entropic(ot.dist(x, x)) for x in side] for side in sides]

        def block(i: int, j: int) -> np.ndarray:
            pairs = [[ot.dist(x, z) for z in sides[j]] for x in sides[i]]
            values = np.array([[entropic(cost) for cost in row] for row in pairs])
            values -= (np.array(own[i])[:, None] + np.array(own[j])) / 2
            sizes = [[len(x) for x in sides[k]] for k in (i, j)]
            label_term = values.repeat(sizes[0], 0).repeat(sizes[1], 1)
            squared = ot.dist(np.concatenate(sides[i]), np.concatenate(sides[j]))
            return (squared + label_term) / 2

        cross, first, second = (entropic(block(*pair)) for pair in ((0, 1), (0, 0), (1, 1)))
        return cross - (first + second) / 2

    prepared = prepare(*source, solver="sinkhorn", entreg=entreg)
    once, _ = timed(lambda: otdd(prepared, y, labels))
    call, ours = timed(lambda: otdd(prepared, y, labels))
    taken, theirs = timed(plainly)
    print(f"sinkhorn d={width}: first {once:.1f} s")
    what = f"OTDD, sinkhorn, d={width}, later calls"
    ratio = compare(what, call, taken, peer="plain POT", unit="s", goal="< 0.1")
    assert isinstance(ours, Distance)
    assert ours.converged
    assert ours.value.item() == pytest.approx(theirs, rel=1e-6)
    assert ratio < 0.1


@pytest.mark.parametrize("target_classes", [1, 10])
@pytest.mark.parametrize("width", [128, 384])
@pytest.mark.parametrize("settings", [{"shrinkage": SHRINKAGE}, {"entreg": 0.1}, {"entreg": 10.0}])
def test_batches_against_one_class_at_a_time(settings, width, target_classes):
    """A first distance and its gradient, on sources of the laptop profile."""
    kind = {"solver": "sinkhorn"} if "entreg" in settings else {"method": "gaussian"}
    source = sample(250, CLASSES, width, seed=0)
    y, labels = sample(32 * min(target_classes, 4), target_classes, width, seed=1)
    y.requires_grad_()

    def batched() -> Tensor:
        value = otdd(prepare(*source, **kind, **settings), y, labels).value
        return torch.cat([value[None], torch.autograd.grad(value, y)[0].flatten()])

    def plainly() -> Tensor:
        distance = sinkhorn_otdd if "entreg" in settings else gaussian_otdd
        value = distance(classes_of(*source), classes_of(y, labels), *settings.values())
        return torch.cat([value[None], torch.autograd.grad(value, y)[0].flatten()])

    seconds = {"plain": float("inf"), "batched": float("inf")}
    for _ in range(ROUNDS):
        found = []
        for name, call in (("plain", plainly), ("batched", batched)):
            taken, result = timed(call)
            seconds[name] = min(seconds[name], taken)
            found.append(result)
        torch.testing.assert_close(found[1], found[0].float(), rtol=1e-6, atol=1e-6)
    what = f"batches of classes, {settings}, d={width}, {target_classes} classes"
    peer = "one class at a time"
    ratio = compare(what, seconds["batched"], seconds["plain"], peer=peer, unit="s", goal="< 0.67")
    assert 1 / ratio > 1.5
