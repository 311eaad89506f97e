"""Peak memory: what was held counts though it is gone, and is forgotten for the next trial."""

import sys

import numpy as np
import pytest
import torch

from trainables.runtime import memory
from trainables.runtime.memory import count_anew, peak_bytes

CPU = torch.device("cpu")
LARGE = 2**27  # bytes


def hold_for_a_while(num_bytes: int) -> None:
    np.ones(num_bytes // 8).sum()


@pytest.mark.skipif(sys.platform != "linux", reason="a process forgets its peak on Linux alone")
def test_what_was_held_counts_until_the_next_trial_begins():
    count_anew(CPU)
    before = peak_bytes(CPU)
    hold_for_a_while(LARGE)
    assert peak_bytes(CPU) > before + 0.8 * LARGE
    count_anew(CPU)
    assert peak_bytes(CPU) < before + 0.5 * LARGE


def test_without_linux_the_process_tells_what_it_ever_held(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nowhere")
    count_anew(CPU)
    hold_for_a_while(LARGE)
    assert LARGE < peak_bytes(CPU) < 2**40
