"""Given ORCA trials as the manual of Ray Tune runs them: OptunaSearch, an MLflow callback.

    python -m tests.benchmarks.plain_orca TRIALS.json FOLDER --tracking URI [--reuse-actors]

The trials are complete specs, which OptunaSearch is made to suggest one after the other; each runs
all of its stages. A stage that reports no objective reports the last one there was, or 1.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec

PARTS = WarmParts()  # of this process, which is one trial's unless actors are reused


class PlainOrca(tune.Trainable):
    """One trial, found by its number in the list."""

    def setup(self, config: dict[str, Any]) -> None:
        specs = json.loads(Path(config["specs"]).read_text())
        training = Training.begin(TrialSpec.model_validate(specs[config["index"]]), PARTS)
        self.reports, self.value = training.reports(), 1.0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        report = next(self.reports)
        self.value = report.objective if report.objective is not None else self.value
        return {**report.metrics, "objective": self.value, "done": report.is_final}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "unused").touch()


def main(arguments: Sequence[str]) -> None:
    """Run them on two slots of a Ray of its own."""
    from tests.benchmarks.plain_orca import PlainOrca  # which actors import: not of `__main__`

    parser = argparse.ArgumentParser()
    parser.add_argument("specs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracking", required=True)
    parser.add_argument("--reuse-actors", action="store_true")
    options = parser.parse_args(arguments)
    count = len(json.loads(options.specs.read_text()))
    ray.init(address="local", num_cpus=2, log_to_driver=False, _temp_dir=str(options.folder / "r"))
    tuner = tune.Tuner(
        tune.with_resources(PlainOrca, {"cpu": 1}),
        param_space={"specs": str(options.specs), "index": tune.randint(0, count)},
        tune_config=tune.TuneConfig(
            metric="objective",
            mode="min",
            search_alg=OptunaSearch(points_to_evaluate=[{"index": i} for i in range(count)]),
            num_samples=count,
            max_concurrent_trials=2,
            reuse_actors=options.reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(options.folder / "results"),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=options.tracking, experiment_name="plain")
            ],
            verbose=0,
        ),
    )
    results = tuner.fit()
    assert not results.errors
    indices = sorted(result.config["index"] for result in results)
    assert indices == list(range(count)), "not the given trials"


if __name__ == "__main__":
    main(sys.argv[1:])
