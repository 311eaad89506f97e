import numpy as np

from trainables.tasks.pde_bench.streams import normals, uniforms


def test_a_sample_s_draws_depend_on_seed_and_index_alone():
    whole = uniforms(np.arange(10), seed=3, count=5)
    np.testing.assert_array_equal(uniforms(np.array([7, 2]), seed=3, count=5), whole[[7, 2]])
    assert not np.array_equal(uniforms(np.arange(10), seed=4, count=5), whole)


def test_asking_for_more_numbers_keeps_the_first():
    few, many = (uniforms(np.arange(4), seed=0, count=count) for count in (3, 8))
    np.testing.assert_array_equal(few, many[:, :3])


def test_draws_have_the_distribution_that_they_name():
    uniform = uniforms(np.arange(2000), seed=0, count=10)
    normal = normals(np.arange(2000), seed=0, shape=(2, 5))
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(uniform.var() - 1 / 12) < 0.002
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.02
    assert abs(np.corrcoef(uniform[:-1, 0], uniform[1:, 0])[0, 1]) < 0.06  # between neighbours
