"""Finished sweeps, small and larger, that tests only read."""

import pytest

from tests.ledgers import finished_ledger


@pytest.fixture(scope="session")
def ledger(tmp_path_factory):
    return finished_ledger(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def large_ledger(tmp_path_factory):
    return finished_ledger(tmp_path_factory.mktemp("large"), num_trials=24)
