import numpy as np
import pytest

from trainables.tasks.pde_bench.initial_conditions import (
    FourierSpec,
    normals,
    num_cosines,
    rescaled,
    smooth_fields,
    uniforms,
)
from trainables.tasks.problem import cell_centres


def fields(spec: FourierSpec, count: int = 200):
    return spec.fields(uniforms(np.arange(count), seed=0, count=spec.num_uniforms))


def test_fields_are_periodic():
    spec = FourierSpec(p_window=0.0, length=2.0)
    x = np.linspace(-1, 1, 50)
    field = fields(spec)
    np.testing.assert_allclose(field(x), field(x + 2.0), atol=1e-12)


def test_waves_that_were_not_drawn_leave_a_constant_offset():
    spec = FourierSpec(p_absolute=0.0, p_window=0.0)
    field = fields(spec)
    expected = np.where(field.harmonic == 0, field.amplitude * np.sin(field.phase), 0).sum(axis=1)
    mean = field(cell_centres(64, 0.0, 1.0)).mean(axis=1)
    np.testing.assert_allclose(mean, field.sign * expected, atol=1e-12)
    assert np.abs(mean).mean() == pytest.approx(0.48, abs=0.1)


def test_harmonics_are_multiples_of_their_wave_by_how_often_it_was_drawn():
    field = fields(FourierSpec(num_waves=4, num_drawn=2))
    counts = field.harmonic / np.arange(1, 5)
    assert (counts.sum(axis=1) == 2).all()
    assert set(np.unique(counts)) == {0.0, 1.0, 2.0}


def test_absolute_values_signs_and_windows_occur_as_often_as_asked():
    field = fields(FourierSpec(p_absolute=0.1, p_window=0.5), count=5000)
    assert field.absolute.mean() == pytest.approx(0.1, abs=0.02)
    assert field.windowed.mean() == pytest.approx(0.5, abs=0.04)
    assert field.sign.mean() == pytest.approx(0.0, abs=0.06)
    values = field(cell_centres(64, 0.0, 1.0))
    absolute = field.absolute > 0
    assert (values[absolute] * field.sign[absolute, None] >= 0).all()


def test_a_window_lets_nothing_through_outside_its_edges():
    field = fields(FourierSpec(p_window=1.0))
    assert np.abs(field(np.array([0.0, 0.01, 0.99]))).max() < 1e-6
    assert ((field.edges[:, 0] < 0.46) & (field.edges[:, 1] > 0.54)).all()


def test_parameters_are_enough_to_evaluate_on_another_grid():
    field = fields(FourierSpec())
    again = type(field)(**field.params(), length=1.0)
    x = cell_centres(33, 0.0, 1.0)
    np.testing.assert_array_equal(again(x), field(x))


def test_rescaled_fields_fill_zero_to_one_on_the_reference():
    reference = cell_centres(256, 0.0, 1.0)
    field = fields(FourierSpec())
    values = rescaled(field, reference, reference=reference)
    np.testing.assert_allclose(values.min(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(values.max(axis=1), 1, atol=1e-15)


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


def test_a_smooth_field_is_its_sum_of_cosines_of_mean_variance_one():
    waves, x = 1.5, cell_centres(40, 0.0, 1.0)
    count = num_cosines(waves)
    drawn = normals(np.arange(3000), seed=0, shape=(count, count))
    fields = smooth_fields(drawn, x, waves=waves)
    assert (fields**2).mean() == pytest.approx(1, abs=0.03)
    k = np.arange(count)
    weight = np.exp(-(k[:, None] ** 2 + k**2) / (2 * waves**2))
    share = 2.0 ** ((k[:, None] > 0) / 2 + (k > 0) / 2)  # a cosine has a mean square of one half
    expected = sum(
        (weight * share * drawn[0])[i, j] * np.outer(np.cos(np.pi * i * x), np.cos(np.pi * j * x))
        for i in k
        for j in k
    ) / np.linalg.norm(weight)
    np.testing.assert_allclose(fields[0], expected, atol=1e-12)
