"""What stages record of the two modalities: the right numbers, of the same samples, for nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.stage_runs import classified
from trainables.distances.euclidean import distance_of_means
from trainables.distances.mmd import mmd
from trainables.distances.otdd import otdd, prepare
from trainables.methods.orca.alignment import Alignment
from trainables.methods.orca.config import AlignConfig
from trainables.sources.source import Domains
from trainables.stages.configs import MeasuredConfig
from trainables.stages.measurements import Measurements
from trainables.training.pseudo_labels import target_labels

NAMES = {"otdd_exact", "otdd_gaussian", "otdd_converged", "mmd", "euclidean"}


def config(**settings) -> MeasuredConfig:
    return MeasuredConfig.model_validate({"epochs": 2, **settings})


def align(state, domains, **settings):
    config = AlignConfig.model_validate({"epochs": 3, "clusters": 3, **settings})
    return list(Alignment("align", config).run(state, domains))


def test_they_are_the_distances_between_all_samples_where_these_are_few(make_state, domains):
    state = make_state()
    measured = Measurements(state, domains, config()).after_epoch(state)

    source, labels = domains.source, torch.from_numpy(target_labels(domains.target, 3))
    with torch.no_grad():
        target = state.model.embed(torch.from_numpy(domains.target.train.x)).mean(1)
    expected = {
        "otdd_converged": 1.0,
        "mmd": mmd(source.features, target).item(),
        "euclidean": distance_of_means(source.features, target).item(),
    }
    for method in ("exact", "gaussian"):
        statistics = prepare(source.features, source.labels, method=method)
        expected[f"otdd_{method}"] = otdd(statistics, target, labels).value.item()
    starts = {f"{name}_start": value for name, value in expected.items()}
    assert measured == pytest.approx({**expected, **starts}, rel=1e-5)


def test_the_start_is_in_the_first_report_alone_and_is_that_of_the_untrained_embedder(
    make_state, domains
):
    untrained = make_state()
    start = Measurements(untrained, domains, config()).after_epoch(untrained)
    first, second, third = (r.metrics for r in align(make_state(), domains, lr=1e-2))
    for name in NAMES:
        assert first[f"align/{name}_start"] == start[f"{name}_start"]
        assert f"align/{name}_start" not in second.keys() | third.keys()
    for name in NAMES - {"otdd_converged"}:
        assert first[f"align/{name}"] != first[f"align/{name}_start"]
    assert third["align/otdd_exact"] < first["align/otdd_exact_start"]


def test_the_embedder_is_measured_without_its_noise_and_trains_on(make_state, domains):
    quiet, noisy = make_state(), make_state()
    noisy.model.embedder = nn.Sequential(noisy.model.embedder, nn.Dropout(0.5))
    rng = torch.get_rng_state()
    values = [Measurements(s, domains, config()).after_epoch(s) for s in (quiet, noisy)]
    assert values[0] == values[1]
    assert torch.equal(torch.get_rng_state(), rng)
    assert noisy.model.embedder.training
    assert all(p.grad is None for p in noisy.model.parameters())


@pytest.mark.parametrize("measure", [6, 8])
def test_a_limit_leaves_the_same_samples_for_every_trial(make_state, domains, measure):
    def seen(seed: int) -> tuple[dict[str, float], torch.Tensor]:
        state, inputs = make_state(), []
        state.seed = seed
        state.model.embedder.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
        return Measurements(state, domains, config(measure=measure)).after_epoch(state), inputs

    values, inputs = seen(0)
    others, again = seen(1)
    assert values == others
    assert [len(x) for x in inputs] == [measure, measure]
    assert all(torch.equal(x, inputs[0]) for x in (*inputs, *again))


def test_nothing_is_measured_where_nothing_was_asked_or_there_is_no_source(make_state, domains):
    state = make_state()
    alone = Domains(target=domains.target)
    for given, settings in ((domains, {"measure": 0}), (alone, {}), (domains, {"epochs": 0})):
        assert Measurements(state, given, config(**settings)).after_epoch(state) == {}


def test_otdd_is_left_out_where_no_two_samples_share_a_class(make_state, domains):
    state, alone = make_state(), classified(domains, np.arange(10))
    measured = Measurements(state, alone, config()).after_epoch(state)
    assert set(measured) == {"mmd", "euclidean", "mmd_start", "euclidean_start"}


def test_features_that_are_not_finite_have_no_distance(make_state, domains):
    state = make_state()
    with torch.no_grad():
        next(state.model.embedder.parameters()).fill_(torch.inf)
    measured = Measurements(state, domains, config()).after_epoch(state)
    assert all(np.isnan(value) for value in measured.values())
    assert set(measured) == NAMES | {f"{name}_start" for name in NAMES}
