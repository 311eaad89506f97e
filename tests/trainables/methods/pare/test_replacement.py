"""Replacement by score: which tokens go, which come and where, and how the scorer learns.

Target samples have 8 tokens, source samples 6, unless a source of 8 is asked for.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.tiny_trials import DIMENSIONS, weights
from trainables.errors import ConfigError
from trainables.methods.pare.config import ReplaceConfig
from trainables.methods.pare.replacement import Replacement

SMALL = {"epochs": 1, "batch_size": 10, "warmup_epochs": 0.0, "lr": 1e-3}
SCORERS = ("gate", "gate_mlp", "attn_received", "attn_window", "attn_query")
SELECTORS = ("gumbel_topk_st", "subset_operator")
D = 32
every_scorer = pytest.mark.parametrize("scorer", SCORERS)
every_selector = pytest.mark.parametrize("selector", SELECTORS)


@pytest.fixture
def make_objective(make_state, domains):
    """Make the objective of one epoch, whose scores differ enough to be ranked."""

    def make(epoch=0, *, source=None, **settings):
        data = domains if source is None else replace(domains, source=source)
        config = ReplaceConfig.model_validate({**SMALL, "epochs": 4, "window": 3, **settings})
        stage, state = Replacement("replace", config), make_state()
        stage.check(state.model, data)
        state.extras.update(stage.extras(state.model, data, state.seed))
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            scorer = state.extras["scorer"] if "scorer" in state.extras else nn.Identity()
            for weight in scorer.parameters():
                weight.normal_(std=0.3, generator=rng)  # wide, and no attention of 1
        return stage.objective(state, data, epoch)

    return make


def tokens(count, *, batch=3, seed=0):
    return torch.randn(batch, count, D, generator=torch.Generator().manual_seed(seed))


def mixed(objective, target, source):
    return objective.mix(target, source, *objective.draws(len(target)))


def scores(objective, x):
    return objective.state.extras["scorer"](x).detach()


def by_hand(objective, target, source, k, *, order="raster", lowest=True):
    """Each target token in its place, but for k that are swapped, by sorting scores in Python."""
    mixture = target.clone()
    for row in range(len(target)):
        of_target = scores(objective, target)[row].tolist()
        of_source = scores(objective, source)[row].tolist()
        going = sorted(range(len(of_target)), key=of_target.__getitem__)
        going = going[:k] if lowest else going[-k:]
        coming = sorted(range(len(of_source)), key=lambda token: -of_source[token])[:k]
        if order == "raster":
            going, coming = sorted(going), sorted(coming)
        mixture[row, going] = source[row, coming]
    return mixture


@every_scorer
@pytest.mark.parametrize("order", ["raster", "rank"])
@pytest.mark.parametrize("k", [1, 4, 6])
@pytest.mark.parametrize("replaced", ["lowest", "highest"])
def test_the_k_lowest_target_tokens_give_way_to_the_k_highest_of_the_source(
    make_objective, scorer, order, k, replaced
):
    """Or the k highest ones, as in the official code, which is its fault."""
    settings = {"scorer": scorer, "order": order, "k0": k, "replaced": replaced}
    objective = make_objective(**settings, explore_epochs=0)
    target, source = tokens(8), tokens(6, seed=1)
    expected = by_hand(objective, target, source, k, order=order, lowest=replaced == "lowest")
    assert torch.equal(mixed(objective, target, source), expected)


@every_selector
@every_scorer
def test_exploring_keeps_tokens_bitwise_and_swaps_exactly_k(make_objective, selector, scorer):
    objective = make_objective(selector=selector, scorer=scorer, k0=3)
    target, source = tokens(8, batch=20), tokens(6, batch=20, seed=1)
    mixture = mixed(objective, target, source)
    kept = (mixture == target).all(2)
    assert kept.sum(1).tolist() == [5] * 20
    for row in range(20):
        came = (mixture[row, ~kept[row], None] == source[row]).all(2).nonzero()
        assert came[:, 0].tolist() == [0, 1, 2]
        assert came[:, 1].tolist() == sorted(set(came[:, 1].tolist()))  # raster
    assert not torch.equal(mixture, by_hand(objective, target, source, 3))


def test_exploring_prefers_high_scores_of_both(make_objective):
    objective = make_objective(scorer="attn_query", k0=3)
    target, source = tokens(8, batch=1), tokens(6, batch=1, seed=1)
    many = (target.expand(4000, -1, -1), source.expand(4000, -1, -1))
    mixture = mixed(objective, *many)
    stayed = (mixture == target).all(2).float().mean(0)
    came = (mixture[:, :, None] == source[:, None]).all(3).any(1).float().mean(0)
    for frequency, x in ((stayed, target), (came, source)):
        order = scores(objective, x)[0].argsort()
        assert frequency[order[-1]] > frequency[order[0]] + 0.1


@every_selector
@every_scorer
@pytest.mark.parametrize("modality", ["target", "source"])
def test_the_scorer_learns_from_both_modalities_while_it_explores(
    make_objective, selector, scorer, modality
):
    objective = make_objective(selector=selector, scorer=scorer, k0=3)
    target, source = tokens(8), tokens(6, seed=1)
    given = {"target": target * 0, "source": source * 0, modality: locals()[modality]}
    values = tokens(8, seed=2)
    (mixed(objective, given["target"], given["source"]) * values).sum().backward()
    moved = torch.cat(
        [w.grad.flatten() for w in objective.state.extras["scorer"].parameters() if w.ndim == 2]
    )
    assert moved.isfinite().all()
    assert moved.abs().sum() > 0


@pytest.mark.parametrize("settings", [{"explore_epochs": 0}, {"selector": "topk"}])
@every_scorer
def test_ranking_alone_gives_the_scorer_no_gradient(make_objective, scorer, settings):
    objective = make_objective(scorer=scorer, k0=3, **settings)
    target = tokens(8).requires_grad_()
    mixed(objective, target, tokens(6, seed=1)).sum().backward()
    assert all(w.grad is None for w in objective.state.extras["scorer"].parameters())


@pytest.mark.parametrize("explore_epochs", [0, 1])
def test_dropped_tokens_have_no_gradient_and_kept_ones_do(make_objective, explore_epochs):
    """By a gate; attention couples the scores of tokens while it explores."""
    objective = make_objective(k0=3, explore_epochs=explore_epochs)
    target, source = tokens(8).requires_grad_(), tokens(6, seed=1)
    mixture = mixed(objective, target, source)
    (mixture * tokens(8, seed=2)).sum().backward()
    kept = (mixture == target).all(2)
    assert (target.grad[~kept] == 0).all()
    assert (target.grad[kept] != 0).all()


def test_exploration_ends_after_its_epochs(make_objective):
    target, source = tokens(8), tokens(6, seed=1)
    for epoch in range(4):
        objective = make_objective(epoch, k0=3, explore_epochs=2, k_schedule="constant")
        ranked = by_hand(objective, target, source, 3)
        assert torch.equal(mixed(objective, target, source), ranked) == (epoch >= 2)


@pytest.mark.parametrize("scorer", ["gate", "random"])
def test_each_epoch_and_each_micro_batch_draw_anew(make_objective, scorer):
    settings = {"scorer": scorer, "k0": 3, "k_schedule": "constant"}
    target, source = tokens(8, batch=30), tokens(6, batch=30, seed=1)
    first, later, again = (make_objective(epoch, **settings) for epoch in (0, 1, 0))
    drawn = [mixed(each, target, source) for each in (first, first, later)]
    assert torch.equal(mixed(again, target, source), drawn[0])
    assert not any(torch.equal(drawn[a], drawn[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def train(state, domains, **settings):
    stage = Replacement("replace", ReplaceConfig.model_validate({**SMALL, **settings}))
    state.extras.update(stage.extras(state.model, domains, state.seed))
    return list(stage.run(state, domains))


@every_scorer
def test_the_scorer_trains_while_it_explores_and_rests_afterwards(make_state, domains, scorer):
    state = make_state()
    settings = {"scorer": scorer, "k0": 4, "epochs": 4, "explore_epochs": 2, "weight_decay": 0.1}
    stage = Replacement("replace", ReplaceConfig.model_validate({**SMALL, **settings}))
    state.extras.update(stage.extras(state.model, domains, state.seed))

    def scorer_weights():
        return torch.cat([w.detach().flatten() for w in state.extras["scorer"].parameters()])

    seen = [scorer_weights(), *(scorer_weights() for _ in stage.run(state, domains))]
    moved = [not torch.equal(before, after) for before, after in pairwise(seen)]
    assert moved == [True, True, False, False]


@pytest.mark.parametrize("scorer", ["gate", "attn_received"])
def test_what_is_reported_of_scores_is_of_the_epochs_end(make_state, domains, task, scorer):
    state = make_state()
    (report,) = train(state, domains, scorer=scorer, k0=3)
    of = {name.removeprefix("replace/"): value for name, value in report.metrics.items()}
    with torch.no_grad():
        x = state.extras["scorer"](state.model.embed(torch.from_numpy(task.train.x)))
    assert of["score_mean"] == pytest.approx(x.mean().item(), rel=1e-5)
    assert of["score_std"] == pytest.approx(np.std(x.numpy()), rel=1e-4)
    shares = np.exp(x.numpy()) / np.exp(x.numpy()).sum(1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(1).mean()
    assert of["score_entropy"] == pytest.approx(entropy, rel=1e-5)
    if scorer == "attn_received":
        assert np.exp(x.numpy()).sum(1) == pytest.approx(1, rel=1e-5)


def test_overlap_is_the_share_of_replaced_tokens_that_stay_the_same(make_state, domains):
    resting = {"freeze": "embedder", "explore_epochs": 0, "k0": 3}
    (report,) = train(make_state(), domains, **resting)
    assert report.metrics["replace/overlap"] == 1
    (report,) = train(make_state(), domains, k0=3, lr=0.3)
    assert 0 <= report.metrics["replace/overlap"] < 1
    (report,) = train(make_state(), domains, k0=6, lr=0.3)
    assert report.metrics["replace/overlap"] >= 4 / 6  # six of eight share four at the least


def test_scores_are_read_without_the_models_noise(make_state, domains):
    state = make_state()
    state.model.embedder = nn.Sequential(state.model.embedder, nn.Dropout(0.5))
    resting = {"freeze": "embedder", "explore_epochs": 0, "k0": 3}
    (noisy,) = train(state, domains, **resting)
    (quiet,) = train(make_state(), domains, **resting)
    assert noisy.metrics["replace/overlap"] == 1
    for name in ("score_mean", "score_std", "score_entropy"):
        assert noisy.metrics[f"replace/{name}"] == quiet.metrics[f"replace/{name}"]


def test_an_epoch_without_mixtures_says_nothing_of_scores(make_state, domains):
    first, last = train(make_state(), domains, k0=1, epochs=2)
    assert "replace/overlap" in first.metrics
    assert not any("score" in name or "overlap" in name for name in last.metrics)


def test_attention_among_too_many_tokens_is_refused_and_names_the_others(make_state, domains):
    def check(**settings):
        Replacement("replace", ReplaceConfig.model_validate({**SMALL, **settings})).check(
            state.model, domains
        )

    state = make_state()
    state.model.num_tokens = 3136
    with pytest.raises(ConfigError, match=r"3136 tokens.*39 MB.*attn_window or attn_query"):
        check(scorer="attn_received")
    check(scorer="attn_received", k0=0)
    check(scorer="attn_window")
    state.model.num_tokens = 1024
    check(scorer="attn_received")


EXPLORING = pytest.mark.parametrize("explore_epochs", [0, 4])


@EXPLORING
@pytest.mark.parametrize("replaced", ["lowest", "highest"])
def test_random_scores_replace_k_tokens_all_as_likely(make_objective, explore_epochs, replaced):
    objective = make_objective(
        scorer="random", k0=3, explore_epochs=explore_epochs, replaced=replaced
    )
    target, source = tokens(8, batch=4000), tokens(6, batch=4000, seed=1)
    mixture = mixed(objective, target, source)
    kept = (mixture == target).all(2)
    assert kept.sum(1).tolist() == [5] * 4000
    came = (mixture[:, :, None] == source[:, None]).all(3).any(1)
    assert came.sum(1).tolist() == [3] * 4000
    for share, frequency in ((5 / 8, kept), (3 / 6, came)):
        deviation = (share * (1 - share) / 4000) ** 0.5
        assert (frequency.float().mean(0) - share).abs().max() < 4 * deviation
    # Sets, too: two tokens are replaced together as often as without any preference.
    gone = (~kept).float()
    together = gone.T @ gone / 4000
    off = together[~torch.eye(8, dtype=torch.bool)]
    assert (off - 3 * 2 / (8 * 7)).abs().max() < 4 * (0.107 * 0.893 / 4000) ** 0.5


def test_without_scores_no_scorer_trains_and_none_is_reported(make_state, domains):
    state = make_state()
    reports = train(state, domains, scorer="random", k0=3, epochs=2)
    assert "scorer" not in state.extras
    measured = {name for report in reports for name in report.metrics}
    assert "replace/k" in measured
    assert not any("score_" in name or "overlap" in name for name in measured)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_proposed_method_without_its_first_stage_and_with_a_gate_is_pare(trials, dimension):
    settings = {"replace.k0": 0.5, "replace.explore_epochs": 1}
    pare = trials.run(trials.spec("pare", dimension, settings))
    own = {"contrast.epochs": 0, "replace.scorer": "gate", **settings}
    proposed = trials.begin(trials.spec("contrastive_pare", dimension, own))
    assert list(proposed.reports()) == pare[0]
    ours = weights(proposed)
    assert ours.keys() == pare[1].keys()
    assert all(torch.equal(weight, pare[1][name]) for name, weight in ours.items())
