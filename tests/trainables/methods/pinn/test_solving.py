"""PINN: solutions from the input alone, the choice of iterations, and an interrupted trial."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.tiny_trials import same_weights, weights
from trainables.errors import ConfigError
from trainables.methods.pinn.equations import Equation
from trainables.methods.pinn.solver import Solver, SolverSettings, losses
from trainables.methods.registry import METHODS, can_halve
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.loading import prepare_task
from trainables.tasks.pde_bench.diffusion_reaction_1d import DiffusionReaction
from trainables.tasks.pde_bench.diffusion_sorption_1d import DiffusionSorption
from trainables.tasks.pde_bench.initial_conditions import FourierSpec

GENTLE = DiffusionReaction(
    nu=0.005, rho=5.0, end_time=0.2, initial=FourierSpec(p_absolute=0.0, p_window=0.0)
)
SMALL = {"epochs": 2, "iterations": 3, "width": 6, "layers": 2, "points": 8, "val_samples": 2}


def solver(problem=GENTLE, **settings) -> Solver:
    torch.manual_seed(0)
    usual = {"width": 16, "layers": 2, "waves": 2, "points": 32, "lr": 1e-2}
    weighted = {"initial_weight": 10.0, "boundary_weight": 10.0}
    made = Solver(
        Equation(problem), (0.0, 1.0), SolverSettings(**{**usual, **weighted, **settings})
    )
    made.iterations.fill_(5)
    return made


def samples(count: int = 3, resolution: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    made = GENTLE.generate(np.arange(count), seed=1, resolution=resolution)
    return torch.from_numpy(made.x).float(), torch.from_numpy(made.y).float()


@pytest.mark.slow
def test_a_solution_comes_near_the_generator_s_from_the_input_alone():
    x, y = samples(2, 32)
    made = solver(width=24, layers=3, points=64)
    made.iterations.fill_(400)
    with torch.inference_mode():
        found = made(x)
    error = (found - y).norm() / y.norm()
    assert error < 0.1 * (x - y).norm() / y.norm()


def test_the_loss_falls_and_the_weights_stay_as_they_are():
    x, _ = samples()
    made = solver()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    terms = []
    for count in (1, 60):
        made.iterations.fill_(count)
        with made.recording() as solved:
            made(x)
        terms.append(sum(torch.cat(values).mean().item() for values in solved.values()))
    assert terms[1] < terms[0] / 2
    before["iterations"].fill_(60)
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


def test_the_solution_of_a_sample_depends_on_no_other_and_on_no_global_generator():
    x, _ = samples()
    made = solver()
    together = made(x)
    torch.manual_seed(7)
    torch.testing.assert_close(made(x[1:2]), together[1:2])
    other = x.clone()
    other[0] += 1
    assert torch.equal(made(other)[1:], together[1:])


def test_the_terms_of_an_exact_solution_are_zero():
    """Growth saturates at 1, a constant, which a network without weights represents."""
    made = solver()
    ones = [torch.zeros(1, *w.shape) for w in made.start]
    ones[-1] += 1
    terms = losses(made.equation, ones, torch.ones(1, 8), torch.rand(2, 5), waves=2)
    assert {name: value.item() for name, value in terms.items()} == {
        "residual_loss": 0.0,
        "initial_loss": 0.0,
    }


def test_an_equation_that_is_not_periodic_has_a_boundary_term():
    made = solver(DiffusionSorption())
    x = torch.full((2, 1, 8), 0.1)
    with made.recording() as solved:
        assert made(x).isfinite().all()
    assert solved.keys() == {"residual_loss", "initial_loss", "boundary_loss"}
    assert not torch.equal(made(x), solver(DiffusionSorption(), boundary_weight=0.0)(x))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


def spec_of(home: Path, task: str = "pdebench/burgers_1d@hard", **settings) -> TrialSpec:
    spec = TrialSpec.model_validate(
        {
            "method": "pinn",
            "task": task,
            "data": {"samples": 8, "val_fraction": 0.25, "test_fraction": 0.25, "resolution": 16},
            "stages": {"solve": {**SMALL, **settings}},
            "home": home,
        }
    )
    return spec


def begin(spec: TrialSpec) -> Training:
    prepare_task(spec.task, spec.data, spec.home)
    return Training.begin(spec, WarmParts())


def test_a_trial_reports_its_terms_and_tests_the_best_number_of_iterations(home):
    trial = begin(spec_of(home))
    reports = list(trial.reports())
    assert [report.metrics["solve/iterations"] for report in reports] == [2.0, 3.0]
    assert all(isfinite(value) for report in reports for value in report.metrics.values())
    assert reports[-1].is_final
    assert isfinite(reports[-1].metrics["test/nrmse"])
    best = min(reports, key=lambda report: report.objective)
    assert trial.state.best is not None
    kept = trial.state.best.weights["body.iterations"].item()
    assert kept == best.metrics["solve/iterations"]


def test_its_terms_are_means_over_all_samples_whatever_the_batches(home):
    whole, halved = (
        next(begin(spec_of(home).model_copy(update={"halvings": count})).reports())
        for count in (0, 6)
    )
    assert halved.metrics == pytest.approx(whole.metrics, rel=1e-4)


def test_a_trial_stopped_after_an_epoch_equals_one_that_was_not(home, tmp_path):
    whole = begin(spec_of(home))
    expected = list(whole.reports())
    stopped, resumed = begin(spec_of(home)), begin(spec_of(home))
    next(stopped.reports())
    stopped.save(tmp_path / "checkpoint")
    resumed.load(tmp_path / "checkpoint")
    assert list(resumed.reports()) == expected[1:]
    assert same_weights(weights(resumed), weights(whole))


def test_no_output_of_a_sample_reaches_its_prediction(home):
    plain = begin(spec_of(home))
    x = torch.from_numpy(np.array(plain.domains.target.test.x))

    def changed(*named):
        task = plain.domains.target
        lies = {
            split: replace(
                getattr(task, split), y=np.ascontiguousarray(getattr(task, split).y[::-1])
            )
            for split in ("val", "test")
        }
        return replace(task, **lies)

    parts = WarmParts()
    parts.task = changed
    lied_to = Training.begin(spec_of(home), parts)
    for trial in (plain, lied_to):
        trial.state.model.body.iterations.fill_(3)
    assert torch.equal(plain.state.model(x), lied_to.state.model(x))


@pytest.mark.parametrize(
    "setting",
    [
        {"iterations": 5},
        {"lr": 1e-2},
        {"width": 7},
        {"layers": 3},
        {"waves": 2},
        {"points": 9},
        {"initial_weight": 5.0},
    ],
    ids=str,
)
def test_every_setting_changes_the_trial(home, setting):
    before, after = (
        [report.objective for report in begin(spec_of(home, **each)).reports()]
        for each in ({}, setting)
    )
    assert before != after


def test_it_is_refused_where_there_is_no_equation_and_cannot_be_compiled_or_cut(home):
    for task in ("pdebench/darcy_2d@hard", "nasbench360/darcy_flow"):
        with pytest.raises(
            ConfigError, match=r"constant coefficients.*Take the task or the method"
        ):
            Training.begin(spec_of(home, task), WarmParts())
    spec = spec_of(home)
    compiled = spec.model_copy(
        update={"model": spec.model.model_copy(update={"compile": "inductor"})}
    )
    with pytest.raises(ConfigError, match=r"model\.compile to off"):
        begin(compiled)
    assert not can_halve("pinn", "solve", {})
    assert METHODS["pinn"].network is not None
