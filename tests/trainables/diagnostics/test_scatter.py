"""The plane of source, target and mixtures: the leading components, and whose points they are."""

import numpy as np
import pytest
import torch

from trainables.diagnostics.intermediate import mixture_means, pair, random_scores
from trainables.diagnostics.scatter import plane, scatter


def test_the_plane_is_that_of_the_two_largest_singular_values():
    features = np.random.default_rng(0).normal(size=(40, 6)) * [5, 1, 3, 1, 1, 1]
    points, shown = plane(features)
    centred = features - features.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(centred @ directions[:2].T))
    assert shown == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())


def test_features_on_a_plane_keep_their_distances_and_all_is_shown():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(20, 2))
    basis = np.linalg.qr(rng.normal(size=(7, 2)))[0]
    points, shown = plane(flat @ basis.T + 3)
    distances = (np.linalg.norm(p[:, None] - p, axis=-1) for p in (points, flat))
    np.testing.assert_allclose(*distances, atol=1e-12)
    assert shown == pytest.approx(1)


def test_each_kind_has_its_points_and_classes(make_state, task, source):
    model = make_state().model
    found = scatter(model, task, source, random_scores(0), most=8)
    pairs = pair(task, source, 8)
    assert [*found.kind] == ["source"] * 8 + ["target"] * 8 + ["mix"] * 8
    mixed = mixture_means(model, task, source, pairs, random_scores(0), shares=[0.0, 0.5])
    features = torch.cat([source.features[pairs.source], *mixed])
    np.testing.assert_allclose(found.points, plane(features.double().numpy())[0])
    labels = (pairs.source_classes, pairs.target_classes, pairs.target_classes)
    assert found.label.tolist() == torch.cat(labels).tolist()
    assert 0 < found.shown <= 1
