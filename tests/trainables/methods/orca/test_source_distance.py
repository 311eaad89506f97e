"""The distance that an alignment minimises: against which source samples it is taken."""

import torch

from trainables.distances.mmd import mmd
from trainables.distances.otdd import otdd, prepare
from trainables.methods.orca.config import AlignConfig
from trainables.methods.orca.source_distance import SourceDistance
from trainables.seeding import generator
from trainables.sources.source import balanced_choice


def test_mmd_is_taken_against_as_many_source_samples_drawn_anew_each_time(source):
    features = torch.randn(5, 32, generator=generator(0, "features"))
    config = AlignConfig(distance="mmd", source_per_class=3)
    distance = SourceDistance(source, config, torch.device("cpu"))
    rng, again = generator(1, "source"), generator(1, "source")
    chosen = source.features[balanced_choice(source.labels, 3)]
    values = [distance(features, torch.zeros(5, dtype=torch.int64), rng) for _ in range(2)]
    for value, converged in values:
        drawn = torch.randperm(9, generator=again)[:5]
        torch.testing.assert_close(value, mmd(chosen[drawn], features))
        assert converged
    assert values[0] != values[1]


def test_otdd_is_taken_against_all_of_the_choice_and_draws_nothing(source):
    features = torch.randn(6, 32, generator=generator(0, "features"))
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    config = AlignConfig(source_per_class=3)
    distance = SourceDistance(source, config, torch.device("cpu"))
    rng = generator(1, "source")
    before = rng.get_state()
    value, converged = distance(features, labels, rng)
    chosen = balanced_choice(source.labels, 3)
    statistics = prepare(source.features[chosen], source.labels[chosen])
    torch.testing.assert_close(value, otdd(statistics, features, labels).value)
    assert converged
    assert torch.equal(rng.get_state(), before)


def test_two_choices_of_one_source_are_told_apart(source):
    features, labels = torch.randn(4, 32, generator=generator(0, "features")), torch.zeros(4).long()
    values = {
        SourceDistance(source, AlignConfig(source_per_class=n), torch.device("cpu"))(
            features, labels, generator(0, "source")
        )[0].item()
        for n in (2, 3, 4)
    }
    assert len(values) == 3
