"""Addresses of trained models that cannot be loaded."""

import pytest

import sweeper
from sweeper.commands.models import artifacts_of
from sweeper.errors import NotFound, UsageError


@pytest.mark.parametrize("place", ["none", "", "runs:/", "runs:///", "models:/", "s3://bucket/x"])
def test_a_place_that_is_none_is_refused_with_the_ways(place, here):
    with pytest.raises(UsageError, match=r"exported model"):
        sweeper.load_model(place)


@pytest.mark.slow  # MLflow sets up a database
def test_an_unknown_run_is_not_found(new_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store())
    for place in ("runs:/0123", "runs:/0123/model", "models:/none/1"):
        with pytest.raises(NotFound, match="no such artifacts"):
            sweeper.load_model(place)


def test_a_run_alone_is_its_checkpoint():
    assert artifacts_of("runs:/0a") == artifacts_of("runs:/0a/") == "runs:/0a/checkpoints"
    assert artifacts_of("runs:/0a/model") == "runs:/0a/model"
    assert artifacts_of("models:/m-0a") == "models:/m-0a"
