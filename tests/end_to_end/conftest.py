"""Fixtures of end-to-end tests: a shell whose sweeps run on the Ray head of the session."""

import pytest

from tests.support.command import Shell
from tests.support.servers.cluster import shell_on


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    """A folder of the module, whose commands find the session's Ray head by themselves."""
    return shell_on(ray_head, tmp_path_factory.mktemp("work"), data_home)
