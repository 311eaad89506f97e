"""ORCA's alignment: what it moves, along which gradient, on which samples, and where it stops."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from tests.support.stage_runs import changed, classified, of_stage, trained_on, weights
from trainables.distances.otdd import otdd, prepare
from trainables.distances.registry import OWN
from trainables.errors import ConfigError
from trainables.methods.orca.alignment import Warmup, balanced_batch
from trainables.methods.orca.config import AlignConfig, WarmupConfig
from trainables.seeding import generator
from trainables.sources.source import Domains
from trainables.training.losses import LOSSES
from trainables.training.pseudo_labels import target_labels

PLAIN_STEP = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": None}
DISTANCES = [
    *({"distance": name} for name in OWN),
    {"distance": "otdd_exact", "solver": "sinkhorn", "entreg": 50.0},
    {"distance": "euclidean", "euclidean": "pairs"},
]
every_distance = pytest.mark.parametrize("distance", DISTANCES, ids=str)
every_class_mode = pytest.mark.parametrize("class_mode", ["per_class", "joint"])
every_update_mode = pytest.mark.parametrize("update_mode", ["epoch", "minibatch"])
stage, train = of_stage(AlignConfig, "align", epochs=2, clusters=2, measure=0)


@pytest.fixture
def domains(task, source) -> Domains:
    """Four and six samples of noise: the mean token of a whole wave hardly depends on the
    projection, by symmetry."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], [4, 6])[:, None, None]
    x = rng.normal(size=task.train.x.shape) + 0.5 * group
    y = rng.normal(size=task.train.y.shape) + 5.0 * group
    given = Domains(target=task, source=source)
    return trained_on(given, x=x.astype(np.float32), y=y.astype(np.float32))


def batches_of(state, domains, **settings) -> list[list[int]]:
    """Return which training samples each batch of a stage was of."""
    samples = {x.tobytes(): index for index, x in enumerate(domains.target.train.x)}
    seen = []
    handle = state.model.embedder.register_forward_pre_hook(
        lambda _, inputs: seen.append([samples[x.numpy().tobytes()] for x in inputs[0]])
    )
    train(state, domains, **settings)
    handle.remove()
    return seen


@pytest.mark.slow
@every_distance
@every_class_mode
@every_update_mode
def test_its_own_distance_falls_and_nothing_but_the_embedder_moves(
    make_state, domains, distance, class_mode, update_mode
):
    state = make_state()
    before = weights(state)
    reports = train(
        state,
        domains,
        **distance,
        class_mode=class_mode,
        update_mode=update_mode,
        epochs=12,
        lr=1e-2,
        clip_norm=None,
    )
    losses = [report.metrics["align/align_loss"] for report in reports]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert changed(before, weights(state)) == {"embedder"}
    assert all(p.grad is None for p in state.model.parameters())


def test_per_class_steps_along_the_sum_of_distances_weighted_by_the_shares_of_classes(
    make_state, domains
):
    state, task = make_state(), domains.target
    model, before = state.model, weights(state)
    labels = torch.from_numpy(target_labels(task, 2))
    statistics = prepare(domains.source.features, domains.source.labels, method="exact")
    features = model.embed(torch.from_numpy(task.train.x)).mean(1)
    loss = torch.stack(
        [
            otdd(statistics, features[labels == y], labels[labels == y]).value
            * (labels == y).float().mean()
            for y in labels.unique()
        ]
    ).sum()
    loss.backward()
    expected = {n: -0.1 * p.grad for n, p in model.embedder.named_parameters()}
    model.zero_grad(set_to_none=True)

    (report,) = train(state, domains, **PLAIN_STEP, epochs=1, lr=0.1)

    assert report.metrics["align/align_loss"] == pytest.approx(loss.item(), rel=1e-4)
    after = weights(state)
    for name, step in expected.items():
        taken = after[f"embedder.{name}"] - before[f"embedder.{name}"]
        assert (taken - step).norm() < 1e-3 * step.norm(), name


