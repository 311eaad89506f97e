"""What Tune is answered when it asks for a trial; no Ray."""

import logging
from contextlib import closing
from pathlib import Path

from ray._private.serialization import SerializationContext
from ray._private.worker import Worker
from ray.core.generated.common_pb2 import ErrorType
from ray.exceptions import RaySystemError

from sweeper.core.runner import SweepRunner
from sweeper.execution import tune_internals
from sweeper.execution.ray_executor import Answers
from sweeper.model import Trial, TrialState
from tests.support.fakes import STUDY, FixedSampler, new_ledger, plan
from trainables.errors import StorageError
from trainables.spec import AttemptConfig


def test_a_trial_that_cannot_be_built_has_failed_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """Its checkpoints' store is away: that is no fault of this trial, nor the end of others."""
    asked: list[int] = []

    def build(trial: Trial) -> AttemptConfig:
        asked.append(trial.number)
        if len(asked) == 1:
            raise StorageError("s3://bucket/x: the store did not answer in 20 s")
        return AttemptConfig(spec={}, label="x", folder=str(tmp_path / str(trial.number)))

    suggestions = [{"refine.lr": lr} for lr in (0.1, 0.2)]
    with closing(new_ledger(tmp_path)) as ledger:
        runner = SweepRunner([plan(FixedSampler(suggestions), num_trials=2)], ledger)
        answers = Answers(runner, build, lambda: None)
        assert answers.suggest("a") is None
        failed = ledger.trial(STUDY.name, 0)
        assert (failed.state, failed.failure, failed.uncounted) == (
            TrialState.WAITING,
            "storage",
            1,
        )
        assert failed.reason == "s3://bucket/x: the store did not answer in 20 s"
        configs = [answers.suggest(name) for name in ("b", "c")]
        assert [config["sweeper_trial"] for config in configs] == ["b", "c"]
        assert sorted(asked) == [0, 0, 1]


def test_errors_of_results_that_tune_drops_as_a_sweep_ends_are_not_printed(monkeypatch, caplog):
    worker, log = Worker(), logging.getLogger("ray._private.serialization")
    monkeypatch.setattr(worker, "get_serialization_context", lambda: SerializationContext(worker))
    monkeypatch.setattr(Worker, "raise_errors", Worker.raise_errors)  # as it is, afterwards too
    monkeypatch.setattr(logging.getLogger("ray"), "propagate", True)  # if a Ray ran here before
    bare = [(None, str(ErrorType.Value("OUT_OF_MEMORY")).encode(), None)]  # no details with it
    level = log.level
    try:
        worker.raise_errors(bare, [None])
        assert "AssertionError" in caplog.text, "Ray does otherwise by itself: nothing to do here"
        caplog.clear()
        tune_internals.ignore_dropped_results()
        worker.raise_errors(bare, [None])
        (error,) = worker.deserialize_objects(bare, [None])
    finally:
        log.setLevel(level)
    assert isinstance(error, RaySystemError), "whoever waits for it gets one"
    assert caplog.text == ""
