"""A trial that ran out of memory is computed in smaller parts, and stays the same trial."""

from functools import cache
from typing import Any

import pytest
import torch

from tests.support.settings import of_each_stage
from tests.support.tiny_trials import METHODS_BY_TURNS
from trainables.methods.registry import METHODS, broken_by_halving, can_halve
from trainables.training.micro_batches import largest_part, parts

SETTINGS: dict[str, Any] = {  # of SGD, whose steps are as exact as its gradients
    "epochs": 1,
    "optimizer": "sgd",
    "momentum": 0.9,
    "warmup_epochs": 0.0,
    "lr": 0.01,
    "batch_size": 5,
    "accumulation": 2,
    "measure": 0,
    "norm": "none",  # batch norm has the statistics of the parts
}

by_method = pytest.mark.parametrize(("method", "dimension"), METHODS_BY_TURNS)


@pytest.fixture(scope="module")
def train(trials):
    """Train on 16 samples, as micro-batches of 5, 5; 5, 1, each trial once; return its weights, its
    reports, and the most samples that each stage embedded with gradients at once."""

    @cache
    def train(method: str, dimension: str, halvings: int) -> tuple[dict, list, dict[str, int]]:
        spec = trials.spec(method, dimension, of_each_stage(method, **SETTINGS))
        data = spec.data.model_copy(update={"samples": 16})
        spec = spec.model_copy(update={"data": data, "halvings": halvings})
        training, most = trials.begin(spec), dict.fromkeys(METHODS[method].stages, 0)

        def see(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if torch.is_grad_enabled() and module.training:
                stage = training.stages[training.state.stage].name
                most[stage] = max(most[stage], len(inputs[0]))

        training.state.model.embedder.register_forward_pre_hook(see)
        reports = list(training.reports())
        assert len(training.domains.target.train) == 16
        both = {"model": training.state.model, "extras": training.state.extras}
        return torch.nn.ModuleDict(both).state_dict(), reports, most

    return train


@pytest.mark.slow
@by_method
@pytest.mark.parametrize("halvings", [1, 2, 5])
def test_smaller_micro_batches_lead_to_the_same_weights(train, method, dimension, halvings):
    (whole, expected, before), (cut, reports, after) = (
        train(method, dimension, number) for number in (0, halvings)
    )
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=2e-6)
    for ours, theirs in zip(reports, expected, strict=True):
        assert dict(ours.metrics) == pytest.approx(dict(theirs.metrics), rel=1e-3, abs=1e-5)
    final = list(METHODS[method].stages)[-1]
    whole_batches = not can_halve(method, final, {"batch_size": 5})
    assert before[final] == 5
    assert after[final] == (5 if whole_batches else {1: 3, 2: 2, 5: 1}[halvings])


@pytest.mark.slow
def test_under_drop_path_halves_are_another_draw_of_as_likely_steps(trials):
    """Halve under drop path: samples skip attention part by part. The first step has the rate 0."""
    losses = []
    for halvings in (0, 0, 1):
        spec = trials.spec("nft", "2d", {"refine.epochs": 1, "refine.batch_size": 4})
        model = spec.model.model_copy(update={"drop_path": 0.5})
        spec = spec.model_copy(update={"halvings": halvings, "model": model})
        (report,) = trials.begin(spec).reports()
        losses.append(report.metrics["refine/train_loss"])
    whole, again, cut = losses
    assert whole == again
    assert cut != pytest.approx(whole, rel=1e-6)
    assert cut == pytest.approx(whole, rel=0.5)


def test_under_batch_norm_halves_are_another_trial_and_say_so(trials):
    spec = trials.spec("unet", "1d").model_copy(update={"halvings": 1})
    configs = METHODS["unet"].configs
    (said,) = broken_by_halving(spec, configs(spec.stages))
    assert "2 parts" in said
    assert "refine.norm is batch" in said
    without = trials.spec("unet", "1d", {"refine.norm": "none"})
    halved = without.model_copy(update={"halvings": 1})
    assert broken_by_halving(halved, configs(halved.stages)) == []


@pytest.mark.slow
@by_method
def test_it_is_known_beforehand_which_stages_can_be_cut(train, method, dimension):
    most = [train(method, dimension, halvings)[2] for halvings in range(5)]
    for stage, config in METHODS[method].stages.items():
        settings = {k: v for k, v in SETTINGS.items() if k in config.model_fields}
        for halvings in range(4):
            shrinks = most[halvings + 1][stage] < most[halvings][stage]
            assert can_halve(method, stage, settings, halvings=halvings) == shrinks, stage


def test_parts_cover_a_micro_batch_in_order():
    for samples in range(1, 12):
        for halvings in range(5):
            cut = list(parts(samples, 11, halvings))
            assert [i for part in cut for i in range(samples)[part]] == list(range(samples))
            sizes = [part.stop - part.start for part in cut]
            assert max(sizes) <= largest_part(11, halvings) <= -(-11 // 2**halvings)
