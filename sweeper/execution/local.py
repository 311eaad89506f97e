"""Runs a sweep in a plain for-loop in this process: for a debugger, and as a yardstick."""

from pathlib import Path

from sweeper.core.protocols import SpecBuilder
from sweeper.core.runner import SweepRunner
from sweeper.model import Decision, Measurement, Trial
from trainables.errors import ConfigError, TrainableError
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec


def run(runner: SweepRunner, build: SpecBuilder) -> None:
    """Runs all that the runner has to run, one trial after another, without checkpoints."""
    parts = WarmParts()
    while (trial := runner.next_trial()) is not None:
        try:
            _run_one(runner, trial, build, parts)
        except TrainableError as error:
            runner.failed(trial, f"{type(error).__name__}: {error}", reason=str(error))


def _run_one(runner: SweepRunner, trial: Trial, build: SpecBuilder, parts: WarmParts) -> None:
    config = build(trial)
    try:
        training = Training.begin(TrialSpec.model_validate(config["spec"]), parts)
    except ConfigError as error:
        runner.refused(trial, f"ConfigError: {error}", reason=str(error))
        return
    for folder in config["resume"][:1]:
        training.load(Path(folder))
    for report in training.reports():
        fields = vars(report)
        if runner.measured(trial, Measurement(**fields)) is Decision.PRUNE:
            return
