import dataclasses

import numpy as np
import pytest

from trainables.tasks.pde_bench.advection_1d import COMPAT, HARD


def test_a_shift_by_whole_periods_is_the_identity():
    for beta in (0.0, 0.5, -1.5):
        samples = dataclasses.replace(COMPAT, beta=beta).generate(
            np.arange(50), seed=0, resolution=64
        )
        np.testing.assert_array_equal(samples.y, samples.x)


@pytest.mark.parametrize("problem", [COMPAT, HARD])
def test_a_shift_by_whole_cells_moves_the_samples(problem):
    samples = dataclasses.replace(problem, beta=0.25 / 2).generate(
        np.arange(50), seed=0, resolution=64
    )
    np.testing.assert_allclose(samples.y, np.roll(samples.x, 16, axis=-1), atol=1e-12)


def test_the_published_case_moves_by_four_fifths_of_the_domain():
    samples = COMPAT.generate(np.arange(20), seed=0, resolution=100)
    np.testing.assert_allclose(samples.y, np.roll(samples.x, 80, axis=-1), atol=1e-9)
