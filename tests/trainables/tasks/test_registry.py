from dataclasses import replace

import pytest
import torch

from trainables.errors import ConfigError
from trainables.methods.registry import METHODS
from trainables.metrics import METRICS
from trainables.stages.configs import RefineConfig
from trainables.tasks.benchmark import Reader
from trainables.tasks.registry import BENCHMARKS, TASKS, benchmark_of, task_info
from trainables.training.losses import LOSSES

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


AS_PUBLISHED = {  # input shape, outputs, samples
    "cifar100": ((3, 32, 32), 100, 60_000),
    "spherical": ((3, 60, 60), 100, 60_000),
    "darcy_flow": ((3, 85, 85), 1, 1100),
    "psicov": ((57, 512, 512), 1, 3606),
    "cosmic": ((1, 128, 128), 1, 5250),
    "ninapro": ((1, 16, 52), 18, 3956),
    "fsd50k": ((1, 96, 102), 200, 51_197),
    "ecg": ((1, 1000), 4, 330_000),
    "satellite": ((1, 46), 24, 1_000_000),
    "deepsea": ((4, 1000), 36, 223_643),
}

PAIRED = (  # where ORCA's released loader trains on one frame and tests on another
    "diffusion_reaction_1d",
    "diffusion_sorption_1d",
    "shallow_water_2d",
    "diffusion_reaction_2d",
)


def test_there_are_eight_problems_each_published_and_hard_and_ten_tasks_of_nas_bench_360():
    names = [
        f"pdebench/{problem}{suffix}"
        for problem in PROBLEMS
        for suffix in ("", "@hard", "@rank", "@orca")
        if suffix != "@orca" or problem in PAIRED
    ]
    assert list(TASKS) == names + [f"nasbench360/{task}" for task in AS_PUBLISHED]


@pytest.mark.parametrize("problem", PAIRED)
def test_a_problem_with_orca_s_frames_is_the_published_one_but_for_name_and_protocol(problem):
    published, paired = TASKS[f"pdebench/{problem}"], TASKS[f"pdebench/{problem}@orca"]
    own = {"name": paired.name, "title": paired.title, "protocol": paired.protocol}
    assert replace(published, **own, published_as=published.name) == paired
    assert paired.publication is not None
    frame = 29 if problem == "diffusion_reaction_1d" else 100
    assert f"trained on frame {frame} of 0..100" in paired.protocol
    assert "validated and tested on frame 99" in paired.protocol
    assert "frame 100 of 0..100 in all splits" in published.protocol
    assert f"{frame} to train, 99 to test" in published.protocol.replace("\n", " ")


@pytest.mark.parametrize("suffix", ["@orca", "@hard@orca", "@orca@hard", "@ORCA"])
@pytest.mark.parametrize("problem", ["advection_1d", "darcy_2d"])
def test_no_other_problem_has_orca_s_frames_and_no_hard_one(problem, suffix):
    told = rf"Known: pdebench/{problem}, pdebench/{problem}@hard(, pdebench/{problem}@rank)?"
    with pytest.raises(ConfigError, match=rf"no task `pdebench/{problem}{suffix}`\. {told}\.$"):
        task_info(f"pdebench/{problem}{suffix}")
    with pytest.raises(ConfigError, match=r"shallow_water_2d, .*_2d@hard, .*_2d@orca"):
        task_info("pdebench/shallow_water_2d@hard@orca")


@pytest.mark.parametrize("name", TASKS)
def test_an_entry_is_consistent(name):
    info = TASKS[name]
    assert info.name == name
    assert info.metric in METRICS
    assert info.compat_metric is None or info.compat_metric in METRICS
    assert info.loss in LOSSES
    assert len(info.input_shape) == 1 + int(info.dimension[0])
    assert (info.tokens is not None) == (info.dimension == "1d")
    assert not info.published_as or info.published_as in TASKS
    assert info.publication is not None or (
        info.benchmark == "pdebench" and name.endswith(("@hard", "@rank"))
    )
    config = RefineConfig(**info.recipe)
    assert config.decay_epochs is not None
    assert config.decay_epochs >= config.epochs
    if info.benchmark == "pdebench":
        assert info.dimension == name.partition("@")[0][-2:]
        assert info.protocol.startswith(("one-shot", "as published"))
        assert config.decay_epochs == 200


def test_recipes_are_orca_s():
    assert TASKS["pdebench/burgers_1d"].recipe["lr"] == 1e-5
    assert TASKS["pdebench/burgers_1d"].loss == "rmse"
    assert TASKS["pdebench/diffusion_reaction_1d"].recipe["optimizer"] == "sgd"
    assert TASKS["pdebench/diffusion_reaction_1d"].recipe["momentum"] == 0.99
    assert TASKS["pdebench/darcy_2d"].recipe["clip_norm"] is None
    assert TASKS["pdebench/darcy_2d"].recipe["epochs"] == 100
    assert TASKS["pdebench/shallow_water_2d"].recipe["warmup_epochs"] == 10


def test_tasks_are_as_published():
    infos = {name: TASKS[f"nasbench360/{name}"] for name in AS_PUBLISHED}
    assert {
        name: (info.input_shape, info.channels[1], info.samples) for name, info in infos.items()
    } == AS_PUBLISHED


def test_where_official_code_sums_gradients_the_recipe_takes_the_same_step_with_their_mean():
    from torch.nn import Parameter

    from trainables.training.optim import make_optimizer

    official = {"cifar100": (1e-4, 1e-3), "ecg": (1e-6, 0.1), "psicov": (5e-6, 1e-5)}
    for name, (lr, weight_decay) in official.items():
        recipe = TASKS[f"nasbench360/{name}"].recipe
        steps = []
        for rates, factor in (
            ({"lr": recipe["lr"], "weight_decay": recipe["weight_decay"]}, 1),
            ({"lr": lr, "weight_decay": weight_decay}, recipe["accumulation"]),
        ):
            weight = Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
            momentum = recipe.get("momentum", 0.0)
            optimizer = make_optimizer(recipe["optimizer"], [weight], momentum=momentum, **rates)
            for step in range(3):
                weight.grad = factor * torch.cos(weight.detach() + step)
                optimizer.step()
            steps.append(weight.detach())
        torch.testing.assert_close(steps[0], steps[1], rtol=1e-9, atol=1e-12)


def test_only_published_problems_have_a_file():
    darcy = TASKS["pdebench/darcy_2d"].publication
    assert darcy is not None
    assert darcy.files == "2D_DarcyFlow_beta0.1_Train.hdf5"
    assert darcy.address == "https://darus.uni-stuttgart.de/api/access/datafile/133218"
    assert TASKS["pdebench/darcy_2d@hard"].publication is None
    published = [info.publication for name, info in TASKS.items() if "@" not in name]
    assert len(published) == len({each.files for each in published if each}) == 18


def test_settings_of_a_task_are_of_methods_that_there_are_and_of_parameters_they_have():
    found = [(m, key) for info in TASKS.values() for m, own in info.settings.items() for key in own]
    assert found
    for method, key in found:
        stage, _, parameter = key.partition(".")
        assert parameter in METHODS[method].stages[stage].model_fields


@pytest.mark.parametrize("name", [n for n, info in TASKS.items() if info.publication])
def test_every_published_task_has_a_reader(name):
    reader = benchmark_of(name).reader
    assert reader is not None
    assert isinstance(reader(TASKS[name]), Reader)


def test_every_task_belongs_to_its_benchmark():
    assert list(BENCHMARKS) == ["pdebench", "nasbench360"]
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert {info.benchmark for info in benchmark.tasks} == {name}
