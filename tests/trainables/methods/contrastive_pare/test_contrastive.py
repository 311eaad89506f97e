"""Contrastive losses: definitions, laws, closed forms, purpose; and why cosines are not enough."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.support.shapes import normal, task_of
from trainables.methods.contrastive_pare import contrastive
from trainables.methods.contrastive_pare.contrastive import (
    channel_units,
    class_correlations,
    class_means,
    class_weights,
    contrastive_loss,
    correlations,
    input_units,
    mean_cosines,
)
from trainables.tasks.task import Task
from trainables.training.discriminability import discriminability
from trainables.training.pseudo_labels import target_labels

WEIGHTED = ["exp", "affine", "supcon_out"]
FORMS = [*WEIGHTED, "align_uniform"]

quick = settings(deadline=None, max_examples=25, derandomize=True)


def pair_weights(labels: Tensor, seed: int = 0, least: float = 1.0) -> Tensor:
    """Random symmetric weights of pairs of classes, 1 within one."""
    k = int(labels.max()) + 1
    rng = torch.Generator().manual_seed(seed)
    table = least + 4 * torch.rand(k, k, dtype=torch.float64, generator=rng)
    table = (table + table.T) / 2
    table.fill_diagonal_(1.0)
    return table[labels[:, None], labels]


def cosines(features: Tensor) -> Tensor:
    z = functional.normalize(features, dim=1)
    return z @ z.T


def written_out(features: Tensor, labels: Tensor, weights: Tensor, form: str, tau: float) -> Tensor:
    """The definition, by loops over pairs."""
    c, n = cosines(features), len(labels)
    s = (1 + c) / 2 + 1e-8 if form == "affine" else (c / tau).exp()
    losses = []
    for label in labels.unique():
        of = [i for i in range(n) if labels[i] == label]
        if len(of) < 2:
            continue
        every = {i: sum(weights[i, j] * s[i, j] for j in range(n) if j != i) for i in of}
        pairs = [(i, j) for i in of for j in of if i != j]
        if form == "supcon_out":
            losses.append(-sum((s[i, j] / every[i]).log() for i, j in pairs) / len(pairs))
        else:
            losses.append(-(sum(s[i, j] for i, j in pairs) / sum(every.values())).log())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("form", WEIGHTED)
@given(seed=st.integers(0, 2**16), sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4))
@quick
def test_the_loss_equals_its_definition(form, seed, sizes):
    sizes = [2, *sizes]
    labels = torch.cat([torch.full((n,), y) for y, n in enumerate(sizes)])
    features, weights = normal(len(labels), 3, seed), pair_weights(labels, seed)
    ours = contrastive_loss(features, labels, weights, form=form, temperature=0.3)
    torch.testing.assert_close(ours, written_out(features, labels, weights, form, 0.3))


def test_align_uniform_is_discriminability_whatever_weights_and_temperature():
    features, labels = normal(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    ours = contrastive_loss(
        features, labels, pair_weights(labels), form="align_uniform", temperature=7.0
    )
    assert torch.equal(ours, discriminability(features, labels).loss)


@pytest.mark.parametrize("form", WEIGHTED)
def test_collapsed_features_have_the_loss_of_counting_pairs(form):
    labels = torch.tensor([0, 0, 0, 1, 1])
    features, weights = normal(1, 4).expand(5, 4), pair_weights(labels)
    of = [(labels == y).nonzero().flatten() for y in (0, 1)]
    per_anchor = weights.sum(1) - 1
    expected = [per_anchor[i].mean().log() - math.log(len(i) - 1) for i in of]
    if form == "supcon_out":
        expected = [per_anchor[i].log().mean() for i in of]
    ours = contrastive_loss(features, labels, weights, form=form)
    torch.testing.assert_close(ours, sum(expected) / 2, rtol=1e-6, atol=0)


def extremes() -> dict[str, Tensor]:
    direction = normal(1, 4)
    return {
        "collapsed": direction.expand(6, 4),
        "opposite": direction * torch.tensor([[1.0], [-1], [1], [-1], [1], [-1]]),
        "opposite classes": direction * torch.tensor([[1.0], [1], [1], [-1], [-1], [-1]]),
        "zero": torch.zeros(6, 4, dtype=torch.float64),
        "huge": 1e30 * normal(6, 4),
        "tiny": 1e-30 * normal(6, 4),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", extremes())
def test_loss_and_gradient_are_finite_for_any_features(case, form, dtype):
    features = extremes()[case].to(dtype).clone().requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    loss = contrastive_loss(
        features, labels, pair_weights(labels).to(dtype), form=form, temperature=0.03
    )
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.dtype == dtype
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("form", WEIGHTED)
@given(seed=st.integers(0, 2**16), d=st.sampled_from([1, 2, 8]))
@quick
def test_it_is_not_negative_where_no_weight_is_below_one(form, seed, d):
    labels = torch.arange(8) % 3
    loss = contrastive_loss(normal(8, d, seed), labels, pair_weights(labels, seed), form=form)
    assert loss >= -1e-12


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@quick
def test_lengths_of_features_order_of_samples_and_names_of_classes_do_not_matter(form, seed, scale):
    labels = torch.arange(7) % 3
    features, weights = normal(7, 4, seed), pair_weights(labels, seed)
    expected = contrastive_loss(features, labels, weights, form=form)
    lengths = scale * torch.arange(1, 8, dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        contrastive_loss(lengths * features, labels, weights, form=form), expected
    )
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    moved = (features[order], (5 - labels * 2)[order], weights[order][:, order])
    torch.testing.assert_close(contrastive_loss(*moved, form=form), expected)


@pytest.mark.parametrize("form", WEIGHTED)
@given(seed=st.integers(0, 2**16), pair=st.sampled_from([(0, 1), (0, 2), (1, 2)]))
@quick
def test_it_grows_in_the_weight_of_each_pair_of_classes(form, seed, pair):
    labels, features = torch.arange(6) % 3, normal(6, 4, seed)
    weights = pair_weights(labels, seed)
    a, b = (labels == pair[0]), (labels == pair[1])
    both = (a[:, None] & b) | (b[:, None] & a)
    more = torch.where(both, 2 * weights, weights)
    less, larger = (contrastive_loss(features, labels, w, form=form) for w in (weights, more))
    assert larger > less


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form):
    features, labels = normal(6, 3).requires_grad_(), torch.tensor([0, 0, 1, 1, 1, 2])
    weights = pair_weights(labels)
    assert torch.autograd.gradcheck(
        lambda z: contrastive_loss(z, labels, weights, form=form, temperature=0.5), features
    )


@pytest.mark.parametrize("form", WEIGHTED)
def test_without_a_pair_of_one_class_the_loss_is_zero_with_a_zero_gradient(form):
    features, labels = normal(4, 3).requires_grad_(), torch.arange(4)
    loss = contrastive_loss(features, labels, pair_weights(labels), form=form)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.item() == 0
    assert gradient.abs().max().item() == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_one_class_has_a_loss_and_nothing_is_pushed_apart(form):
    features, labels = normal(5, 3).requires_grad_(), torch.full((5,), 7)
    ones = torch.ones(5, 5, dtype=torch.float64)
    loss = contrastive_loss(features, labels, ones, form=form, temperature=0.5)
    (gradient,) = torch.autograd.grad(loss, features)
    assert gradient.isfinite().all()
    if form in ("exp", "affine"):  # its pairs are all pairs
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert gradient.abs().max() < 1e-12
    between = mean_cosines(features.detach(), labels).between
    assert between == 0


def trained(form: str, weights: Tensor, labels: Tensor) -> Tensor:
    """Minimise the loss over points on a sphere; return their cosines."""
    features = normal(len(labels), 3).requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        contrastive_loss(features, labels, weights, form=form, temperature=0.5).backward()
        optimizer.step()
    return cosines(features.detach())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_minimising_it_draws_classes_together_and_apart(form):
    labels = torch.arange(18) % 3
    c = trained(form, torch.ones(18, 18, dtype=torch.float64), labels)
    same = labels[:, None] == labels
    within, between = c[same].mean(), c[~same].mean()
    assert within - between > 0.8, (within, between)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["exp", "supcon_out"])
def test_a_pair_of_classes_with_a_larger_weight_ends_further_apart(form):
    labels = torch.arange(18) % 3
    a, b = labels == 0, labels == 1
    heavy = (a[:, None] & b) | (b[:, None] & a)
    c = trained(form, torch.where(heavy, 10.0, 1.0).double(), labels)
    light = (a[:, None] & (labels == 2)) | (b[:, None] & (labels == 2))
    assert c[heavy].mean() < c[light].mean() - 0.1


def test_mean_cosines_leave_out_pairs_of_a_sample_with_itself():
    features = torch.tensor([[1.0, 0], [0, 2], [-3, 0]], dtype=torch.float64)
    within, between = mean_cosines(features, torch.tensor([0, 0, 1]))
    assert within.item() == pytest.approx(0)
    assert between.item() == pytest.approx(-0.5)  # of (0, 2) and (1, 2): -1 and 0
    alone = mean_cosines(features, torch.arange(3))
    assert alone.within.item() == 0


def correlation_of(k: int, seed: int) -> Tensor:
    prototypes = normal(k, 6, seed)
    return torch.corrcoef(prototypes)


@given(
    k=st.integers(2, 6),
    seed=st.integers(0, 2**16),
    mean=st.floats(1, 5),
    ratio=st.floats(1, 10),
    epsilon=st.sampled_from([1e-3, 1e-2, 0.1]),
)
@quick
def test_weights_of_classes_are_symmetric_bounded_and_of_the_mean_asked_for(
    k, seed, mean, ratio, epsilon
):
    correlation, largest = correlation_of(k, seed), mean * ratio
    weights = class_weights(correlation, mean=mean, largest=largest, epsilon=epsilon)
    apart = ~torch.eye(k, dtype=torch.bool)
    assert torch.equal(weights.diagonal(), torch.ones(k, dtype=torch.float64))
    torch.testing.assert_close(weights, weights.T)
    assert weights.min() >= 1
    assert weights.max() <= largest
    assert weights[apart].mean().item() == pytest.approx(mean, rel=1e-9)
    order = correlation[apart].argsort()
    assert (weights[apart][order].diff() <= 1e-9).all()  # the more alike, the smaller


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0])
def test_weights_that_are_not_cut_are_in_proportion_to_their_formula(epsilon):
    correlation = torch.tensor([[1.0, 0.3, -0.2], [0.3, 1, 0], [-0.2, 0, 1]], dtype=torch.float64)
    weights = class_weights(correlation, mean=3.0, largest=1e4, epsilon=epsilon)
    apart = ~torch.eye(3, dtype=torch.bool)
    c = (weights * ((1 + correlation) / 2 + epsilon))[apart]
    torch.testing.assert_close(c, c[:1].expand(6))


def test_a_mean_of_one_is_the_plain_loss_and_the_largest_leaves_no_choice():
    correlation = correlation_of(4, seed=0)
    plain = class_weights(correlation, mean=1.0, largest=10.0, epsilon=0.01)
    assert torch.equal(plain, torch.ones(4, 4, dtype=torch.float64))
    full = class_weights(correlation, mean=10.3, largest=10.3, epsilon=0.01)
    assert full[0, 1:].tolist() == pytest.approx([10.3] * 3)
    only = class_weights(correlation, mean=1.0, largest=1.0, epsilon=0.01)
    assert torch.equal(only, torch.ones(4, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("k", "settings"), [(1, {}), (3, {"mean": 0.5}), (3, {"mean": 20.0, "largest": 10.0})]
)
def test_weights_that_cannot_be_are_refused(k, settings):
    with pytest.raises(ValueError, match="must hold"):
        class_weights(torch.eye(k), **{"mean": 2.0, "largest": 10.0, "epsilon": 0.1, **settings})


def samples(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def task(kind: str, y: np.ndarray, *, x: np.ndarray | None = None, name: str = "") -> Task:
    x = samples(len(y), 2, 8) * 3 + 1 if x is None else x
    return task_of(x, y, kind, content=f"{kind}/{name}", channels=(2, 1))


class Lazy:
    """Rows that are made when they are asked for, and remember how many at once."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read = rows, []
        self.shape, self.dtype = rows.shape, rows.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.read.append(len(indices))
        return self.rows[indices]


