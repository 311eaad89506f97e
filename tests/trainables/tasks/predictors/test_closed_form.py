"""Closed forms and the coarse solver, against the generators' own solutions."""

import numpy as np
import pytest

from trainables.spec import DataSpec
from trainables.tasks.generation import Generation
from trainables.tasks.pde_bench.advection_1d import shifted
from trainables.tasks.predictors import CannotApply, Setting
from trainables.tasks.predictors.closed_form import ClosedForm, remaining
from trainables.tasks.predictors.coarse_solver import CoarseSolver
from trainables.tasks.predictors.isotropic_filter import IsotropicFilter
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split


def splits(name: str, samples: int = 80, resolution: int = 64) -> dict[str, Split]:
    """Return the generated splits of a task, without its random numbers."""
    data = Generation.of(f"pdebench/{name}", DataSpec(samples=samples, resolution=resolution))
    made = {part: data.generate(rows) for part, rows in data.indices().items()}
    return {
        part: Split(x=each.x.astype(np.float32), y=each.y.astype(np.float32))
        for part, each in made.items()
    }


def error(kind, name: str, samples: int = 80, resolution: int = 64) -> float:
    """Return the test value of a predictor on a generated task that is not standardised."""
    parts = splits(name, samples, resolution)
    setting = Setting(info=TASKS[f"pdebench/{name}"], is_generated=True)
    return kind(setting).fit(parts["train"], parts["val"]).score(parts["test"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("burgers_1d", 1e-6),  # the slowest wave has decayed by 1e-11
        ("burgers_1d@hard", 1e-6),  # the transform of Hopf and Cole
        ("burgers_1d@rank", 1e-3),
        ("advection_1d", 2e-3),  # splines between points; the solution itself is exact
        ("advection_1d@hard", 0.2),  # windows are narrower than these points
        ("diffusion_reaction_1d", 2e-3),  # growth and diffusion do not commute
        ("diffusion_sorption_1d", 1e-4),
        ("shallow_water_2d", 1e-3),
    ],
)
def test_a_closed_form_is_the_generators_solution(name, bound):
    assert error(ClosedForm, name) < bound


def test_a_shift_by_whole_cells_is_exact():
    x = np.random.default_rng(0).normal(size=(3, 1, 40)).astype(np.float32)
    np.testing.assert_allclose(shifted(x, 0.25), np.roll(x, 10, axis=-1), atol=1e-6)
    np.testing.assert_allclose(shifted(shifted(x, 0.3), 0.7), x, atol=0.7)
    assert shifted(np.ones_like(x), 0.123) == pytest.approx(1, abs=1e-6)


def test_the_slowest_wave_decays_as_the_heat_equation_says():
    assert remaining(1 / np.pi, 2.0) == pytest.approx(np.exp(-8 * np.pi), rel=1e-12)
    assert remaining(0.5, 1.0) == pytest.approx(2.7e-9, rel=0.02)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("advection_1d@rank", "no formula is known"),
        ("diffusion_reaction_1d@hard", "keeps 0.96 of its size"),
        ("diffusion_reaction_1d@rank", "keeps 0.96 of its size"),
        ("diffusion_sorption_1d@hard", "a field, and not one number"),
        ("diffusion_sorption_1d@rank", "a field, and not one number"),
        ("shallow_water_2d@hard", "no formula is known"),
        ("darcy_2d", "no formula is known"),
    ],
)
def test_a_formula_that_does_not_hold_says_why(name, reason):
    with pytest.raises(CannotApply, match=reason):
        error(ClosedForm, name, samples=10, resolution=16)


def test_a_diffusion_reaction_in_other_frames_has_the_formula_of_the_scored_one():
    assert error(ClosedForm, "diffusion_reaction_1d@orca") < 2e-3


@pytest.mark.slow
def test_the_isotropic_filter_beats_the_mean_where_the_input_hides_a_field():
    """A perfect predictor of v(5) from u(0) would have about 0.54."""
    found = error(IsotropicFilter, "diffusion_reaction_2d", samples=30, resolution=32)
    assert 0.5 < found < 0.8


@pytest.mark.parametrize("grid", [(32,), (12, 16)])
def test_an_isotropic_filter_is_found_again(grid):
    """A filter of |k| alone, applied in the cosine basis, is recovered from few samples."""
    from scipy import fft

    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 1, *grid)).astype(np.float32)
    sides = np.meshgrid(*(np.arange(side) for side in grid), indexing="ij")
    gain = np.exp(-0.1 * np.round(np.sqrt(sum(side.astype(float) ** 2 for side in sides))))
    axes = range(2, x.ndim)
    y = fft.idctn(gain * fft.dctn(x, axes=axes, norm="ortho"), axes=axes, norm="ortho")
    parts = [Split(x=x[rows], y=y[rows]) for rows in (slice(20), slice(20, 25), slice(25, 30))]
    info = TASKS["pdebench/darcy_2d" if len(grid) == 2 else "pdebench/advection_1d"]
    fitted = IsotropicFilter(Setting(info=info)).fit(*parts[:2])
    assert fitted.score(parts[2]) < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("advection_1d", 0.02),
        ("advection_1d@rank", 0.1),
        ("burgers_1d", 1e-5),
        ("burgers_1d@hard", 0.1),
        ("burgers_1d@rank", 0.1),
        ("diffusion_reaction_1d", 1e-3),
        ("diffusion_reaction_1d@rank", 0.05),
        ("diffusion_sorption_1d", 0.05),
        ("shallow_water_2d", 0.05),
        ("shallow_water_2d@hard", 0.06),
        ("shallow_water_2d@rank", 0.12),
        ("darcy_2d@hard", 0.2),
        ("darcy_2d@rank", 0.15),
        ("diffusion_reaction_2d@rank", 0.2),
    ],
)
def test_a_coarse_solution_is_near_the_fine_one(name, bound):
    resolution = 64 if "2d" in name else 256
    assert error(CoarseSolver, name, samples=10, resolution=resolution) < bound


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"), [("diffusion_reaction_2d", r"hides v\(0\)"), ("darcy_2d", r"hides u\(0\)")]
)
def test_a_solver_cannot_begin_from_a_hidden_field(name, reason):
    with pytest.raises(CannotApply, match=reason):
        error(CoarseSolver, name, samples=10, resolution=32)


def test_a_solver_is_for_tasks_with_an_equation_and_generated_data():
    parts = splits("advection_1d", samples=10)
    labels = Split(x=parts["train"].x, y=np.arange(len(parts["train"])) % 4)
    with pytest.raises(CannotApply, match="no solver is known for the outputs, a classification"):
        CoarseSolver(Setting(info=TASKS["nasbench360/ecg"])).fit(labels, labels)
    with pytest.raises(CannotApply, match="not those of a solver here"):
        CoarseSolver(Setting(info=TASKS["pdebench/advection_1d"])).fit(parts["train"], parts["val"])
    with pytest.raises(CannotApply, match="no whole coarse grid"):
        error(CoarseSolver, "advection_1d", samples=10, resolution=20)
