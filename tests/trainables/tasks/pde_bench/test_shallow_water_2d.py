from itertools import pairwise

import numpy as np
import pytest

from trainables.errors import ConfigError
from trainables.tasks.pde_bench.shallow_water_2d import (
    COMPAT,
    HALF_WIDTH,
    HARD,
    RANK,
    SmoothSurface,
    evolve_quarter,
    evolve_radial,
    unfolded,
)
from trainables.tasks.problem import cell_centres


def smooth_hump(r):
    return 1 + 0.3 * np.exp(-4 * r**2)


def test_a_lake_at_rest_stays_at_rest():
    lake = np.full((1, 16, 16), 1.7)
    np.testing.assert_allclose(evolve_quarter(lake, size=2.5, time=1.0), lake, rtol=1e-13)
    np.testing.assert_allclose(evolve_radial(lake[:, 0], radius=3.0, time=1.0), 1.7, rtol=1e-13)


def test_water_is_conserved_until_it_leaves():
    r = cell_centres(48, 0.0, 2.5)
    dam = np.where(np.hypot(r[:, None], r) < 0.6, 2.0, 1.0)[None]
    end = evolve_quarter(dam, size=2.5, time=1.0)
    assert end.sum() == pytest.approx(dam.sum(), rel=1e-12)

    ring = cell_centres(128, 0.0, 3.0)
    dams = np.where(ring < 0.6, 2.0, 1.0)[None]
    after = evolve_radial(dams, radius=3.0, time=1.0)
    assert (after * ring).sum() == pytest.approx((dams * ring).sum(), rel=1e-12)


def test_the_plane_is_bit_symmetric_under_every_symmetry_of_the_square():
    samples = COMPAT.generate(np.arange(4), seed=0, resolution=32)
    for h in (samples.x, samples.y):
        np.testing.assert_array_equal(h, h.swapaxes(-1, -2))
        np.testing.assert_array_equal(h, h[..., ::-1])
        np.testing.assert_array_equal(h, h[..., ::-1, :])


def test_two_dimensions_agree_with_the_radius():
    r = cell_centres(64, 0.0, 2.5)
    distance = np.hypot(r[:, None], r)
    plane = evolve_quarter(smooth_hump(distance)[None], size=2.5, time=1.0)[0]
    ring = cell_centres(1024, 0.0, 4.0)
    radial = evolve_radial(smooth_hump(ring)[None], radius=4.0, time=1.0)[0]
    expected = np.interp(distance, ring, radial)
    assert np.linalg.norm(plane - expected) / np.linalg.norm(expected - 1) < 2e-2


def test_a_smooth_hump_converges_with_second_order():
    def end(m):
        return evolve_radial(smooth_hump(cell_centres(m, 0.0, 3.0))[None], radius=3.0, time=0.5)[0]

    errors = [
        np.abs(end(m) - end(2 * m).reshape(-1, 2).mean(axis=1)).mean() for m in (64, 128, 256)
    ]
    assert (np.log2(np.divide(errors[:-1], errors[1:])) > 1.5).all(), f"{errors=}"


def test_equal_pictures_of_a_dam_have_equal_solutions():
    samples = COMPAT.generate(np.arange(40), seed=0, resolution=32)
    pictures = samples.x.reshape(40, -1)
    distinct, which = np.unique(pictures, axis=0, return_inverse=True)
    assert len(distinct) < 20  # few pictures, as the published data have
    for picture in range(len(distinct)):
        ends = samples.y[which == picture]
        assert (ends == ends[:1]).all()


def test_an_odd_grid_has_no_quarters():
    with pytest.raises(ConfigError, match="even resolution, but got 33"):
        COMPAT.generate(np.arange(1), seed=0, resolution=33)


def test_offset_dams_are_all_different_and_follow_their_centre():
    samples = HARD.generate(np.arange(30), seed=0, resolution=32)
    assert len(np.unique(samples.x.reshape(30, -1), axis=0)) == 30
    x = cell_centres(32, -2.5, 2.5)
    excess = samples.x[:, 0] - 1
    centre = (
        np.stack([(excess * x[:, None]).sum(axis=(1, 2)), (excess * x).sum(axis=(1, 2))], axis=1)
        / excess.sum(axis=(1, 2))[:, None]
    )
    np.testing.assert_allclose(centre, samples.params["centre"], atol=0.05)


def test_a_dam_s_picture_holds_its_water_whatever_the_grid():
    for resolution in (32, 64):
        samples = HARD.generate(np.arange(10), seed=0, resolution=resolution)
        water = (samples.x - 1).sum(axis=(1, 2, 3)) * (5 / resolution) ** 2
        exact = np.pi * samples.params["radius"] ** 2 * (samples.params["depth"] - 1)
        np.testing.assert_allclose(water, exact, rtol=0.06)


def test_water_between_walls_is_the_quarter_of_a_plane_with_its_mirror_images():
    m = 16
    x = cell_centres(m, 0.0, HALF_WIDTH)
    quarter = smooth_hump(np.hypot(x[:, None] - 0.4, x - 0.8))[None]  # still at the open sides
    plane = np.pad(unfolded(quarter), ((0, 0), (m, 0), (m, 0)), mode="edge")
    ends = [
        evolve_quarter(h, size=h.shape[-1] * HALF_WIDTH / m, time=RANK.end_time)
        for h in (plane, quarter)
    ]
    np.testing.assert_allclose(ends[0][:, 2 * m :, 2 * m :], ends[1], rtol=1e-6)
    assert np.abs(ends[1] - quarter).max() > 0.05


def test_a_smooth_surface_is_positive_and_its_logarithm_has_its_deviation():
    x = RANK.generate(np.arange(300), seed=0, resolution=8).x
    assert x.min() > 0
    assert np.log(x).std() == pytest.approx(RANK.deviation, rel=0.05)


def test_the_flow_from_a_smooth_surface_converges():
    sides = (16, 32, 64)
    calm = SmoothSurface(deviation=0.7, end_time=0.25)  # before bores form
    solutions = [calm.generate(np.arange(2), seed=0, resolution=side).y for side in sides]
    errors = [
        np.abs(fine.reshape(2, side, 2, side, 2).mean(axis=(2, 4)) - coarse[:, 0]).mean()
        for side, (coarse, fine) in zip(sides, pairwise(solutions), strict=False)
    ]
    assert (-np.diff(np.log2(errors)) > 1).all(), f"{errors=}"