@pytest.mark.parametrize("shape", [(9, 2), (9, 2, 8), (9, 3, 4, 5)])
def test_units_are_numpys_by_channel_and_broadcast_to_a_sample(shape):
    rows = 10 + 3 * samples(*shape)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    units = channel_units(rows)
    assert units.mean.shape == (shape[1], *[1] * (len(shape) - 2))
    np.testing.assert_allclose(units.mean.flatten(), rows.astype(float).mean(axes), rtol=1e-12)
    np.testing.assert_allclose(units.std.flatten(), rows.astype(float).std(axes), rtol=1e-9)


def test_a_channel_that_never_varies_has_spread_zero_however_large_it_is():
    rows = np.stack([np.full((7, 8), 1234.567, np.float32), samples(7, 8)], axis=1)
    assert channel_units(rows).std.flatten()[0] == 0
    assert channel_units(rows).std.flatten()[1] > 0


def test_rows_are_read_in_chunks_that_do_not_change_the_result(monkeypatch):
    rows, labels = samples(10, 2, 8), np.arange(10) % 3
    whole = (*channel_units(rows), class_means(rows, labels))
    monkeypatch.setattr(contrastive, "CHUNK", 3 * 16)
    lazy = Lazy(rows)
    parts = (*channel_units(lazy), class_means(lazy, labels))
    assert set(lazy.read) == {3, 1}
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_correlations_are_numpys_and_zero_with_a_constant():
    rows = samples(4, 20).astype(np.float64)
    ours = correlations(torch.from_numpy(rows))
    np.testing.assert_allclose(ours, np.corrcoef(rows), atol=1e-12)
    rows[1] = 0.1
    ours = correlations(torch.from_numpy(rows))
    assert ours[1].tolist() == [0, 0, 0, 0]
    assert ours[0, 2].item() == pytest.approx(np.corrcoef(rows[[0, 2]])[0, 1])


