"""The probe: what it finds in features, and that an untouched body has no distortion."""

import numpy as np
import pytest
import torch

from trainables.errors import ConfigError
from trainables.runtime.training import Training
from trainables.training.probe import check_probe, probe_error, source_error


@pytest.fixture
def training(trials) -> Training:
    return trials.begin(trials.spec("mona", "2d"))


def test_separated_classes_are_told_apart_and_random_labels_are_not():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 4
    features = np.eye(4, 8)[labels] * 6 + rng.normal(size=(600, 8))
    assert probe_error(features, labels) < 0.02
    error = probe_error(features, rng.permutation(labels))
    assert error == pytest.approx(0.75, abs=0.1)  # three standard errors of 180 samples


def test_a_probe_is_judged_by_samples_that_it_was_not_fitted_to():
    """With more features than samples it tells all of its own apart, and has learned nothing."""
    features = np.random.default_rng(0).normal(size=(120, 200))
    assert probe_error(features, np.arange(120) % 2) > 0.25


def test_classes_too_small_to_be_split_are_left_out():
    labels = np.concatenate([np.arange(60) % 2, [2]])
    features = np.eye(3)[labels] + np.random.default_rng(0).normal(size=(61, 3)) / 9
    assert probe_error(features, labels) == 0


@pytest.mark.slow
def test_an_untouched_body_has_no_distortion_and_one_that_was_destroyed_has(trials, training):
    model, source = training.state.model, training.domains.source
    before = source_error(model, source)
    again = source_error(trials.begin(trials.spec("mona", "2d", seed=1)).state.model, source)
    assert again == before < 0.6
    with torch.no_grad():
        for parameter in model.body.parameters():
            parameter.zero_()
    assert source_error(model, source) > before + 0.2


def test_what_it_needs_is_said_before_it_is_fitted(training):
    with pytest.raises(ConfigError, match=r"refine.probe_every: .* no proxy"):
        check_probe(None, "refine.probe_every")
