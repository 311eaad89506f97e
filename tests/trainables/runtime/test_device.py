"""A trial trains on the device that it asked for, or fails; only `torch.cuda` is replaced."""

from pathlib import Path

import pytest
import torch

from sweeper.core.policies import Action, FailurePolicy, classify
from sweeper.model import Trial, TrialKind
from trainables.errors import DeviceError
from trainables.report import Failed
from trainables.runtime.attempt import Attempt
from trainables.runtime.device import device_for
from trainables.spec import AttemptConfig

TRIAL = Trial(study="s", number=0, kind=TrialKind.SAMPLED, params={}, seed=0, attempt=1)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_trial_that_asks_for_no_gpu_trains_on_the_cpu_beside_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for(0.0) == torch.device("cpu")


@pytest.mark.parametrize("gpu", [0.1, 1.0])
def test_a_trial_that_asks_for_a_gpu_never_trains_on_the_cpu(no_gpu, gpu):
    with pytest.raises(DeviceError, match=rf"`resources.gpu: {gpu:g}`.*finds none.*`gpu: 0`"):
        device_for(gpu)


def test_such_a_trial_fails_as_config_and_is_not_pruned_nor_tried_again(no_gpu, tmp_path: Path):
    attempt = Attempt(AttemptConfig(spec={}, label="x", folder=str(tmp_path), gpu=0.5))
    result = attempt.step()
    assert isinstance(result, Failed)
    assert not result.infeasible, "else a sampled trial would be pruned without a word"
    failure = classify(result.traceback)
    assert failure == "config"
    assert FailurePolicy().respond(failure, TRIAL) is Action.FAIL
