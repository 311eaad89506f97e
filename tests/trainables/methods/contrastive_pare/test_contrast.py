"""The contrastive stage: what it moves, which views it draws, and that it tells classes apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.support.stage_runs import changed, classified, of_stage, weights
from trainables.errors import ConfigError
from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.contrastive_pare.contrast import ContrastObjective
from trainables.methods.contrastive_pare.contrastive import (
    class_correlations,
    class_weights,
    contrastive_loss,
    input_units,
)
from trainables.methods.contrastive_pare.noise import Units
from trainables.methods.orca.alignment import Warmup
from trainables.methods.orca.config import WarmupConfig
from trainables.training.pseudo_labels import target_labels

FORMS = ["exp", "affine", "supcon_out", "align_uniform"]
SPACES = ["input", "tokens"]
SMALL = {"epochs": 2, "classes": 2, "per_class": 2, "clusters": 3, "measure": 0}
every_space = pytest.mark.parametrize("space", SPACES)
stage, train = of_stage(ContrastConfig, "contrast", **SMALL)


@pytest.fixture
def make_objective(make_state, domains):
    def make(state=None, data=None, **settings) -> ContrastObjective:
        config = stage(**settings).config
        return ContrastObjective(state or make_state(), data or domains, config)

    return make


def refuse(*arguments):
    raise AssertionError("it was run")


@every_space
@pytest.mark.parametrize("form", FORMS)
def test_training_lowers_the_loss_and_draws_classes_together(make_state, domains, form, space):
    x = np.random.default_rng(0).standard_normal((10, 1, 16)).astype(np.float32)
    x[:, :, :8] += 2 * (np.arange(10) % 2)[:, None, None]
    data, state = classified(domains, np.arange(10) % 2, x=x), make_state()
    for part in (state.model.body, state.model.predictor):
        part.register_forward_hook(refuse)
    first, *_, last = train(
        state, data, epochs=12, per_class=5, lr=1e-2, form=form, noise_space=space
    )
    gap = [r.metrics["contrast/intra_cos"] - r.metrics["contrast/inter_cos"] for r in (first, last)]
    assert last.metrics["contrast/contrast_loss"] < first.metrics["contrast/contrast_loss"]
    assert gap[1] > gap[0]


def test_a_step_follows_the_gradient_of_the_loss_of_its_views(make_state, domains):
    """Against the stage written out: one step of SGD on one batch."""
    state, reference = make_state(), make_state()
    settings = {"classes": 3, "per_class": 4, "temperature": 0.3, "lambda_mean": 2.0}
    chosen = ContrastObjective(reference, domains, stage(**settings).config)
    ((batch,),) = chosen.steps(0)
    samples, numbers = np.divmod(batch.indices, 12)
    units = Units(*(u.float() for u in input_units(domains.target)))
    x = torch.from_numpy(domains.target.train.x[samples])
    noisy = chosen.views.perturb(x, units, samples.tolist(), numbers.tolist(), seed=0)
    labels = torch.from_numpy(target_labels(domains.target, 3)[samples])
    table = class_weights(
        class_correlations(domains.target, 3), mean=2.0, largest=10.0, epsilon=0.01
    )
    features = reference.model.embed(noisy).mean(1)
    pairs = table[labels[:, None], labels].float()
    loss = contrastive_loss(features, labels, pairs, temperature=0.3)
    gradients = torch.autograd.grad(loss, list(reference.model.embedder.parameters()))

    before = weights(state)
    (report,) = train(
        state,
        domains,
        **settings,
        epochs=1,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        clip_norm=None,
        lr=0.1,
    )
    names = [f"embedder.{name}" for name, _ in state.model.embedder.named_parameters()]
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(
            weights(state)[name], before[name] - 0.1 * gradient, rtol=1e-4, atol=1e-6
        )
    assert report.metrics["contrast/contrast_loss"] == pytest.approx(loss.item(), rel=1e-5)
    norm = torch.cat([g.flatten() for g in gradients]).norm().item()
    assert report.metrics["contrast/grad_norm"] == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize(("classes", "per_class"), [(2, 2), (9, 2)])
def test_its_warm_up_is_orcas_in_as_many_steps_as_the_contrast_has(
    make_state, make_objective, domains, classes, per_class
):
    size = min(classes, 3) * per_class
    drawn = {"classes": classes, "per_class": per_class}
    settings = {"lr": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5, "epochs": 2}
    ours, theirs = make_state(), make_state()
    warmup = WarmupConfig(batch_size=size, **settings)
    expected = list(Warmup("warmup", warmup).run(theirs, domains))
    found = train(ours, domains, form="task", measure=8, **drawn, **settings)
    assert changed(weights(make_state()), weights(ours)) == {"embedder", "predictor"}
    assert changed(weights(ours), weights(theirs)) == set()
    losses = [report.metrics["contrast/task_loss"] for report in found]
    assert losses == [report.metrics["warmup/task_loss"] for report in expected]
    assert "contrast/otdd_exact" in found[0].metrics
    steps = len(list(stage(form="task", **drawn).objective(ours, domains).steps(0)))
    assert steps == len(list(make_objective(**drawn).steps(0)))


def test_a_warm_up_needs_no_classes(make_state, domains):
    alone = classified(domains, np.zeros(10, np.int64))
    stage(form="task").check(make_state().model, alone)


@pytest.mark.parametrize(("classes", "per_class", "steps"), [(2, 2, 3), (3, 3, 2), (9, 50, 1)])
def test_a_step_draws_different_views_of_different_classes(
    make_objective, domains, classes, per_class, steps
):
    objective = make_objective(classes=classes, per_class=per_class)
    of = target_labels(domains.target, 3)
    batches = [step[0].indices for step in objective.steps(0)]
    assert len(batches) == steps  # ceil(10 / (classes that there are * per_class))
    for indices in batches:
        assert len(set(indices)) == len(indices)
        labels, counts = np.unique(of[indices // 12], return_counts=True)
        assert len(labels) == min(classes, 3)
        views = np.array([12 * (of == y).sum() for y in labels])
        assert counts.tolist() == np.minimum(per_class, views).tolist()


def test_views_of_a_class_are_drawn_evenly(make_objective, domains):
    objective = make_objective(classes=2, per_class=4, num_scales=2, noise_steps=2)
    epochs = range(400)
    drawn = np.concatenate([s[0].indices for epoch in epochs for s in objective.steps(epoch)])
    of, counts = target_labels(domains.target, 3), np.bincount(drawn, minlength=40)
    for label in range(3):
        members = np.flatnonzero(of == label)
        own = counts.reshape(10, 4)[members].ravel()
        assert (abs(own - own.mean()) < 5 * np.sqrt(own.mean())).all()


def test_a_class_of_one_sample_has_pairs_of_views(make_state, domains):
    data = classified(domains, np.arange(10))
    stage().check(make_state().model, data)
    first, *_, last = train(make_state(), data, epochs=5, lr=1e-2)
    assert last.metrics["contrast/contrast_loss"] < first.metrics["contrast/contrast_loss"]
    assert first.metrics["contrast/intra_cos"] != 0


@every_space
def test_clean_samples_are_views_where_they_are_asked_for(make_objective, space):
    small = {"num_scales": 1, "noise_steps": 1, "noise_space": space}
    with_clean = make_objective(**small, include_clean=True)
    assert len(with_clean.views) == 2
    x = torch.from_numpy(with_clean.task.train.x)
    features, measured = with_clean.features(np.arange(10) * 2 + 1)
    assert torch.equal(features, with_clean.state.model.embed(x).mean(1))
    assert measured.item() == pytest.approx(1, abs=1e-6)
    features, measured = with_clean.features(np.arange(10) * 2)
    assert measured.item() == pytest.approx((1 - 0.2**2) ** 0.5, abs=0.03)
    assert not torch.allclose(features, with_clean.state.model.embed(x).mean(1), atol=1e-4)


def test_noise_on_tokens_is_in_their_own_units_and_gradients_pass_them_by(make_objective):
    objective = make_objective(noise_space="tokens", sigma_max=0.5, noise_steps=1)
    clean = objective.state.model.embed(torch.from_numpy(objective.task.train.x)).detach()
    (features, _), taken = objective.features(np.arange(10) * 3 + 2), objective.state.model
    gradients = torch.autograd.grad(features.square().sum(), list(taken.embedder.parameters()))
    noise = objective.views.noise(range(10), [2] * 10, clean.shape[1:], seed=0)
    mean, std = clean.mean((0, 1)), clean.std((0, 1), correction=0)
    kept = (1 - 0.5**2) ** 0.5
    tokens = taken.embed(torch.from_numpy(objective.task.train.x))
    expected = (kept * tokens + (1 - kept) * mean + std * noise).mean(1)
    torch.testing.assert_close(features, expected)
    theirs = torch.autograd.grad(expected.square().sum(), list(taken.embedder.parameters()))
    for ours, other in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(ours, other)


def test_source_samples_join_as_classes_of_their_own(make_objective, domains, monkeypatch):
    seen = []

    def loss(features, labels, weights, **settings):
        seen.append((features, labels, weights))
        return contrastive_loss(features, labels, weights, **settings)

    monkeypatch.setattr("trainables.methods.contrastive_pare.contrast.contrastive_loss", loss)
    source = replace(domains.source, embed=refuse)  # the features suffice
    objective = make_objective(
        data=replace(domains, source=source), include_source=True, lambda_mean=2.0, per_class=3
    )
    (batch,) = next(objective.steps(0))
    objective.losses(batch)
    ((features, labels, weights),) = seen
    theirs = labels >= 3  # the target has 3 classes
    assert theirs.sum() == 2 * 3
    assert len(labels[theirs].unique()) == 2
    for feature, label in zip(features[theirs], labels[theirs], strict=True):
        (index,) = (source.features == feature).all(1).nonzero()
        assert source.labels[index] == label - 3
    other = labels[:, None] != labels
    crossing = (theirs[:, None] | theirs) & other
    assert (weights[crossing] == 2).all()
    assert (weights[~other] == 1).all()


def test_a_source_class_without_a_sample_is_passed_over(make_state, domains):
    gap = replace(domains.source, labels=domains.source.labels * 2, num_classes=5)
    reports = train(make_state(), replace(domains, source=gap), include_source=True, classes=8)
    assert len(reports) == 2


def test_weights_follow_the_correlation_of_classes_or_are_all_the_mean(make_objective, domains):
    """A default mean of 1 would make every weight 1, which is the floor."""
    correlation = class_correlations(domains.target, 3)
    expected = class_weights(correlation, mean=2.0, largest=10.0, epsilon=0.01)
    torch.testing.assert_close(make_objective().weights, expected.float())
    apart = expected[~torch.eye(3, dtype=torch.bool)]
    assert apart.max() > 1.2 * apart.min() > 1.2
    plain = make_objective(lambda_mean=2.0, label_correlation="none").weights
    assert torch.equal(plain, torch.full((3, 3), 2.0).fill_diagonal_(1))
    neutral = [
        make_objective(lambda_mean=1.0, label_correlation=c).weights for c in ("none", "prototype")
    ]
    assert torch.equal(*neutral)


def test_the_measured_correlation_is_that_of_the_noise(make_objective):
    one = {"num_scales": 1, "sigma_max": 0.6, "noise_steps": 1, "classes": 3, "per_class": 10}
    objective, values = make_objective(**one), []
    for seed in range(10):
        objective.state.seed = seed
        values += [objective.losses(step[0])[1]["noise_corr"] for step in objective.steps(0)]
    assert torch.stack(values).mean().item() == pytest.approx((1 - 0.6**2) ** 0.5, abs=0.03)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (np.zeros(10, np.int64), {}, r"one class.*data\.samples.*contrast\.epochs"),
        (np.arange(3), {"num_scales": 1, "noise_steps": 1}, r"two views.*contrast\.noise_steps"),
        (None, {"include_source": True}, r"`proxies`.*contrast\.include_source"),
    ],
)
def test_what_cannot_be_contrasted_is_refused_with_a_way_out(
    make_state, domains, data, settings, message
):
    domains = replace(domains, source=None)
    domains = domains if data is None else classified(domains, data)
    with pytest.raises(ConfigError, match=message):
        stage(**settings).check(make_state().model, domains)


def test_what_can_be_contrasted_passes(make_state, domains):
    stage(include_source=True).check(make_state().model, domains)
    stage().check(make_state().model, replace(domains, source=None))
    once = {"num_scales": 1, "noise_steps": 1, "include_clean": True}
    stage(**once).check(make_state().model, classified(domains, np.arange(3)))


@pytest.mark.parametrize(
    "settings",
    [
        {"sigma_max": 1.0},
        {"sigma_min": 0.3, "sigma_max": 0.2},
        {"noise_steps": 0},
        {"sigma_max": 0.5, "noise_steps": 8},  # a correlation of 0.32 is left
        {"lambda_mean": 20.0},
        {"lambda_mean": 0.5},
        {"per_class": 1},
        {"classes": 1},
    ],
)
def test_settings_that_leave_no_signal_or_no_pair_are_refused(settings):
    with pytest.raises(ValidationError):
        stage(**settings)
