"""What Ray Tune relies on: a Trainable that saves, restores, is reused, and outlives an error."""

import json
import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

import trainables.trainable
from tests.command import ROOT
from tests.contracts.tiny_trials import DIMENSIONS
from trainables.methods.registry import METHODS
from trainables.trainable import Trainable
from trainables.warm import WarmParts

DIVERGING = {"optimizer": "sgd", "lr": 9.0, "weight_decay": 9.0, "epochs": 8}

every_method = pytest.mark.parametrize("method", METHODS)
both = pytest.mark.parametrize("dimension", DIMENSIONS)


@pytest.fixture
def make_config(trials, tmp_path):
    """Makes a Trainable's config, as the service does, with checkpoints in a folder of its own."""

    def make(
        method: str, dimension: str, folder: str, settings=None, *, resume=()
    ) -> dict[str, Any]:
        spec = trials.spec(method, dimension, settings)
        return {
            "spec": spec.model_dump(mode="json", by_alias=True),
            "label": f"{method} {dimension}",
            "folder": str(tmp_path / folder),
            "resume": [str(path) for path in resume],
            "threads": 1,
        }

    return make


@pytest.fixture
def fresh_process(monkeypatch):
    """Makes the next Trainable find nothing warm, as in a new process."""

    def forget() -> None:
        monkeypatch.setattr(trainables.trainable, "PARTS", WarmParts())

    return forget


def results(actor: Trainable) -> list[dict[str, Any]]:
    """Trains to the end; returns what the service is told, but for times and places."""
    found: list[dict[str, Any]] = []
    while not (found and found[-1]["done"]):
        found.append(actor.train())
    return [result.get("report", {"failure": result.get("failure")}) for result in found]


def objective_stage(method: str) -> str:
    return next(n for n, config in METHODS[method].stages.items() if config.reports_objective)


@both
@every_method
def test_an_actor_that_is_reused_runs_as_a_fresh_one(make_config, fresh_process, method, dimension):
    fresh_process()
    expected = results(Trainable(make_config(method, dimension, "fresh")))
    assert expected[-1]["is_final"]
    other = "2d" if dimension == "1d" else "1d"
    fresh_process()
    used = Trainable(make_config(method, other, "before"))
    used.train()  # and stopped there, as a pruned trial is
    assert used.reset(make_config(method, dimension, "reused"))
    assert results(used) == expected


def test_each_result_tells_the_seconds_and_the_most_memory_so_far(make_config):
    actor = Trainable(make_config("mona", "1d", "timed"))
    told = [actor.train() for _ in range(3)]
    for name in ("seconds", "peak_memory_bytes"):
        values = [result[name] for result in told]
        assert values == sorted(values)
        assert values[0] > 0


@every_method
def test_a_new_attempt_goes_on_from_the_newest_whole_checkpoint(make_config, tmp_path, method):
    expected = results(Trainable(make_config(method, "1d", "whole")))
    cut = Trainable(make_config(method, "1d", "cut"))
    first, second = cut.train(), cut.train()
    newest, older = Path(second["checkpoint"]), Path(first["checkpoint"])
    damaged = newest / "last.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = make_config(method, "1d", "again", resume=[newest, older])
    assert results(Trainable(again)) == expected[1:]


@both
@every_method
def test_a_deliberate_error_is_a_result_and_leaves_the_actor_usable(make_config, method, dimension):
    stage = objective_stage(method)
    diverging = {f"{stage}.{name}": value for name, value in DIVERGING.items()}
    actor = Trainable(make_config(method, dimension, "diverging", diverging))
    result = {"done": False}
    while not result["done"]:
        result = actor.train()
    assert "NonFiniteLoss" in result["failure"]
    assert f"lower {stage}.lr (9)" in result["reason"]
    assert actor.reset(make_config(method, dimension, "after"))
    expected = results(Trainable(make_config(method, dimension, "fresh")))
    assert results(actor) == expected


def test_what_cannot_begin_is_a_result_too(make_config):
    config = make_config("nft", "1d", "nowhere")
    config["spec"]["backbone"]["name"] = str(Path(config["folder"]) / "no-such-folder")
    actor = Trainable(config)
    result = actor.train()
    assert result["done"]
    assert "ConfigError" in result["failure"]
    assert "no-such-folder" in result["reason"]
    assert actor.reset(make_config("nft", "1d", "after"))
    assert results(actor)[-1]["is_final"]


SAVE_AND_RESTORE = """
import json, sys
import ray
from ray.tune.utils import validate_save_restore
from trainables.trainable import Trainable

address, *configs = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
for config in configs:
    assert validate_save_restore(Trainable, json.loads(config))
"""


@pytest.mark.ray
def test_ray_tune_finds_that_every_method_saves_and_restores(make_config, ray_head):
    """Ray's own check, in actors of its cluster: three steps, a save, two more from there."""
    configs = [
        make_config(name, dimension, name, {f"{objective_stage(name)}.epochs": 5})
        for name, dimension in zip(METHODS, cycle(DIMENSIONS), strict=False)
    ]
    done = subprocess.run(
        [sys.executable, "-c", SAVE_AND_RESTORE, ray_head.address, *map(json.dumps, configs)],
        env=os.environ | ray_head.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
