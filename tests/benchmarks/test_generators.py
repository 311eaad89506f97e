"""The rate of each generator at paper size: its samples a second of one core.

A rate is of processor time, for a slice of the paper's samples at the paper's resolution. Tests of
`trainables/tasks/pde_bench/` compare the generators with references.
"""

import time
from importlib import import_module

import numpy as np
import pytest

from trainables.tasks.chunks import keep_freed_memory

pytestmark = pytest.mark.benchmark

# name: points a side in the paper, samples of the slice
CASES = {
    "advection_1d": (1024, 1024),
    "burgers_1d": (1024, 256),
    "diffusion_reaction_1d": (1024, 256),
    "diffusion_sorption_1d": (1024, 32),
    "navier_stokes_1d": (1024, 32),
    "darcy_2d": (128, 8),
    "shallow_water_2d": (128, 1000),
    "diffusion_reaction_2d": (128, 16),
}
PAPER = {"shallow_water_2d": 1000, "diffusion_reaction_2d": 1000}  # samples; 10,000 of the others


@pytest.mark.parametrize("name", CASES)
def test_the_rate_of_a_generator(name: str):
    points, count = CASES[name]
    problem = import_module(f"trainables.tasks.pde_bench.{name}").COMPAT
    keep_freed_memory()  # as `data generate` does
    start = time.process_time()
    for first in range(0, count, problem.chunk):
        chunk = np.arange(first, min(first + problem.chunk, count))
        problem.generate(chunk, seed=0, resolution=points)
    seconds = (time.process_time() - start) / count
    whole = PAPER.get(name, 10_000)
    print(
        f"\n{name} at {points}: {1 / seconds:.3g} samples a second of a core, by {count}; "
        f"{whole} take {whole * seconds:.3g} core-seconds"
    )
