"""Arguments of benchmarks: the task and the size that test_stage_sharing.py measures."""

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the arguments, which pytest knows where a file of this folder is given to it."""
    group = parser.getgroup("benchmarks")
    group.addoption("--task", help="a task of PDEBench")
    group.addoption("--samples", type=int, help="samples of the task, over its splits")
    group.addoption("--resolution", type=int, help="points along each axis")
    group.addoption("--rounds", type=int, help="turns of each variant")
    group.addoption("--sampled", type=int, help="trials besides the preset and the control")


@pytest.fixture
def one_thread():
    """Let torch use one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
