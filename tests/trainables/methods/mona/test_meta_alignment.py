"""MoNA's first stage: what it moves and by how much; lambda = 0 and alpha = 0 switch it off."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.support.stage_runs import changed, of_stage, weights
from trainables.errors import ConfigError
from trainables.methods.mona.config import MetaConfig
from trainables.methods.mona.meta_gradient import attention
from trainables.seeding import generator
from trainables.sources.source import class_balanced_batch
from trainables.training.discriminability import discriminability
from trainables.training.losses import LOSSES

MODES = ["exact", "fd"]
SMALL = {"epochs": 2, "batch_size": 4, "classes": 3, "per_class": 2, "measure": 0}
_, train = of_stage(MetaConfig, "meta", **SMALL)


def same(a, b) -> bool:
    return not changed(a, b)


@pytest.mark.parametrize("mode", MODES)
def test_a_frozen_head_stays_bitwise_as_it_was(make_state, domains, mode):
    state = make_state()
    before = weights(state)
    train(state, domains, meta_grad=mode, head_update="frozen")
    assert changed(before, weights(state)) == {"embedder"}


def test_one_iteration_is_a_step_along_the_gradient_of_the_bilevel_loss(make_state, domains):
    """Against Algorithm 1 written out with one graph through the virtual step."""
    settings = {"alpha": 0.5, "lambda": 3.0, "beta": 0.1}
    state, task = make_state(), domains.target
    model, before = state.model, weights(state)

    def inner(body) -> torch.Tensor:
        parts = {f"body.{name}": w for name, w in body.items()}
        x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
        return LOSSES[task.info.loss](functional_call(model, parts, (x,)), y)

    body = dict(model.body.named_parameters())
    tokens, labels = class_balanced_batch(
        domains.source, classes=3, per_class=2, generator=generator(0, "meta-source", 0)
    )
    with attention("math"):
        loss = inner(body)
        g = torch.autograd.grad(loss, list(body.values()), create_graph=True)
    stepped = {n: w - settings["alpha"] * d for (n, w), d in zip(body.items(), g, strict=True)}
    outer = discriminability(model.pool(functional_call(model.body, stepped, (tokens,))), labels)
    (loss + settings["lambda"] * outer.loss).backward()
    expected = {n: -0.1 * p.grad for n, p in model.embedder.named_parameters()}
    model.zero_grad(set_to_none=True)

    for mode, tolerance in (("exact", 1e-4), ("fd", 2e-2)):
        model.load_state_dict(before)
        state.begin_stage(0)
        (report,) = train(
            state,
            domains,
            **settings,
            optimizer="sgd",
            clip_norm=None,
            epochs=1,
            batch_size=len(task.train),
            meta_grad=mode,
        )
        after = weights(state)
        for name, step in expected.items():
            taken = after[f"embedder.{name}"] - before[f"embedder.{name}"]
            assert (taken - step).norm() < tolerance * step.norm(), (mode, name)
        assert report.metrics["meta/inner_loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert report.metrics["meta/outer_loss"] == pytest.approx(outer.loss.item(), rel=1e-4)


class Transposed(nn.Module):
    """A linear map whose weight has a gradient that does not lie in memory row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(width).roll(1, 0))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens @ self.weight.T.contiguous()


