"""The small trial, target and source of the stages' tests."""

from tests.trainables.stages.conftest import (  # noqa: F401
    backbone,
    domains,
    home,
    make_state,
    source,
    task,
)
