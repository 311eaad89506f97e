"""Searches of other tools, as their files state them: what is taken over, and what is dropped."""

import math
from pathlib import Path

import pytest

from sweeper.commands.importing import determined, hydra, katib, optuna, ray, wandb
from sweeper.commands.importing.search import ImportedSearch
from sweeper.errors import FileFaults, UsageError
from sweeper.spec.distributions import Choice, Float, Int
from tests.support import foreign_sweeps
from tests.support.foreign_sweeps import DETERMINED, HYDRA, KATIB, RAY, WANDB

MODULES = {"wandb": wandb, "determined": determined, "katib": katib, "hydra": hydra, "ray": ray}


def read(tool: str, folder: Path, text: str | None = None) -> ImportedSearch:
    path = folder / "file"
    path.write_text(text or foreign_sweeps.FILES[tool][1])
    found: ImportedSearch = MODULES[tool].read(path)
    return found


def test_wandb(tmp_path):
    found = read("wandb", tmp_path)
    assert found.parameters.pop("decay") == Float(low=pytest.approx(1e-4), high=1.0, log=True)
    assert found.parameters == {
        "lr": Float(low=1e-5, high=0.1, log=True),
        "batch_size": Choice(values=(16, 32)),
        "layers": Int(low=1, high=4),
        "noise": Float(low=-0.5, high=2.5),
        "optimizer_name": Choice(values=("adam", "sgd")),
        "optimizer_momentum": Float(low=0.0, high=0.9, step=0.1),
    }
    assert found.fixed == {"num_epochs": 10}
    assert (found.metric, found.is_maximised, found.steps) == ("val/loss", False, 27)
    assert found.settings == {
        "search": {"sampler": "gp", "trials": 50},
        "pruning": {"type": "asha", "min_epochs": 3, "eta": 3},
    }
    assert found.command[:2] == ["python", "train.py"]
    assert "--epochs={num_epochs}" in found.command
    assert "--optimizer.momentum={optimizer_momentum}" in found.command
    assert found.dropped.keys() == {
        "metric.target", "batch_size.probabilities", "normal of noise", "parameter betas", "project"
    }  # fmt: skip


def test_a_command_of_wandb_has_its_macros_expanded(tmp_path):
    command = "command: ['${env}', python3, -m, pkg, '${args_no_hyphens}', '${args_json}']\n"
    found = read("wandb", tmp_path, WANDB + command)
    assert found.command[:4] == ["python3", "-m", "pkg", "lr={lr}"]
    assert "${args_json} of command" in found.dropped
    command = "command: [/usr/bin/env, GPU=0, '${interpreter}', '${program}']\n"
    assert read("wandb", tmp_path, WANDB + command).command == [
        "env",
        "GPU=0",
        "python",
        "train.py",
    ]


def test_determined(tmp_path):
    found = read("determined", tmp_path)
    assert found.parameters == {
        "optimizer_params_lr": Float(low=1e-5, high=1e-2, log=True),
        "weight_decay": Choice(values=(0, 1e-4)),
        "target_seq_len": Int(low=32, high=512),
        "drop_out": Float(low=0.0, high=1.0),
    }
    assert found.fixed == {"dataset": "DARCY-FLOW-5", "optimizer_name": "AdamW", "batch_size": 16}
    assert (found.metric, found.is_maximised, found.steps) == ("validation_error", True, 64)
    assert found.settings == {
        "search": {"sampler": "random", "trials": 20},
        "pruning": {"type": "asha", "min_epochs": 1, "eta": 4},
        "resources": {"gpu": 1},
        "failures": {"max_attempts": 3},
    }
    assert found.command == ["python3", "src/main.py", "--config", "configs/darcy.yaml"]
    assert {"workspace", "environment", "searcher.mode"} <= found.dropped.keys()


