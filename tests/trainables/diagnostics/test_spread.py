"""An OTDD's mean and deviation over subsets: disjoint ones, the first of which epochs measure."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.diagnostics.spread import otdd_spread
from trainables.distances.otdd import otdd, prepare
from trainables.stages.configs import MeasuredConfig
from trainables.stages.measurements import (
    Measurements,
    classes,
    mean_tokens,
    source_order,
    target_order,
)


def values(model, task, source, n: int) -> list[float]:
    found, taken = [], []
    for start in (0, n, 2 * n):
        drawn, chosen = target_order(task)[start:][:n], source_order(source)[start:][:n]
        side = prepare(source.features[chosen], source.labels[chosen])
        target = mean_tokens(model, task.train.x, drawn)
        found.append(otdd(side, target, classes(task)[drawn]).value.item())
        taken += [*drawn.tolist()]
    assert len(set(taken)) == len(taken)
    return found


@pytest.fixture(autouse=True)
def few_classes(monkeypatch):
    """Two groups of outputs, so that a subset of four has one of two."""
    monkeypatch.setattr("trainables.stages.measurements.CLUSTERS", 2)


@pytest.fixture
def two_classes(source):
    return replace(source, labels=torch.arange(12) % 2, num_classes=2, content_hash="3" * 64)


def test_it_is_of_three_disjoint_subsets(make_state, task, two_classes):
    model = make_state().model
    found = otdd_spread(model, task, two_classes, most=100)
    expected = values(model, task, two_classes, 3)
    assert found.n == 3
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.std == pytest.approx(np.std(expected, ddof=1), rel=1e-6)
    assert found.std > 0
    assert otdd_spread(model, task, two_classes, most=100) == found


def test_a_subset_alone_is_what_stages_record(make_state, domains, task, source):
    """The first one; here there are but two, and the mean of both less half their difference."""
    state = make_state()
    recorded = Measurements(
        state, domains, MeasuredConfig.model_validate({"epochs": 1, "measure": 5})
    )
    first = recorded.after_epoch(state)["otdd_exact"]
    found = otdd_spread(state.model, task, source, most=5, subsets=2)
    half = found.std / np.sqrt(2)
    assert first == pytest.approx(found.mean + half) or first == pytest.approx(found.mean - half)
