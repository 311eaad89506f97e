import subprocess
import sys

import pytest

from trainables.losses import LOSSES
from trainables.metrics import METRICS
from trainables.stages.configs.fine_tuning import RefineConfig
from trainables.tasks.registry import TASKS, official_file

PROBLEMS = (
    "advection_1d",
    "burgers_1d",
    "diffusion_reaction_1d",
    "diffusion_sorption_1d",
    "navier_stokes_1d",
    "darcy_2d",
    "shallow_water_2d",
    "diffusion_reaction_2d",
)


def test_there_are_eight_problems_each_published_and_hard():
    names = [f"pdebench/{problem}{suffix}" for problem in PROBLEMS for suffix in ("", "@hard")]
    assert list(TASKS) == names


@pytest.mark.parametrize("name", TASKS)
def test_an_entry_is_consistent(name):
    info = TASKS[name]
    assert info.name == name
    assert info.dimension == name.partition("@")[0][-2:]
    assert info.metric in METRICS
    assert info.loss in LOSSES
    assert info.protocol.startswith(("one-shot", "as published"))
    config = RefineConfig(**info.recipe)
    assert config.decay_epochs == 200


def test_recipes_are_orca_s():
    assert TASKS["pdebench/burgers_1d"].recipe["lr"] == 1e-5
    assert TASKS["pdebench/burgers_1d"].loss == "rmse"
    assert TASKS["pdebench/diffusion_reaction_1d"].recipe["optimizer"] == "sgd"
    assert TASKS["pdebench/diffusion_reaction_1d"].recipe["momentum"] == 0.99
    assert TASKS["pdebench/darcy_2d"].recipe["clip_norm"] is None
    assert TASKS["pdebench/darcy_2d"].recipe["epochs"] == 100
    assert TASKS["pdebench/shallow_water_2d"].recipe["warmup_epochs"] == 10


def test_only_published_problems_have_a_file():
    assert official_file("pdebench/darcy_2d") == (
        "2D_DarcyFlow_beta0.1_Train.hdf5",
        "https://doi.org/10.18419/darus-2986",
    )
    assert official_file("pdebench/darcy_2d@hard") is None
    assert all(official_file(f"pdebench/{problem}") for problem in PROBLEMS)


def test_reading_the_table_loads_no_torch_and_no_solver():
    code = (
        "import sys, trainables.tasks.registry, trainables.tasks.loading as loading\n"
        "from trainables.spec import DataSpec\n"
        "loading.describe_data('pdebench/advection_1d', DataSpec())\n"
        "print([m for m in ('torch', 'ray', 'scipy.sparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
