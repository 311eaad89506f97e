"""Laws of every stage that trains a pretrained model, whatever it minimises.

The contract of methods (`tests/contracts/test_methods.py`) has whole trials with usual settings.
Here are single stages, each with the settings that change what a stage draws and keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.stage_runs import changed, check_resumption, trained_on, weights
from trainables.errors import ConfigError, NonFiniteLoss
from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.mona.config import MetaConfig
from trainables.methods.orca.config import AlignConfig, WarmupConfig
from trainables.methods.pare.config import CutmixConfig, MixupConfig, ReplaceConfig
from trainables.methods.recraft.config import JointConfig, MatchConfig
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage, StageConfig

EMBEDDER, HEAD = {"embedder"}, {"embedder", "predictor"}
ALL = {"embedder", "body", "predictor"}
FINE = {"batch_size": 4, "warmup_epochs": 0.0, "lr": 1e-3}
MATCHED = {"clusters": 2, "measure": 0, "head_epochs": 5}
ALIGNED = {"align_loss", "skipped_classes", "converged"}
DISTORTED = {"match_loss", "entropy", "conditional_entropy", "marginal_entropy", "source_loss",
             "source_error", "source_grad_norm"}  # fmt: skip
MIXED = {"train_loss", "clean_loss", "mix_target_loss", "mix_source_loss", "k", "lambda",
         "mix_fraction"}  # fmt: skip
SCORED = {"score_mean", "score_std", "score_entropy", "overlap"}
VALIDATED = {"val/loss", "val/nrmse", "val/nrmse_best"}
ROUGH = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.5}


@dataclass(frozen=True)
class Case:
    """A stage with small settings, the parts of the model that it trains, and what it can do."""

    config: type[StageConfig]
    moved: set[str]
    settings: Mapping[str, Any]
    measured: set[str]  # in each epoch, besides the norm of the gradient and the rate
    name: str = "stage"
    rate: str = "lr"  # the setting that a message on a diverged loss names
    is_supervised: bool = True  # its loss is computed in the precision of the trial
    variants: tuple[Mapping[str, Any], ...] = field(default=({},))  # that are resumed, too

    def stage(self, **settings: Any) -> Stage[Any]:
        given = {"epochs": 2, **self.settings, **settings}
        return self.config.model_validate(given).build(self.name)


STAGES = {
    "refine": Case(RefineConfig, ALL, FINE, {"train_loss"},
        variants=({"warmup_epochs": 1.0}, {"optimizer": "sgd"}, {"finetune": "lora"})),
    "warmup": Case(WarmupConfig, HEAD, {"batch_size": 4}, {"task_loss"}),
    "align": Case(AlignConfig, EMBEDDER, {"clusters": 2, "measure": 0}, ALIGNED,
        is_supervised=False, variants=(
            {"lr_steps": (0,)},
            {"distance": "mmd", "update_mode": "minibatch", "max_samples": 2},
            {"class_mode": "joint", "update_mode": "minibatch", "max_samples": 4, "measure": 10},
            {"distance": "none", "task_weight": 1.0, "optimizer": "sgd"})),
    "contrast": Case(ContrastConfig, EMBEDDER,
        {"classes": 2, "per_class": 2, "clusters": 3, "measure": 0},
        {"contrast_loss", "intra_cos", "inter_cos", "noise_corr", "views"}, is_supervised=False,
        variants=({"include_source": True, "measure": 8},
                  {"noise_space": "tokens", "include_source": True})),
    "meta": Case(MetaConfig, HEAD, {"batch_size": 4, "classes": 3, "per_class": 2, "measure": 0},
        {"inner_loss", "align_loss", "uniform_loss", "outer_loss", "cos_grad", "body_step",
         "meta_grad_norm"},
        rate="beta", is_supervised=False, variants=({"meta_grad": "exact"}, {"meta_grad": "fd"})),
    "match": Case(MatchConfig, EMBEDDER, MATCHED, DISTORTED, variants=({"measure": 8},)),
    "joint": Case(JointConfig, EMBEDDER, {**MATCHED, "joint": 1.0}, ALIGNED | DISTORTED,
        name="align", variants=({"measure": 8},)),
    "mixup": Case(MixupConfig, ALL, {**FINE, "k0": 4}, MIXED),
    "cutmix": Case(CutmixConfig, ALL, {**FINE, "k0": 4}, MIXED),
    "replace": Case(ReplaceConfig, ALL, {**FINE, "k0": 4}, MIXED | SCORED,
        variants=({"explore_epochs": 2}, {"scorer": "random", "explore_epochs": 1})),
}  # fmt: skip
IDLE = [  # settings of stages that minimise nothing
    *((name, {"epochs": 0}) for name in ("warmup", "align", "contrast", "match", "joint")),
    ("align", {"distance": "none"}), ("align", {"align_weight": 0.0}),
]  # fmt: skip
FROM_SOURCE = [name for name in STAGES if name not in ("refine", "warmup")]
ONCE = {"refine": {}, "warmup": {}, "meta": {"lambda": 0.0}}  # each reads a sample once an epoch
CAPPED = [name for name, case in STAGES.items() if case.rate == "lr"]  # all parameters at once

every_stage = pytest.mark.parametrize("case", STAGES.values(), ids=STAGES)
of = pytest.mark.parametrize


def run(case: Case, state, domains: Domains, **settings: Any):
    stage = case.stage(**settings)
    stage.check(state.model, domains)
    state.extras.update(stage.extras(state.model, domains, state.seed))
    return list(stage.run(state, domains))


def noisy(state):
    """Put dropout behind the embedder, which draws from the global generators."""
    state.model.embedder = nn.Sequential(state.model.embedder, nn.Dropout(0.3))
    return state


@every_stage
@of("optimizer", ["adamw", "sgd"])
def test_its_own_parts_move_and_others_have_not_even_a_gradient(
    make_state, domains, case, optimizer
):
    state = make_state()
    before = weights(state)
    run(case, state, domains, optimizer=optimizer, weight_decay=0.1)
    assert changed(before, weights(state)) == case.moved
    if case.moved != ALL:
        assert all(p.grad is None for p in state.model.parameters())


@every_stage
def test_each_epoch_reports_what_it_measured_and_fine_tuning_alone_an_objective(
    make_state, domains, case
):
    reports = run(case, make_state(), domains)
    assert [(r.stage, r.epoch, r.num_epochs) for r in reports] == [
        (case.name, 1, 2),
        (case.name, 2, 2),
    ]
    own = {f"{case.name}/{name}" for name in case.measured | {"grad_norm", "lr"}}
    for report in reports:
        validated = VALIDATED if case.moved == ALL else set()
        assert set(report.metrics) == own | validated
        assert report.objective == report.metrics.get("val/nrmse")


@of(("name", "settings"), IDLE)
def test_where_nothing_is_minimised_nothing_is_touched_or_asked_for(
    make_state, task, name, settings
):
    state, alone = make_state(), Domains(target=task)
    before, rng = weights(state), torch.get_rng_state()
    assert run(STAGES[name], state, alone, **settings) == []
    assert changed(before, weights(state)) == set()
    assert torch.equal(torch.get_rng_state(), rng)
    assert state.optimizer is None
    assert all(p.requires_grad for p in state.model.parameters())


@of("name", [n for n in FROM_SOURCE if n not in ("contrast", "meta")])
def test_a_trial_without_a_proxy_is_an_error_that_names_the_way_out(make_state, task, name):
    with pytest.raises(ConfigError, match=r"no proxy.*proxies"):
        run(STAGES[name], make_state(), Domains(target=task))


@every_stage
def test_the_trials_seed_alone_decides_the_bits(make_state, domains, case):
    first, second, other = (noisy(make_state()) for _ in range(3))
    other.seed = 1
    torch.manual_seed(1)
    expected = run(case, first, domains)
    torch.manual_seed(2)
    assert run(case, second, domains) == expected
    assert changed(weights(first), weights(second)) == set()
    assert run(case, other, domains) != expected


@every_stage
def test_only_supervised_losses_are_in_the_precision_of_the_trial(make_state, domains, case):
    single, half = make_state(), make_state(precision="bf16")
    a, b = run(case, single, domains), run(case, half, domains)
    assert (a != b) == case.is_supervised
    for one, other in zip(a, b, strict=True):
        losses = [n for n in one.metrics if n.endswith(("train_loss", "task_loss"))]
        for name in losses:
            assert other.metrics[name] == pytest.approx(one.metrics[name], rel=0.05)
    assert {w.dtype for w in half.model.state_dict().values()} == {torch.float32}


@of("stop", [1, 2])
@of(
    ("case", "variant"),
    [
        pytest.param(case, variant, id=f"{name}-{variant}")
        for name, case in STAGES.items()
        for variant in case.variants
    ],
)
def test_interrupted_equals_uninterrupted_bit_for_bit(
    make_state, domains, tmp_path, case, variant, stop
):
    def stage() -> Stage[Any]:
        return case.stage(epochs=3, **variant)

    def begun():
        state = make_state()
        stage().check(state.model, domains)
        state.extras.update(stage().extras(state.model, domains, state.seed))
        return state

    whole, resumed = check_resumption(stage, begun, domains, stop=stop, folder=tmp_path)
    assert (whole.best is None) == (resumed.best is None) == (case.moved != ALL)
    if whole.best is not None and resumed.best is not None:
        assert (resumed.best.value, resumed.best.epoch) == (whole.best.value, whole.best.epoch)
        assert changed(whole.best.weights, resumed.best.weights) == set()


@every_stage
def test_a_loss_that_is_not_finite_ends_the_stage_and_names_the_settings(make_state, domains, case):
    broken = trained_on(domains, x=np.full_like(domains.target.train.x, np.inf))
    state = make_state()
    message = rf"{case.name}: the \w+ became \w+ in epoch 1; .*{case.name}\.{case.rate}"
    with pytest.raises(NonFiniteLoss, match=message):
        run(case, state, broken)
    assert (state.epoch, state.best) == (0, None)


@of("name", CAPPED)
def test_the_cap_bounds_a_step(make_state, domains, name):
    state = make_state()
    before = weights(state)
    reports = run(STAGES[name], state, domains, **ROUGH, epochs=1, clip_norm=1e-3)
    after = weights(state)
    moves = torch.cat([(after[n] - w).flatten() for n, w in before.items()])
    assert 0 < moves.norm().item() < 3.01 * 0.5e-3  # of three steps at most
    (norm,) = [value for n, value in reports[0].metrics.items() if n.endswith("/grad_norm")]
    assert norm > 1e-3


@of("name", ONCE)
def test_an_epoch_reads_each_sample_once_in_an_order_of_its_own(make_state, domains, name):
    def order(seed: int) -> tuple[torch.Tensor, ...]:
        state, seen = make_state(), []
        state.seed = seed
        state.model.embedder.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0]) if module.training else None
        )
        run(STAGES[name], state, domains, **ONCE[name])
        return torch.cat(seen).split(len(domains.target.train))

    first, second = order(0)
    assert not torch.equal(first, second)
    assert not torch.equal(first, order(1)[0])
    everything = torch.from_numpy(domains.target.train.x).flatten(1)
    for epoch in (first, second):
        assert torch.equal(epoch.flatten(1).unique(dim=0), everything.unique(dim=0))
