"""L2G: the embedder of the searched convolutions, and what the method is without its parts."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.tiny_trials import DIMENSIONS, Trials, same_weights, weights
from trainables.errors import ConfigError
from trainables.methods.dash.network import Fixed
from trainables.methods.l2g.method import L2G
from trainables.models.embedders import FeatureEmbedder, SequenceEmbedder

every_dimension = pytest.mark.parametrize("dimension", DIMENSIONS)
ONE_KERNEL = {"search.sizes": (3,), "search.dilations": (1,)}
SHORT = {"search.epochs": 1, "align.epochs": 1, "refine.epochs": 1}
NO_ALIGNMENT = {"align.epochs": 0}


def spec(trials: Trials, dimension: str, settings: Mapping[str, Any] = {}):
    return trials.spec("l2g", dimension, {**SHORT, **settings})


def operations(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(m.chosen.tolist()) for m in model.modules() if isinstance(m, Fixed)]


@every_dimension
def test_its_tokens_and_predictions_are_those_of_fine_tuning_until_it_trains(trials, dimension):
    ours, plain = (trials.begin(spec(trials, dimension, settings)).state.model.eval()
                   for settings in ({}, {"search.epochs": 0}))  # fmt: skip
    x = torch.tensor(trials.begin(spec(trials, dimension)).domains.target.train.x[:4])
    assert isinstance(ours.embedder, FeatureEmbedder)
    assert not isinstance(plain.embedder, FeatureEmbedder)
    torch.testing.assert_close(ours.embed(x), plain.embed(x))
    torch.testing.assert_close(ours(x), plain(x))


@every_dimension
def test_the_embedder_gets_the_operation_with_the_largest_weight_of_each_layer(trials, dimension):
    training = trials.begin(spec(trials, dimension, {"search.epochs": 2}))
    reports = training.reports()
    next(reports)
    layers = training.state.extras["search"].mixed
    pairs = list(product((3, 5), (1, 3)))
    picked = torch.randint(4, (len(layers),), generator=torch.Generator().manual_seed(1))
    assert set(operations(training.state.model)) == {(3, 1)}
    with torch.no_grad():
        for layer, index in zip(layers, picked, strict=True):
            layer.logits[index] = 10.0
    next(reports)
    assert operations(training.state.model) == [pairs[index] for index in picked]


def test_a_trial_interrupted_after_each_epoch_writes_the_checkpoints_of_one_that_was_not(
    trials, tmp_path
):
    settings = spec(trials, "1d", {**NO_ALIGNMENT, "search.epochs": 2, "refine.epochs": 2})
    for index, report in enumerate((whole := trials.begin(settings)).reports()):
        whole.save(tmp_path / f"whole{index}")
        part = trials.begin(settings)
        if index:
            part.load(tmp_path / f"part{index - 1}")
        assert next(part.reports()) == report
        part.save(tmp_path / f"part{index}")
        for file in (tmp_path / f"whole{index}").glob("*.safetensors"):
            assert (tmp_path / f"part{index}" / file.name).read_bytes() == file.read_bytes()


def test_a_sample_s_tokens_do_not_depend_on_its_batch(trials):
    model = trials.begin(spec(trials, "2d")).state.model.train()
    nn.init.normal_(model.embedder.plain.projection.weight, generator=torch.Generator())
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([model.embed(x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(model.embed(x), alone, rtol=1e-4, atol=1e-5)


def test_alignment_and_fine_tuning_train_the_features_and_their_weights(trials):
    training = trials.begin(spec(trials, "1d", {"align.task_weight": 1.0, "align.epochs": 2}))
    reports = training.reports()
    next(reports)
    before = {k: v.clone() for k, v in training.state.model.embedder.named_parameters()}
    assert not before["plain.projection.weight"][:, 1:].any()
    for _ in range(2):
        assert next(reports).stage == "align"
    after = dict(training.state.model.embedder.named_parameters())
    still = {name for name, weight in after.items() if torch.equal(weight, before[name])}
    assert not still


@every_dimension
def test_without_a_search_it_is_orca(trials, dimension):
    joint = {"align.distance": "mmd", "align.task_weight": 1.0, "align.epochs": 2}
    ours = trials.run(spec(trials, dimension, {**joint, "search.epochs": 0}))
    orca = trials.run(
        trials.spec("orca", dimension, {**joint, "warmup.epochs": 0, "refine.epochs": 1})
    )
    assert ours[0] == orca[0]
    assert same_weights(ours[1], orca[1])


def test_one_candidate_is_the_same_network_whatever_its_search(trials):
    (_, one), (_, other) = (
        trials.run(spec(trials, "1d", {**ONE_KERNEL, **NO_ALIGNMENT, "search.lr": rate}))
        for rate in (1e-3, 1e-2)
    )
    assert same_weights(one, other)


def test_an_embedder_without_a_convolution_is_refused():
    with pytest.raises(ConfigError, match="no convolution that could read more channels"):
        FeatureEmbedder(nn.Linear(3, 3), nn.Identity(), (1, 8))
    plain = SequenceEmbedder(
        (2, 8), max_tokens=4, width=3, positions=None, norm=None, init="random",
        generator=torch.Generator(),
    )  # fmt: skip
    made = FeatureEmbedder(plain, nn.Conv1d(2, 5, 1), (2, 8))
    assert made.plain.projection.weight.shape == (3, 7, 2)
    assert made(torch.zeros(1, 2, 8)).shape == (1, 4, 3)


def test_its_control_is_vanilla_fine_tuning_and_its_preset_is_joint():
    assert dict(L2G.control) == {"search.epochs": 0, "align.epochs": 0}
    assert L2G.preset["align.task_weight"] == L2G.preset["align.align_weight"] == 1.0
    assert L2G.preset["align.distance"] == "mmd"


@pytest.mark.parametrize("stopped", [2, 3, 4])
def test_a_trial_that_is_stopped_once_goes_on_bit_for_bit(trials, tmp_path, stopped):
    """Before and within the last stage: its optimiser has the same parameters on both sides."""
    whole = spec(trials, "1d", {"refine.epochs": 3})
    first = trials.begin(whole)
    reports = first.reports()
    seen = [next(reports) for _ in range(stopped)]
    first.save(tmp_path / "checkpoint")
    second = trials.begin(whole)
    second.load(tmp_path / "checkpoint")
    seen += second.reports()
    expected = trials.run(whole)
    assert [report.metrics for report in seen] == [report.metrics for report in expected[0]]
    assert same_weights(weights(second), expected[1])
