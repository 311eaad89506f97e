"""One home for all contract tests: backbones are saved, data generated and sources read once."""

import pytest

from tests.support.tiny_trials import Trials, make_trials


@pytest.fixture(scope="session")
def trials(tmp_path_factory) -> Trials:
    return make_trials(tmp_path_factory.mktemp("contracts"))
