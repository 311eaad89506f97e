"""Fine-tuning: schedule, accumulation, freezing, the best weights, and going on after a stop."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.support.stage_runs import changed, of_stage, weights
from trainables.errors import ConfigError
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.training.evaluation import evaluate
from trainables.training.landscape import landscape, validation_loss
from trainables.training.losses import LOSSES

SMALL = {"epochs": 2, "batch_size": 4, "warmup_epochs": 0.0, "lr": 1e-3}
_, train = of_stage(RefineConfig, "refine", **SMALL)


@pytest.fixture
def target(task) -> Domains:
    return Domains(target=task)


def test_it_is_plain_training_of_all_weights_at_the_rates_of_the_schedule(make_state, target):
    state, reference, task = make_state(), make_state(), target.target
    settings = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}
    reports = train(state, target, epochs=3, batch_size=10, optimizer="sgd", **settings)

    model = reference.model
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
    for epoch, report in enumerate(reports):
        optimizer.param_groups[0]["lr"] = 0.1 * (3 - epoch) / 3
        optimizer.zero_grad()
        loss = LOSSES[task.info.loss](model(x), y)
        loss.backward()
        optimizer.step()
        assert report.metrics["refine/train_loss"] == pytest.approx(loss.item(), rel=1e-4)
    for name, weight in weights(reference).items():
        torch.testing.assert_close(weights(state)[name], weight, rtol=1e-4, atol=1e-6)


def test_each_epoch_reports_the_validation_value_as_its_objective(make_state, target):
    state = make_state()
    reports = train(state, target)
    for report in reports:
        assert report.metrics["val/loss"] == pytest.approx(report.objective, rel=1e-6)
    assert (
        reports[-1].objective
        == evaluate(state, state.model, target.target.val, target.target).value
    )


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        (0.0, None, [7 / 9, 4 / 9, 1 / 9]),
        (1.0, None, [2 / 3, 4 / 6, 1 / 6]),
        (2.0, 2.0, [2 / 6, 5 / 6, 1.0]),
        (0.0, 1.0, [1 / 3, 0.0, 0.0]),
    ],
)
def test_the_rate_follows_the_schedule(make_state, target, warmup, decay, expected):
    """Ten samples, four a step: the last steps of three epochs are numbers 2, 5 and 8 of 9."""
    reports = train(make_state(), target, epochs=3, warmup_epochs=warmup, decay_epochs=decay)
    rates = [report.metrics["refine/lr"] for report in reports]
    assert rates == pytest.approx([1e-3 * factor for factor in expected])


def test_the_first_step_of_a_warm_up_changes_nothing(make_state, target):
    state = make_state()
    before = weights(state)
    train(state, target, epochs=1, batch_size=10, warmup_epochs=1.0)
    assert changed(before, weights(state)) == set()


def test_accumulated_micro_batches_equal_one_big_batch(make_state, target):
    """The mean gradient, also where the last micro-batch and the last step are short."""
    big, small = make_state(), make_state()
    settings = {"optimizer": "sgd", "momentum": 0.0, "lr": 0.1}
    whole = train(big, target, batch_size=6, accumulation=1, **settings)
    pieces = train(small, target, batch_size=2, accumulation=3, **settings)
    for name, weight in weights(big).items():
        torch.testing.assert_close(weights(small)[name], weight, rtol=1e-4, atol=1e-6)
    for a, b in zip(whole, pieces, strict=True):
        assert b.metrics == pytest.approx(a.metrics, rel=1e-4)


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("none", {"embedder", "body", "predictor"}),
        ("embedder", {"body", "predictor"}),
        ("body", {"embedder", "predictor"}),
        ("embedder+body", {"predictor"}),
    ],
)
def test_frozen_parts_stay_bitwise_as_they_were(make_state, target, freeze, trained):
    state = make_state()
    before = weights(state)
    train(state, target, freeze=freeze, weight_decay=0.1)
    assert changed(before, weights(state)) == trained


def test_nothing_left_to_train_is_an_error(make_state, target):
    with pytest.raises(ConfigError, match="`freeze`"):
        train(make_state(head="orca_pool"), target, freeze="embedder+body")


def test_the_best_weights_are_those_of_the_lowest_validation_value(make_state, target):
    state = make_state()
    reports = train(state, target, epochs=6, lr=3e-2, optimizer="sgd", momentum=0.9)
    values = [report.objective for report in reports]
    assert state.best is not None
    assert state.best.value == min(values)
    assert state.best.epoch == values.index(min(values)) + 1
    latest = weights(state)
    with state.at_best() as model:
        found = evaluate(state, model, target.target.val, target.target)
        assert found.value == min(values)
    assert changed(latest, weights(state)) == set()


def test_the_landscape_is_that_of_the_best_weights_and_changes_nothing_else(make_state, target):
    plain, seen = make_state(), make_state()
    for state in (plain, seen):
        state.keep_best(-1.0)  # so that the last epoch is not the best
    expected = train(plain, target, epochs=3)
    reports = train(seen, target, landscape=7, epochs=3)
    found = [{n for n in r.metrics if n.startswith("landscape/")} for r in reports]
    assert found == [set(), set(), {"landscape/curvature"}]
    assert [r.objective for r in reports] == [r.objective for r in expected]
    assert not changed(weights(plain), weights(seen))
    with plain.at_best() as model:
        plane = landscape(
            model, lambda: validation_loss(plain, target.target, most=256), seed=0, points=7
        )
    last = reports[-1].metrics
    assert last["landscape/curvature"] == plane.curvature


@pytest.mark.parametrize("points", [1, 2, 5, 8])
def test_a_landscape_has_a_middle(points):
    with pytest.raises(ValidationError, match="odd and 7 or more"):
        RefineConfig(landscape=points)


def test_the_landscape_is_no_part_of_earlier_settings():
    assert "landscape" not in RefineConfig().model_dump()
    assert RefineConfig(landscape=7).model_dump()["landscape"] == 7


def test_noise_in_the_model_is_the_seeds_and_another_each_epoch(make_state, target):
    def kept(global_seed: int, seed: int) -> list[torch.Tensor]:
        torch.manual_seed(global_seed)
        state, seen = make_state(), []
        state.seed = seed
        noise = nn.Dropout(0.3)
        noise.register_forward_hook(
            lambda module, _, out: seen.append(out != 0) if module.training else None
        )
        state.model.embedder = nn.Sequential(state.model.embedder, noise)
        train(state, target, batch_size=10)
        return seen

    first, second = kept(1, seed=0)
    assert not torch.equal(first, second)
    assert all(map(torch.equal, kept(2, seed=0), (first, second)))
    assert not torch.equal(kept(1, seed=1)[0], first)
