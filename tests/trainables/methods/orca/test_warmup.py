"""The warm-up of embedder and predictor: plain training in front of a body that stays as it is."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.support.stage_runs import changed, check_resumption, weights
from trainables.errors import NonFiniteLoss
from trainables.methods.orca.alignment import Warmup
from trainables.methods.orca.config import WarmupConfig
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.tasks.store.split import Split
from trainables.training.losses import LOSSES


def stage(**settings) -> Warmup:
    small = {"epochs": 2, "batch_size": 4}
    return Warmup("warmup", WarmupConfig.model_validate({**small, **settings}))


def train(state, domains, **settings):
    return list(stage(**settings).run(state, domains))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_embedder_and_predictor_move_and_the_body_has_not_even_a_gradient(
    make_state, domains, optimizer
):
    state = make_state()
    before, seen = weights(state), []
    state.model.body.register_forward_hook(
        lambda body, *_: seen.append([p.requires_grad for p in body.parameters()])
    )
    train(state, domains, optimizer=optimizer, weight_decay=0.1)
    assert changed(before, weights(state)) == {"embedder", "predictor"}
    assert seen
    assert not any(required for passes in seen for required in passes)
    assert all(p.grad is None for p in state.model.parameters())


def test_it_is_plain_training_at_a_constant_rate(make_state, domains):
    state, reference = make_state(), make_state()
    reports = train(state, domains, batch_size=10, lr=1e-2, weight_decay=0.0)

    model, task = reference.model, domains.target
    moved = [*model.embedder.parameters(), *model.predictor.parameters()]
    optimizer = torch.optim.AdamW(moved, lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
    for report in reports:
        optimizer.zero_grad()
        loss = LOSSES[task.info.loss](model(x), y)
        loss.backward()
        optimizer.step()
        assert report.metrics["warmup/task_loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert report.metrics["warmup/lr"] == 1e-2
    for name, weight in weights(reference).items():
        torch.testing.assert_close(weights(state)[name], weight, rtol=1e-4, atol=1e-5)


def test_the_loss_falls_without_source_or_objective(make_state, task):
    reports = train(make_state(), Domains(target=task), epochs=8, lr=3e-3)
    assert [(r.stage, r.epoch, r.num_epochs) for r in reports] == [
        ("warmup", epoch, 8) for epoch in range(1, 9)
    ]
    assert {r.objective for r in reports} == {None}
    assert {name for r in reports for name in r.metrics} == {
        "warmup/task_loss",
        "warmup/grad_norm",
        "warmup/lr",
    }
    assert reports[-1].metrics["warmup/task_loss"] < 0.9 * reports[0].metrics["warmup/task_loss"]


def test_an_epoch_reads_each_sample_once_in_an_order_of_its_own(make_state, domains):
    state, seen = make_state(), []
    state.model.embedder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    train(state, domains)
    first, second = torch.cat(seen).split(len(domains.target.train))
    assert not torch.equal(first, second)
    everything = torch.from_numpy(domains.target.train.x).flatten(1)
    for epoch in (first, second):
        assert torch.equal(epoch.flatten(1).unique(dim=0), everything.unique(dim=0))


def test_the_cap_bounds_a_step(make_state, domains):
    state = make_state()
    before = weights(state)
    settings = {"optimizer": "sgd", "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}
    (report,) = train(state, domains, epochs=1, batch_size=10, clip_norm=1e-2, **settings)
    after = weights(state)
    moves = torch.cat([(after[name] - w).flatten() for name, w in before.items()])
    assert moves.norm().item() == pytest.approx(0.5 * 1e-2, rel=1e-2)
    assert report.metrics["warmup/grad_norm"] > 1e-2


def test_no_epochs_touch_nothing(make_state, domains):
    state = make_state()
    before, rng = weights(state), torch.get_rng_state()
    assert train(state, domains, epochs=0) == []
    assert changed(before, weights(state)) == set()
    assert torch.equal(torch.get_rng_state(), rng)
    assert state.optimizer is None
    assert all(p.requires_grad for p in state.model.parameters())


def test_fine_tuning_that_follows_trains_the_body_again(make_state, domains):
    state = make_state()
    train(state, domains)
    before = weights(state)
    state.begin_stage(1)
    list(FineTuning("refine", RefineConfig(epochs=1, warmup_epochs=0.0)).run(state, domains))
    assert changed(before, weights(state)) == {"embedder", "body", "predictor"}


def test_half_precision_trains_close_to_single(make_state, domains):
    single, half = make_state(), make_state(precision="bf16")
    a, b = train(single, domains), train(half, domains)
    assert a != b
    loss = "warmup/task_loss"
    assert b[-1].metrics[loss] == pytest.approx(a[-1].metrics[loss], rel=0.05)
    assert {w.dtype for w in half.model.state_dict().values()} == {torch.float32}


def test_a_loss_that_is_not_finite_ends_the_stage_and_names_the_settings(make_state, domains):
    train_split = Split(x=domains.target.train.x, y=np.full_like(domains.target.train.y, np.nan))
    broken = replace(domains, target=replace(domains.target, train=train_split))
    state = make_state()
    with pytest.raises(NonFiniteLoss, match=r"task_loss .* epoch 1.*warmup\.lr.*warmup\.clip_norm"):
        train(state, broken)
    assert state.epoch == 0


@pytest.mark.parametrize("stop", [1, 2])
def test_interrupted_equals_uninterrupted_bit_for_bit(make_state, domains, tmp_path, stop):
    check_resumption(partial(stage, epochs=3), make_state, domains, stop=stop, folder=tmp_path)
