import numpy as np
import pytest

from trainables.tasks.own.statistics import ChannelStatistics


def of(*blocks):
    statistics = ChannelStatistics(blocks[0][0].shape[1])
    for values, known in blocks:
        statistics.add(values, known)
    return statistics


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("grid", [(50,), (6, 7)])
def test_blocks_give_the_statistics_of_all_samples(offset, grid):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(90, 3, *grid)) * 5 + offset).astype("f4")
    x[40:] += 3  # blocks of different means
    found = of((x[:7], None), (x[7:60], None), (x[60:], None))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(found.mean, x.mean(axis=axes, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(found.std, x.std(axis=axes, dtype=float), rtol=1e-4)


def test_unknown_points_are_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, size=(40, 2, 30)).astype("f4")
    known = rng.random(x.shape) < 0.7
    known[:, 0, :5] = False
    spoiled = np.where(known, x, np.nan)
    found = of((spoiled[:9], known[:9]), (spoiled[9:], known[9:]))
    expected = [x[:, c][known[:, c]] for c in range(2)]
    np.testing.assert_allclose(found.mean, [values.mean() for values in expected], rtol=1e-5)
    np.testing.assert_allclose(found.std, [values.std() for values in expected], rtol=1e-5)


def test_bytes_have_statistics_too():
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
    found = of((x, None))
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.std, x.std(axis=(0, 2, 3)), rtol=1e-5)