def test_a_grid_of_determined_has_its_points_and_a_single_trial_is_one(tmp_path):
    text = DETERMINED.replace("adaptive_asha", "grid").replace("maxval: -2", "maxval: -2, count: 4")
    (points,) = (
        each.values
        for name, each in read("determined", tmp_path, text).parameters.items()
        if name == "optimizer_params_lr" and isinstance(each, Choice)
    )
    assert [math.log10(float(str(each))) for each in points] == pytest.approx([-5, -4, -3, -2])
    single = read("determined", tmp_path, DETERMINED.replace("adaptive_asha", "single"))
    assert single.settings["search"] == {"sampler": "random", "trials": 1}
    assert single.settings["pruning"] == {"type": "none"}


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        ("model_def:MyTrial", []),
        (
            "pip install x && python ${HOME}/a.py",
            ["sh", "-c", "pip install x && python $HOME/a.py"],
        ),
        ("[python, a.py]", ["python", "a.py"]),
    ],
)
def test_an_entry_point_is_a_command_or_a_class(tmp_path, entry, command):
    line = next(each for each in DETERMINED.splitlines() if each.startswith("entrypoint"))
    found = read("determined", tmp_path, DETERMINED.replace(line, f"entrypoint: {entry}"))
    assert found.command == command
    assert ("entrypoint" in found.dropped) == (not command)


def test_katib(tmp_path):
    found = read("katib", tmp_path)
    assert found.parameters == {
        "lr": Float(low=0.01, high=1.0, step=0.01),
        "num_layers": Int(low=2, high=5),
        "units": Choice(values=(32, 64)),
        "optimizer": Choice(values=("sgd", "adam")),
    }
    assert (found.metric, found.is_maximised) == ("Validation-accuracy", True)
    assert found.settings == {
        "search": {"sampler": "gp", "trials": 12, "max_concurrent": 3},
        "pruning": {"type": "median", "min_epochs": 5},
    }
    assert found.command == ["python3", "/opt/mnist.py", "--lr={lr}", "--layers", "{num_layers}"]
    assert found.dropped.keys() == {"objective.goal", "container.image", "maxFailedTrialCount"}


@pytest.mark.parametrize("text", ["python a.py --lr ${trialParameters.learningRate}", "a && b"])
def test_a_shell_of_katib_stays_where_it_is_needed_alone(tmp_path, text):
    command = '[python3, /opt/mnist.py, "--lr=${trialParameters.learningRate}"]'
    args = '                args: ["--layers", "${trialParameters.numberLayers}"]\n'
    given = KATIB.replace(command, f'[sh, -c, "{text}"]').replace(args, "")
    split = ["python", "a.py", "--lr", "{lr}"]
    assert read("katib", tmp_path, given).command == (["sh", "-c", text] if "&" in text else split)


def test_hydra(tmp_path):
    found = read("hydra", tmp_path)
    assert found.parameters == {
        "x": Float(low=-5.5, high=5.5, step=0.5),
        "model_lr": Float(low=1e-5, high=0.1, log=True),
        "depth": Int(low=1, high=8),
        "net": Choice(values=("resnet18", "vit")),
        "opt": Choice(values=("adam", "sgd-2")),
        "width": Choice(values=(8, 16)),
    }
    assert (found.metric, found.is_maximised) == ("", True)
    assert found.settings["search"] == {"sampler": "random", "trials": 20, "max_concurrent": 2}
    assert found.dropped.keys() == {"seed", "parameter bad"}
    with pytest.raises(UsageError, match="has no `hydra: sweeper:`"):
        read("hydra", tmp_path, HYDRA.replace("sweeper:", "other:"))


def test_ray_is_read_and_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read("ray", tmp_path)
    assert not (tmp_path / "executed").exists()
    assert found.parameters == {
        "lr": Float(low=1e-4, high=0.1, log=True),
        "batch": Choice(values=(16, 32)),
        "layers": Int(low=1, high=8),
        "q": Float(low=0.0, high=1.0, step=0.1),
        "sub_units": Int(low=8, high=64, step=8),
    }
    assert found.fixed == {"sub_act": "relu"}
    assert (found.metric, found.is_maximised, found.steps) == ("acc", True, 32)
    assert found.settings == {
        "search": {"sampler": "random", "trials": 30},
        "pruning": {"type": "asha", "min_epochs": 2, "eta": 4},
        "budget": {"wall": "3600s"},
    }
    assert "parameter later" in found.dropped
    looped = RAY.replace('"sub": {', '"again": space, "sub": {')
    assert read("ray", tmp_path, looped).parameters.keys() > found.parameters.keys()
    with pytest.raises(UsageError, match="that is written out"):
        read("ray", tmp_path, RAY.replace("space = {", "space = make() or {"))


def test_optuna(tmp_path):
    source = foreign_sweeps.write("optuna", tmp_path)
    found = optuna.read(str(source))
    assert found.parameters == {
        "lr": Float(low=1e-5, high=0.1, log=True),
        "opt": Choice(values=("sgd", "adam")),
        "momentum": Float(low=0.0, high=1.0),
        "layers": Int(low=1, high=5),
    }
    assert (found.name, found.metric, found.is_maximised) == ("mine", "value", False)
    assert found.settings["search"] == {
        "sampler": "tpe", "trials": 5, "warm_start": [str(source)]
    }  # fmt: skip
    assert "condition of momentum" in found.dropped


