"""A folder to be in, a SLURM cluster, and finished sweeps that tests only read."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.ledger import Ledger
from tests.support.compared_ledgers import Scores, write
from tests.support.fake_slurm import FakeSlurm, fake_slurm
from tests.support.ledgers import finished_ledger


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, empty, with a SWEEPER_HOME in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def slurm_of(tmp_path, monkeypatch) -> Callable[..., FakeSlurm]:
    """Put commands of a SLURM cluster into PATH; the options are those of `fake_slurm`."""

    def make(**options: Any) -> FakeSlurm:
        made = fake_slurm(tmp_path / "bin", **options)
        monkeypatch.setenv("PATH", made.path)
        return made

    return make


@pytest.fixture
def fake(slurm_of) -> FakeSlurm:
    """A SLURM cluster of four kinds of nodes, which takes every job."""
    return slurm_of()


@pytest.fixture(scope="session")
def ledger(tmp_path_factory):
    return finished_ledger(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def large_ledger(tmp_path_factory):
    return finished_ledger(tmp_path_factory.mktemp("large"), num_trials=24)


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep of the studies given."""
    numbers = itertools.count()

    def make(*studies: Scores, name: str | None = None, **options) -> Ledger:
        name = name or f"sweep_{next(numbers)}"
        return write(tmp_path / name, name, studies, **options)

    return make


@pytest.fixture
def printed(tmp_path, monkeypatch, command):
    """Return what a command prints about the sweeps of this test, on one line."""
    monkeypatch.setenv("SWEEPER_SWEEPS", str(tmp_path))
    return lambda *words: " ".join(command(*words).out.split())
