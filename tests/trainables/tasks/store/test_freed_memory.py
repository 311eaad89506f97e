"""Freed arrays lend their pages to the next ones, so that the kernel need not clear them again."""

import platform
import resource
from multiprocessing import get_context

import numpy as np
import pytest

from trainables.tasks.store.freed_memory import keep_freed_memory

ROUNDS, ARRAYS, SIZE = 50, 8, 2**20


def pages_cleared(answers) -> None:
    keep_freed_memory()

    def step() -> None:
        arrays = [np.ones(SIZE, dtype=np.uint8) for _ in range(ARRAYS)]
        assert len(arrays) == ARRAYS

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        step()
    answers.put(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries take no notice")
def test_memory_that_was_freed_is_used_again():
    spawn = get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=pages_cleared, args=(answers,))
    process.start()
    cleared = answers.get(timeout=60)
    process.join(timeout=60)
    touched = ROUNDS * ARRAYS * SIZE / resource.getpagesize()
    assert cleared < touched / 10, f"{cleared} of {touched:.0f} pages"
