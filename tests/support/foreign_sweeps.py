"""Searches of other tools, in the forms of their documentation."""

from pathlib import Path

import optuna

WANDB = """\
program: train.py
method: bayes
name: mine
project: secret-sauce
metric: {name: val/loss, goal: minimize, target: 0.1}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  decay: {distribution: log_uniform, min: -9.210340371976182, max: 0}
  batch_size: {values: [16, 32], probabilities: [0.2, 0.8]}
  epochs: {value: 10}
  layers: {min: 1, max: 4}
  noise: {distribution: normal, mu: 1, sigma: 0.5}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      momentum: {distribution: q_uniform, min: 0.0, max: 0.9, q: 0.1}
  betas: {value: [0.9, 0.98]}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}
run_cap: 50
"""

DETERMINED = """\
name: orca-darcy
workspace: modality
resources: {slots_per_trial: 1, resource_pool: gpu}
environment: {image: "determinedai/environments:cuda"}
entrypoint: python3 src/main.py --config configs/darcy.yaml
max_restarts: 2
hyperparameters:
  dataset: DARCY-FLOW-5
  optimizer:
    name: AdamW
    params: {lr: {type: log, base: 10, minval: -5, maxval: -2}, betas: [0.9, 0.98]}
  weight_decay: {type: categorical, vals: [0, 1.0e-4]}
  target_seq_len: {type: int, minval: 32, maxval: 512}
  drop_out: {type: double, minval: 0, maxval: 1}
  batch_size: {type: const, val: 16}
searcher:
  name: adaptive_asha
  metric: validation_error
  smaller_is_better: false
  max_length: {epochs: 64}
  max_trials: 20
  mode: standard
"""

KATIB = """\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {namespace: kubeflow, name: random}
spec:
  objective: {type: maximize, goal: 0.99, objectiveMetricName: Validation-accuracy}
  algorithm: {algorithmName: bayesianoptimization}
  earlyStopping:
    algorithmName: medianstop
    algorithmSettings: [{name: start_step, value: "5"}]
  parallelTrialCount: 3
  maxTrialCount: 12
  maxFailedTrialCount: 3
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "0.01", max: "1", step: "0.01"}}
    - {name: num-layers, parameterType: int, feasibleSpace: {min: "2", max: "5"}}
    - {name: units, parameterType: discrete, feasibleSpace: {list: ["32", "64"]}}
    - {name: optimizer, parameterType: categorical, feasibleSpace: {list: [sgd, adam]}}
  trialTemplate:
    primaryContainerName: training
    trialParameters:
      - {name: learningRate, reference: lr}
      - {name: numberLayers, reference: num-layers}
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        template:
          spec:
            containers:
              - {name: sidecar, image: x, command: [sleep]}
              - name: training
                image: docker.io/pytorch-mnist
                command: [python3, /opt/mnist.py, "--lr=${trialParameters.learningRate}"]
                args: ["--layers", "${trialParameters.numberLayers}"]
            restartPolicy: Never
"""

HYDRA = """\
defaults: [{override hydra/sweeper: optuna}]
hydra:
  sweeper:
    sampler: {_target_: optuna.samplers.RandomSampler, seed: 123}
    direction: maximize
    study_name: sphere
    n_trials: 20
    n_jobs: 2
    params:
      x: range(-5.5, 5.5, step=0.5)
      model.lr: tag(log, interval(1e-5, 1e-1))
      depth: int(interval(1, 8))
      net: choice(resnet18, vit)
      opt: adam,sgd-2
      width: 8,16
      seed: 1
      bad: glob(*)
model: {lr: 0.1}
"""

RAY = """\
import os
from ray import tune
from ray.tune.schedulers import ASHAScheduler

os.mkdir("executed")
MAX = 2**5
space = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "batch": tune.choice([2**4, 32]),
    "layers": tune.randint(1, 9),
    "q": tune.quniform(0.0, 1.0, 0.1),
    "sub": {"units": tune.qrandint(8, 64, 8), "act": "relu"},
    "later": tune.sample_from(lambda spec: 3),
}
scheduler = ASHAScheduler(max_t=MAX, grace_period=2, reduction_factor=4)
tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space=space,
    tune_config=tune.TuneConfig(
        metric="acc", mode="max", num_samples=30, scheduler=scheduler, time_budget_s=3600
    ),
)
tuner.fit()
"""

FILES = {
    "wandb": ("sweep.yaml", WANDB),
    "determined": ("adaptive.yaml", DETERMINED),
    "katib": ("experiment.yaml", KATIB),
    "hydra": ("config.yaml", HYDRA),
    "ray": ("tune_mine.py", RAY),
}


def write(tool: str, folder: Path) -> Path:
    """Write the example of a tool, and return its path."""
    if tool == "optuna":
        return optuna_database(folder / "old.db")
    name, text = FILES[tool]
    path = folder / name
    path.write_text(text)
    return path


def optuna_database(path: Path) -> Path:
    """Write a study with five trials, in which `momentum` depends on another parameter."""

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        if trial.suggest_categorical("opt", ["sgd", "adam"]) == "sgd":
            trial.suggest_float("momentum", 0, 1)
        return lr * trial.suggest_int("layers", 1, 5)

    study = optuna.create_study(study_name="mine", storage=f"sqlite:///{path}")
    for opt in ("sgd", "adam"):
        study.enqueue_trial({"opt": opt})
    study.optimize(objective, n_trials=5)
    return path
