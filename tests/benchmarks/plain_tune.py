"""Toy trials as the manual of Ray Tune runs them: OptunaSearch, MLflowLoggerCallback, a Tuner.

    python -m tests.benchmarks.plain_tune FOLDER --address HOST:PORT --tracking URI --reuse-actors

The trials are those of `tests.support.toy.sweep`, with their checkpoints and their history.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

from tests.support.toy.trainable import ToyTrainable
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT


class PlainToy(ToyTrainable):
    """A toy trial of its config's `params`, whose results are plain metrics."""

    def setup(self, config: dict[str, Any]) -> None:
        number = int(self.trial_id, 16)
        spec = {**config["spec"], "params": config["params"], "number": number, "seed": number}
        folder = Path(spec["history"]).parent / "trials" / self.trial_id
        label = f"plain {self.trial_id}"
        super().setup({ATTEMPT: AttemptConfig(spec=spec, label=label, folder=str(folder))})

    def step(self) -> dict[str, Any]:
        result = super().step()
        return {**result["measurement"]["metrics"], "done": result["done"]}


def main(arguments: Sequence[str]) -> None:
    """Run them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--tracking", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--epoch-s", type=float, required=True)
    parser.add_argument("--reuse-actors", action="store_true")
    options = parser.parse_args(arguments)
    (options.folder / "history").mkdir(parents=True)
    spec = {
        "study": "toy/task_0",
        "attempt": 1,
        "stages": {"refine": options.epochs},
        "epoch_s": options.epoch_s,
        "checkpoint_bytes": 64,
        "history": str(options.folder / "history"),
        "faults": [],
    }
    ray.init(address=options.address, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(PlainToy, {"cpu": 1}),
        param_space={
            "spec": spec,
            "params": {
                "refine.lr": tune.loguniform(1e-6, 1e-1),
                "refine.optimizer": tune.choice(["adam", "sgd"]),
            },
        },
        tune_config=tune.TuneConfig(
            metric="val/loss",
            mode="min",
            search_alg=OptunaSearch(),
            num_samples=options.trials,
            max_concurrent_trials=2,
            reuse_actors=options.reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(options.folder / "ray"),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=options.tracking, experiment_name="plain")
            ],
        ),
    )
    assert not tuner.fit().errors


if __name__ == "__main__":
    main(sys.argv[1:])