def test_a_classification_task_compares_its_inputs_and_others_their_outputs():
    labels = np.arange(12) % 3
    x = samples(12, 2, 8)
    fields = samples(12, 1, 8, seed=1)
    sets = (samples(12, 5, seed=2) > 0).astype(np.float32)
    for kind, y in (("classification", labels), ("dense", fields), ("multilabel", sets)):
        made = task(kind, y, x=x)
        of = target_labels(made, 3)
        rows = (x if kind == "classification" else y).astype(float)
        axes = tuple(axis for axis in range(rows.ndim) if axis != 1)
        spread = rows.std(axes, keepdims=True)
        standard = (rows - rows.mean(axes, keepdims=True)) / spread
        means = np.stack([standard[of == k].mean(0).ravel() for k in range(of.max() + 1)])
        np.testing.assert_allclose(class_correlations(made, 3), np.corrcoef(means), atol=1e-6)


def test_data_are_read_once_a_process_and_anew_for_other_data(monkeypatch):
    made = task("dense", samples(10, 1, 8), name="memo")
    first, units = class_correlations(made, 2), input_units(made)

    def refuse(*arguments):
        raise AssertionError("the data were read")

    monkeypatch.setattr(contrastive, "chunks_of", refuse)
    assert class_correlations(made, 2) is first
    assert input_units(made) is units
    others = [replace(made, content_hash="other"), task("dense", samples(9, 1, 8), name="memo")]
    for other in others:
        with pytest.raises(AssertionError, match="data were read"):
            class_correlations(other, 2)
        with pytest.raises(AssertionError, match="data were read"):
            input_units(other)
    with pytest.raises(AssertionError, match="data were read"):
        class_correlations(made, 3)
