"""RECRAFT's joint alignment: distance and distortion in one stage, along the weighted gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.support.stage_runs import changed, of_stage, trained_on, weights
from trainables.errors import ConfigError
from trainables.methods.orca.alignment import Alignment, AlignmentObjective
from trainables.methods.orca.config import AlignConfig
from trainables.methods.recraft.config import JointConfig
from trainables.methods.recraft.distortion import distortion
from trainables.methods.recraft.joint import JointObjective
from trainables.methods.recraft.method import RECRAFT
from trainables.methods.recraft.source_predictor import SourcePredictor
from trainables.tasks.registry import TASKS
from trainables.training.pseudo_labels import target_labels

SMALL = {"epochs": 2, "clusters": 2, "measure": 0}
every_mode = pytest.mark.parametrize(
    "modes",
    [
        {"class_mode": "per_class", "update_mode": "epoch"},
        {"class_mode": "per_class", "update_mode": "minibatch"},
        {"class_mode": "joint", "update_mode": "epoch"},
    ],
    ids=lambda modes: "-".join(modes.values()),
)
stage, train = of_stage(JointConfig, "align", **SMALL, head_epochs=5)


def gradient(objective: AlignmentObjective, loss: Tensor) -> Tensor:
    parameters = [*objective.state.model.embedder.parameters()]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


@every_mode
def test_with_weight_0_it_is_orcas_alignment_bit_for_bit(make_state, domains, modes):
    ours, theirs = make_state(), make_state()
    orca = Alignment("align", AlignConfig.model_validate({**SMALL, **modes}))
    assert train(ours, domains, joint=0.0, **modes) == list(orca.run(theirs, domains))
    assert changed(weights(make_state()), weights(ours)) == {"embedder"}
    assert changed(weights(ours), weights(theirs)) == set()


@every_mode
@pytest.mark.parametrize("form", ["conditional", "entropy"])
def test_a_gradient_is_the_weighted_sum_of_both(make_state, domains, modes, form):
    state, task = make_state(), domains.target
    config = stage(joint=3.0, form=form, **modes).config
    labels = torch.from_numpy(target_labels(task, 2))
    shares = torch.bincount(labels) / len(labels)
    joint = JointObjective(state, domains, config, domains.source)
    alone = AlignmentObjective(state, domains, config, domains.source)
    head = SourcePredictor(state, domains.source, alone.labels, config).head
    for ours, theirs in zip(joint.steps(0), alone.steps(0), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            tokens = state.model.embed(torch.from_numpy(task.train.x[other.indices]))
            probabilities = head(state.model.encode(tokens)).softmax(1)
            term = distortion(probabilities, labels[other.indices], shares).loss(form)
            expected = gradient(alone, alone.losses(other)[0]) + 3 * gradient(alone, term)
            found = gradient(joint, joint.losses(one)[0])
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_batches_of_one_class_add_up_to_the_conditional_entropy_of_all_samples(make_state, domains):
    state, reference = make_state(), make_state()
    config = stage(joint=1.0).config
    labels = target_labels(domains.target, 2)
    predictor = SourcePredictor(reference, domains.source, labels, config)
    tokens = reference.model.embed(torch.from_numpy(domains.target.train.x))
    expected, _ = predictor.losses(tokens, np.arange(len(labels)))
    first, _ = train(state, domains, joint=1.0)
    assert first.metrics["align/match_loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert first.metrics.keys() >= {"align/align_loss", "align/source_error", "align/entropy"}


def test_a_large_weight_lowers_the_distortion_and_moves_the_embedder_alone(make_state, domains):
    state = make_state()
    before = weights(state)
    first, *_, last = train(state, domains, joint=1e3, epochs=12, lr=1e-2)
    assert last.metrics["align/match_loss"] < first.metrics["align/match_loss"]
    assert changed(before, weights(state)) == {"embedder"}
    assert all(p.grad is None for p in state.model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distance": "none"}, r"a distance\. `match` has the distortion alone"),
        ({"align_weight": 0.0}, r"align_weight above 0"),
        ({"form": "information"}, r"class_mode joint"),
    ],
)
def test_a_joint_stage_without_two_terms_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        stage(joint=1.0, **settings)
    stage(joint=0.0, **settings)
    stage(joint=1.0, form="information", class_mode="joint")


def test_labels_without_a_distortion_are_refused_with_a_way_out(make_state, domains):
    alike = replace(domains.source, labels=torch.zeros(12, dtype=torch.int64))
    data, model = replace(domains, source=alike), make_state().model
    with pytest.raises(ConfigError, match=r"one label.*align\.joint to 0"):
        stage(joint=1.0).check(model, data)
    stage(joint=0.0).check(model, data)
    stage(joint=1.0, epochs=0).check(model, data)
    of_one = trained_on(domains, y=np.ones_like(domains.target.train.y))
    with pytest.raises(ConfigError, match=r"one class.*align\.form to conditional"):
        stage(joint=1.0, form="information", class_mode="joint").check(model, of_one)


@pytest.mark.parametrize("task", ["nasbench360/ecg", "pdebench/darcy_2d"])
def test_the_preset_is_the_release_and_not_the_papers_figure(task):
    published = RECRAFT.published(TASKS[task])
    configs = RECRAFT.configs({})
    assert not {"align.joint", "match.epochs", "refine.freeze"} & published.keys()
    assert configs["align"].joint == 0
    assert configs["match"].epochs > 0
    assert configs["refine"].freeze == "none"
