"""RECRAFT's matching: what it moves, along which gradient, and where it is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.stage_runs import changed, of_stage, trained_on, weights
from trainables.errors import ConfigError
from trainables.methods.orca.method import ORCA
from trainables.methods.recraft.config import MatchConfig
from trainables.methods.recraft.distortion import distortion
from trainables.methods.recraft.method import RECRAFT
from trainables.methods.registry import can_halve
from trainables.tasks.registry import TASKS
from trainables.training.pseudo_labels import target_labels

PLAIN_STEP = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
every_form = pytest.mark.parametrize("form", ["conditional", "information", "entropy"])
stage, train = of_stage(MatchConfig, "match", epochs=2, clusters=2, measure=0, head_epochs=5)


@every_form
def test_its_own_loss_falls_and_nothing_but_the_embedder_moves(make_state, domains, form):
    state = make_state()
    before = weights(state)
    reports = train(state, domains, form=form, epochs=8, lr=1e-2)
    losses = [report.metrics["match/match_loss"] for report in reports]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    assert changed(before, weights(state)) == {"embedder"}
    assert all(p.grad is None for p in state.model.parameters())
    assert not state.extras


@every_form
def test_a_step_is_along_the_gradient_of_the_distortion_of_its_batch(make_state, domains, form):
    state, task = make_state(), domains.target
    model, before = state.model, weights(state)
    settings = {**PLAIN_STEP, "form": form, "epochs": 1, "lr": 5.0, "max_samples": 10}
    objective = stage(**settings).objective(state, domains)
    labels = torch.from_numpy(target_labels(task, 2))
    head = objective.predictor.head
    ((batch,),) = objective.steps(0)
    logits = head(model.encode(model.embed(torch.from_numpy(task.train.x[batch.indices]))))
    shares = torch.bincount(labels) / len(labels)
    loss = distortion(logits.softmax(1), labels[batch.indices], shares).loss(form)
    loss.backward()
    expected = {n: -5.0 * p.grad for n, p in model.embedder.named_parameters()}
    model.zero_grad(set_to_none=True)

    (report,) = train(state, domains, **settings)

    assert report.metrics["match/match_loss"] == pytest.approx(loss.item(), rel=1e-4)
    after = weights(state)
    for name, step in expected.items():
        taken = after[f"embedder.{name}"] - before[f"embedder.{name}"]
        assert (taken - step).norm() <= 1e-3 * step.norm(), name


def test_every_epoch_reports_the_entropies_in_their_order_and_the_source_head(make_state, domains):
    for report in train(make_state(), domains):
        found = {name.partition("/")[2]: value for name, value in report.metrics.items()}
        assert found["match_loss"] == found["conditional_entropy"]
        assert found["entropy"] <= found["conditional_entropy"] <= found["marginal_entropy"]
        assert found.keys() >= {"source_loss", "source_error", "source_grad_norm"}


def test_a_proxy_with_one_label_is_an_error(make_state, domains):
    source = replace(domains.source, labels=torch.zeros(12, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"one label.*proxies.*match\.epochs"):
        stage().check(make_state().model, replace(domains, source=source))


def test_one_target_class_is_an_error_of_information_alone(make_state, domains):
    alone, state = trained_on(domains, y=np.ones_like(domains.target.train.y)), make_state()
    with pytest.raises(ConfigError, match=r"one class.*data\.samples.*match\.form"):
        stage(form="information").check(state.model, alone)
    stage().check(state.model, alone)
    assert len(train(state, alone)) == 2


def test_a_step_is_never_cut_into_parts():
    """The entropy of a mean is no mean of entropies."""
    assert not can_halve("recraft", "match", {})
    assert can_halve("recraft", "refine", {})


def test_the_first_trial_aligns_as_orca_does_and_matches_at_the_printed_rate():
    info = TASKS["nasbench360/ecg"]
    ours, orca = RECRAFT.published(info), ORCA.published(info)
    aligned = {key: value for key, value in ours.items() if key.startswith("align.")}
    assert aligned == {key: value for key, value in orca.items() if key.startswith("align.")}
    assert (ours["match.optimizer"], ours["match.lr"]) == ("sgd", pytest.approx(1e-6))
    assert not any(key.startswith("warmup.") for key in ours)