@pytest.mark.parametrize(
    ("tool", "old", "new", "line", "told"),
    [
        ("wandb", "run_cap: 50", "run_cap: many", 19, "`run_cap` must be a number, but got 'many'"),
        ("wandb", "run_cap: 50", "run_cap: 'inf'", 19, "`run_cap` must be a number, but got 'inf'"),
        ("wandb", "values: [16, 32]", "values: 16", 9, "`values` must be a list, but got 16"),
        ("determined", "minval: 32", "minval: [3]", 13, "`minval` must be a single value"),
        ("katib", "algorithm: {algorithmName: bayesianoptimization}", "algorithm: x", 6,
         "`algorithm` must be a mapping, but got 'x'"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_a_fault_of_its_line(tmp_path, tool, old, new, line, told):
    text = foreign_sweeps.FILES[tool][1]
    assert old in text
    with pytest.raises(FileFaults) as error:
        read(tool, tmp_path, text.replace(old, new))
    (fault,) = error.value.faults
    assert fault.line == line
    assert told in fault.message


TUNER = "Tuner(t, param_space={{{space}}}, tune_config=TuneConfig({config}), run_config=r)"


def test_ray_takes_names_in_any_order_and_drops_what_it_cannot_read(tmp_path):
    space = '**base, 3: 1, "lr": tune.uniform(upper=1.0, lower=0.5), "q": tune.qrandint(0, 9, q=3)'
    config = 'search_alg=OptunaSearch(metric="acc", mode="max"), num_samples=args.n, stop={"a": 1}'
    found = read("ray", tmp_path, 'base = {"a": 1}\n' + TUNER.format(space=space, config=config))
    assert found.fixed == {"a": 1}
    assert found.parameters == {"lr": Float(low=0.5, high=1.0), "q": Int(low=0, high=9, step=3)}
    assert (found.metric, found.is_maximised) == ("acc", True)
    assert {"parameter 3", "num_samples", "stop", "run_config"} <= found.dropped.keys()


def test_ray_gives_a_trial_what_it_asks_for(tmp_path):
    text = 'tune.run(t, config={"a": tune.choice([1, 2])}, num_samples=-1, scheduler='
    text += 'HyperBandScheduler(max_t=None), resources_per_trial={"cpu": 2, "gpu": 1, "x": 1})'
    found = read("ray", tmp_path, text)
    assert found.settings["resources"] == {"cpu": 2, "gpu": 1}
    assert found.settings["pruning"] == {"type": "asha", "min_epochs": 1, "eta": 3}
    assert (found.steps, found.dropped["num_samples"]) == (81, "`-1` is not taken over")


@pytest.mark.parametrize(
    ("tool", "text", "place"),
    [
        ("wandb", "parameters: {a: {distribution: inv_log_uniform, min: 0, max: 4}}",
         "parameter a"),
        ("wandb", "parameters: {a: {values: [1, true, 0, 2]}}", "value True of a"),
        ("determined", "hyperparameters: {a: {type: int, minval: 1, maxval: 2, count: 1.0e+300}}\n"
         "searcher: {name: grid}", "hyperparameter a"),
        ("hydra", "hydra: {sweeper: {direction: [], params: {a: 'interval(0, 1e999)'}}}",
         "parameter a"),
    ],
)  # fmt: skip
def test_what_a_sweep_file_cannot_say_is_dropped(tmp_path, tool, text, place):
    assert place in read(tool, tmp_path, text).dropped


def test_the_words_of_hydra_and_of_a_shell_are_what_they_mean_there(tmp_path):
    found = read("hydra", tmp_path, "hydra: {sweeper: {params: {a: 'choice(true,null,1)'}}}")
    assert found.parameters == {"a": Choice(values=(True, None))}
    old = 'command: [python3, /opt/mnist.py, "--lr=${trialParameters.learningRate}"]'
    new = """command: [sh, -c, "python a.py --note 'a b' --lr=${trialParameters.learningRate}"]"""
    assert old in KATIB
    text = KATIB.replace(old, new).replace("args:", "env:")
    assert read("katib", tmp_path, text).command == ["python", "a.py", "--note", "a b", "--lr={lr}"]
