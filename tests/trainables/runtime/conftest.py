"""Trials of tiny networks, trained once for all tests of a module."""

from collections.abc import Callable

import pytest

from tests.support.trained_models import Trained, train_tiny


@pytest.fixture(scope="module")
def train(trials, tmp_path_factory) -> Callable[..., Trained]:
    """Train a tiny network by fine-tuning on a task, once for all tests."""
    done: dict[tuple[str, str, str], Trained] = {}

    def run(task: str, head: str = "linear", precision: str = "fp32") -> Trained:
        key = task, head, precision
        if key not in done:
            done[key] = train_tiny(trials, *key, tmp_path_factory.mktemp("trial") / "refine-0002")
        return done[key]

    return run
