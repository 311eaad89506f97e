"""A plugin of pytest: the contract tests of `trainables.testing` as fixtures.

    def test_my_method(check_method):
        check_method(MY_METHOD)

Each fixture is a function with a new folder for data and caches; `home=FOLDER` names another one.

Pytest loads this module at every start where sweeper is installed. Therefore a fixture imports
torch only when a test asks for it. The module lies outside of `trainables`, since jaxtyping's
plugin refuses to check a package that is imported before it.
"""

from collections.abc import Callable
from functools import partial

import pytest

Check = Callable[..., object]


@pytest.fixture
def check_method(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Return `trainables.testing.check_method`: train a method, and resume it at every epoch."""
    from trainables import testing

    return partial(testing.check_method, home=tmp_path_factory.mktemp("sweeper"))


@pytest.fixture
def check_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Return `trainables.testing.check_benchmark`: generate its tasks, and train on them."""
    from trainables import testing

    return partial(testing.check_benchmark, home=tmp_path_factory.mktemp("sweeper"))


@pytest.fixture
def check_backbone(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Return `trainables.testing.check_backbone`: check shapes, roles, copies and gradients."""
    from trainables import testing

    return partial(testing.check_backbone, home=tmp_path_factory.mktemp("sweeper"))
