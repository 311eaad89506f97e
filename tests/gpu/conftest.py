"""The table of what was measured on a GPU, printed after the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.gpu.measures import Load, save_roberta
from tests.support.tiny_trials import Trials, make_trials

TABLE = pytest.StashKey[list[tuple[str, str, str]]]()

Row = Callable[[str, str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = []


@pytest.fixture
def row(pytestconfig: pytest.Config) -> Row:
    """Add a row to the table: what was measured, the value, and the aim."""
    return lambda *cells: pytestconfig.stash[TABLE].append(cells)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash[TABLE]
    if not rows:
        return
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    cuda = torch.version.cuda or torch.version.hip
    terminalreporter.section(f"measured on {card}, torch {torch.__version__}, CUDA {cuda}")
    widths = [max(len(cells[column]) for cells in rows) for column in range(3)]
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        terminalreporter.write_line("  ".join(padded).rstrip())


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Small trials of every method on the GPU, if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return make_trials(tmp_path_factory.mktemp("trials"), device)


@pytest.fixture(scope="session")
def roberta_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa-base with random weights, for 512 tokens."""
    return save_roberta(tmp_path_factory.mktemp("roberta"), Load(batch=1, tokens=512))