def test_joint_steps_along_one_distance_plus_the_task_loss(make_state, domains):
    state, task = make_state(), domains.target
    model, before = state.model, weights(state)
    x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
    statistics = prepare(domains.source.features, domains.source.labels, method="gaussian")
    distance = otdd(
        statistics, model.embed(x).mean(1), torch.from_numpy(target_labels(task, 2))
    ).value
    task_loss = LOSSES[task.info.loss](model(x), y)
    (0.5 * distance + 2.0 * task_loss).backward()
    trained = {n: p for n, p in model.named_parameters() if not n.startswith("body")}
    expected = {n: -0.1 * p.grad for n, p in trained.items()}
    model.zero_grad(set_to_none=True)

    (report,) = train(
        state,
        domains,
        **PLAIN_STEP,
        distance="otdd_gaussian",
        class_mode="joint",
        align_weight=0.5,
        task_weight=2.0,
        epochs=1,
        lr=0.1,
    )

    assert report.metrics["align/align_loss"] == pytest.approx(distance.item(), rel=1e-4)
    assert report.metrics["align/task_loss"] == pytest.approx(task_loss.item(), rel=1e-4)
    after = weights(state)
    assert changed(before, after) == {"embedder", "predictor"}
    for name, step in expected.items():
        assert (after[name] - before[name] - step).norm() < 1e-3 * step.norm(), name


@every_update_mode
def test_a_step_follows_each_epoch_or_each_distance(make_state, domains, update_mode):
    state = make_state()
    train(state, domains, update_mode=update_mode)
    steps = {int(s["step"]) for s in state.optimizer.state.values()}
    assert steps == {2 if update_mode == "epoch" else 2 * 2}


def test_per_class_batches_are_of_one_class_each_in_an_order_of_their_own(make_state, domains):
    labels = target_labels(domains.target, 2)
    batches = batches_of(make_state(), domains, epochs=6, max_samples=2)
    of_class = [labels[batch].tolist() for batch in batches]
    assert all(len(set(batch)) == 1 for batch in of_class)
    assert all(len(set(batch)) == len(batch) == 2 for batch in batches)
    orders = {tuple(batch[0] for batch in of_class[i : i + 2]) for i in range(0, 12, 2)}
    assert all(sorted(order) == [0, 1] for order in orders)
    assert len(orders) == 2


def test_a_class_weighs_by_its_share_however_few_of_it_are_drawn(make_state, domains):
    labels = target_labels(domains.target, 2)
    (batches,) = stage(max_samples=2).objective(make_state(), domains).steps(0)
    for batch in batches:
        (of_class,) = set(labels[batch.indices].tolist())
        assert batch.weight == (labels == of_class).mean()
    assert sum(batch.weight for batch in batches) == pytest.approx(1)


def test_without_a_limit_that_binds_each_class_is_read_whole(make_state, domains):
    batches = batches_of(make_state(), domains, epochs=1)
    assert sorted(chain(*batches)) == list(range(10))