def test_lambda_zero_is_a_warm_up_of_embedder_and_head_by_plain_training(make_state, domains):
    state, reference = make_state(), make_state()
    for trial in (state, reference):
        trial.model.embedder = nn.Sequential(trial.model.embedder, Transposed(32))
    train(state, domains, **{"lambda": 0.0}, epochs=1, batch_size=10, clip_norm=None)

    model, task = reference.model, domains.target
    moved = [*model.embedder.parameters(), *model.predictor.parameters()]
    optimizer = torch.optim.AdamW(moved, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    order = torch.randperm(10, generator=generator(0, "meta", 0)).numpy()
    x, y = torch.from_numpy(task.train.x[order]), torch.from_numpy(task.train.y[order])
    LOSSES[task.info.loss](model(x), y).backward()
    optimizer.step()

    for name, weight in weights(reference).items():
        torch.testing.assert_close(weights(state)[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_lambda_zero_does_not_depend_on_alpha_and_alpha_zero_equals_it(make_state, domains):
    off = {"lambda": 0.0}
    settings = [
        off | {"alpha": 0.1},
        off | {"alpha": 10.0},
        off | {"meta_grad": "exact"},
        {"alpha": 0.0},
        {"alpha": 0.0, "lambda": 100.0, "meta_grad": "exact"},
    ]
    states = [make_state() for _ in settings]
    reports = [train(s, domains, **setting) for s, setting in zip(states, settings, strict=True)]
    for state, report in zip(states[1:], reports[1:], strict=True):
        assert same(weights(state), weights(states[0]))
        assert report == reports[0]


@pytest.mark.parametrize("setting", [{"lambda": 0.0}, {"alpha": 0.0}, {"epochs": 0}])
def test_a_stage_without_outer_loss_reads_no_source(make_state, domains, setting):
    def refuse(inputs):
        raise AssertionError("the source was read")

    train(make_state(), replace(domains, source=None), **setting)
    train(make_state(), replace(domains, source=replace(domains.source, embed=refuse)), **setting)
    with pytest.raises(AssertionError, match="source was read"):
        train(make_state(), replace(domains, source=replace(domains.source, embed=refuse)))


def test_a_missing_source_is_an_error_that_says_what_to_do(make_state, domains):
    with pytest.raises(ConfigError, match=r"proxies.*meta\.lambda"):
        train(make_state(), replace(domains, source=None))


def test_a_source_with_too_few_classes_is_an_error(make_state, domains):
    with pytest.raises(ConfigError, match="Lower `classes`"):
        train(make_state(), domains, classes=10)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_measured_lies_in_its_range(make_state, domains, mode):
    reports = train(make_state(), domains, meta_grad=mode)
    for values in (report.metrics for report in reports):
        assert values["meta/lr"] == 1e-3
        assert values["meta/outer_loss"] == pytest.approx(
            values["meta/align_loss"] + values["meta/uniform_loss"], abs=1e-5
        )
        assert 0 <= values["meta/align_loss"] <= 4
        assert -8 <= values["meta/uniform_loss"] <= 0
        assert -1 <= values["meta/cos_grad"] <= 1
        assert values["meta/body_step"] > 0
        assert values["meta/meta_grad_norm"] > 0


def test_what_was_not_measured_is_not_reported(make_state, domains):
    (report,) = train(make_state(), domains, **{"lambda": 0.0}, epochs=1)
    assert set(report.metrics) == {"meta/inner_loss", "meta/grad_norm", "meta/lr"}


@pytest.mark.parametrize("params", ["attention", "layernorm"])
def test_the_virtual_step_of_part_of_the_body_is_smaller_and_another(make_state, domains, params):
    whole, part = make_state(), make_state()
    (of_all,) = train(whole, domains, epochs=1)
    (of_part,) = train(part, domains, epochs=1, inner_params=params)
    assert 0 < of_part.metrics["meta/body_step"] != of_all.metrics["meta/body_step"]
    assert changed(weights(whole), weights(part)) == {"embedder", "predictor"}


def test_several_virtual_steps_go_further_than_one(make_state, domains):
    (once,), (thrice,) = (
        train(make_state(), domains, epochs=1, meta_grad="exact", inner_steps=steps)
        for steps in (1, 3)
    )
    assert thrice.metrics["meta/body_step"] > 2 * once.metrics["meta/body_step"]


def test_the_cap_bounds_the_step_of_the_embedder_alone(make_state, domains):
    state = make_state()
    before = weights(state)
    settings = {"optimizer": "sgd", "epochs": 1, "batch_size": 10, "beta": 0.5}
    train(state, domains, clip_norm=1e-2, **settings)
    uncapped = make_state()
    train(uncapped, domains, clip_norm=None, **settings)

    def step(after, part: str) -> float:
        moves = [(after[n] - w).flatten() for n, w in before.items() if n.startswith(part)]
        return torch.cat(moves).norm().item()

    assert step(weights(state), "embedder") == pytest.approx(0.5 * 1e-2, rel=1e-3)
    assert step(weights(state), "predictor") == step(weights(uncapped), "predictor")


def test_what_is_reported_is_the_mean_over_iterations(make_state, domains):
    """At a rate too low to move anything, that over all samples, five at a time."""
    state, task = make_state(), domains.target
    x, y = torch.from_numpy(task.train.x), torch.from_numpy(task.train.y)
    expected = LOSSES[task.info.loss](state.model(x), y).item()
    settings = {"lambda": 0.0, "beta": 1e-12, "batch_size": 5, "optimizer": "sgd"}
    (report,) = train(state, domains, **settings, epochs=1)
    assert report.metrics["meta/inner_loss"] == pytest.approx(expected, rel=1e-5)
