"""The warm-up of embedder and predictor: plain training in front of a body that stays as it is."""

import pytest
import torch

from tests.support.stage_runs import changed, of_stage, weights
from trainables.methods.orca.config import WarmupConfig
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.training.losses import LOSSES

_, train = of_stage(WarmupConfig, "warmup", epochs=2, batch_size=4)


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
    assert reports[-1].metrics["warmup/task_loss"] < 0.9 * reports[0].metrics["warmup/task_loss"]


def test_fine_tuning_that_follows_trains_the_body_again(make_state, domains):
    state = make_state()
    train(state, domains)
    before = weights(state)
    state.begin_stage(1)
    list(FineTuning("refine", RefineConfig(epochs=1, warmup_epochs=0.0)).run(state, domains))
    assert changed(before, weights(state)) == {"embedder", "body", "predictor"}