@pytest.mark.parametrize(("update_mode", "expected"), [("epoch", 1), ("minibatch", 3)])
def test_joint_batches_are_even_over_classes_and_as_many_as_make_a_pass(
    make_state, domains, update_mode, expected
):
    domains = classified(domains, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    batches = batches_of(
        make_state(), domains, class_mode="joint", update_mode=update_mode, max_samples=4, epochs=1
    )
    assert len(batches) == expected
    for batch in batches:
        assert sorted(np.bincount(domains.target.train.y[batch], minlength=3)) == [0, 2, 2]


@pytest.mark.parametrize("size", range(2, 12))
def test_a_balanced_batch_leaves_no_sample_alone_in_its_class(size):
    classes = [np.arange(0, 2), np.arange(2, 5), np.arange(5, 30)]
    drawn = balanced_batch(classes, size, generator(0, "test"))
    counts = [int(np.isin(drawn, members).sum()) for members in classes]
    available = sum(len(m) for m, count in zip(classes, counts, strict=True) if count)
    assert len(set(drawn.tolist())) == len(drawn) == min(size, available)
    assert sum(count > 0 for count in counts) == min(3, size // 2)
    assert all(count != 1 for count in counts)
    if size in (2, 4, 6):
        assert set(counts) <= {0, 2}


def test_a_class_of_one_sample_is_left_out_and_counted(make_state, domains):
    domains = classified(domains, [0, 0, 0, 0, 1, 2, 2, 2, 2, 2])
    state = make_state()
    batches = batches_of(state, domains, epochs=1)
    assert sorted(map(len, batches)) == [4, 5]
    assert 4 not in chain(*batches)
    (report,) = train(make_state(), domains, epochs=1)
    assert report.metrics["align/skipped_classes"] == 1


@every_distance
@every_class_mode
def test_one_class_is_aligned_as_a_whole(make_state, domains, distance, class_mode):
    domains = classified(domains, [0] * 10)
    state = make_state()
    stage(**distance).check(state.model, domains)
    batches = batches_of(state, domains, **distance, class_mode=class_mode, epochs=1)
    assert [sorted(batch) for batch in batches] == [list(range(10))]


def test_outputs_that_are_all_equal_are_one_class_whatever_the_clusters(make_state, domains):
    constant = trained_on(domains, y=np.ones_like(domains.target.train.y))
    known = classified(domains, [0] * 10)
    settings = {"clusters": 7, "class_mode": "joint", "max_samples": 6}
    stage(**settings).check(make_state().model, constant)
    assert train(make_state(), constant, **settings) == train(make_state(), known, **settings)


def test_the_rate_falls_after_the_epochs_that_are_named(make_state, domains):
    """Of the official thresholds too: epochs 0 to 20 whole, to 40 a fifth, and so on."""
    reports = train(make_state(), domains, epochs=5, lr=1e-2, lr_steps=(1, 3), lr_factor=0.1)
    rates = [report.metrics["align/lr"] for report in reports]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4])
    official = stage(epochs=70, lr=1.0)
    factors = [official.rate(epoch) for epoch in (0, 20, 21, 40, 41, 60, 61)]
    assert factors == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04, 0.008])


@pytest.mark.parametrize("class_mode", ["joint", "per_class"])
def test_without_a_distance_it_is_the_warm_up_bit_for_bit(make_state, domains, class_mode):
    aligned, warmed = make_state(), make_state()
    shared = {"epochs": 3, "lr": 1e-2, "clip_norm": 0.5, "weight_decay": 0.1}
    ours = train(
        aligned,
        domains,
        **shared,
        class_mode=class_mode,
        update_mode="minibatch",
        align_weight=0.0,
        task_weight=1.0,
        max_samples=4,
        lr_steps=(),
    )
    theirs = list(Warmup("align", WarmupConfig(**shared, batch_size=4)).run(warmed, domains))
    assert ours == theirs
    assert changed(weights(aligned), weights(warmed)) == set()


def test_no_distance_and_no_weight_are_the_same(make_state, domains):
    one, other = make_state(), make_state()
    shared = {"task_weight": 1.0, "max_samples": 4}
    assert train(one, domains, distance="none", **shared) == train(
        other, domains, align_weight=0.0, **shared
    )
    assert changed(weights(one), weights(other)) == set()


def test_training_samples_that_share_no_class_are_an_error(make_state, domains):
    alone = classified(domains, list(range(10)))
    with pytest.raises(ConfigError, match=r"class of its own.*align\.epochs"):
        stage().check(make_state().model, alone)
    stage().check(make_state().model, classified(domains, [0, *range(9)]))  # one pair will do


def test_source_samples_that_share_no_class_are_an_error_of_otdd_alone(make_state, domains):
    alone = replace(domains, source=replace(domains.source, labels=torch.arange(12)))
    state = make_state()
    with pytest.raises(ConfigError, match=r"no class of the proxy.*align\.distance"):
        stage().check(state.model, alone)
    stage(distance="mmd").check(state.model, alone)
    assert len(train(state, alone, distance="mmd")) == 2


def test_convergence_is_reported_of_transport_alone(make_state, domains):
    (otdd_report,) = train(make_state(), domains, epochs=1)
    (mmd_report,) = train(make_state(), domains, epochs=1, distance="mmd")
    assert set(otdd_report.metrics) - set(mmd_report.metrics) == {"align/converged"}
    assert otdd_report.metrics["align/converged"] == 1.0
