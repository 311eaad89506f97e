"""The folder of real data for tests: beside the repository, or named by SWEEPER_TEST_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import ROOT

FOLDER = Path(os.environ.get("SWEEPER_TEST_DATA", ROOT.parent / "shared" / "data"))


def need(name: str) -> Path:
    """Return a file of real data; skip the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no real data: {path} is absent; SWEEPER_TEST_DATA names another folder")
    return path


def ecg() -> tuple[list[np.ndarray], list[str]]:
    """Return 300 labelled records of PhysioNet's challenge of 2017, and their letters."""
    stored = np.load(need("ecg_physionet2017_sample300.npz"))
    series = np.split(stored["signal"].astype(np.float64), stored["offsets"][1:-1])
    return series, [str(letter) for letter in stored["label"]]
