"""The validations of a trial's settings, from a suggestion to a stage."""

import json
from typing import Any

import pytest

from sweeper.model import StudyFacts, Trial, TrialKind
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.trials import TrialBuilder
from sweeper.spec.loader import loads_sweep
from trainables.methods.mona.config import MetaConfig
from trainables.report import Measured
from trainables.runtime.attempt import Attempt
from trainables.spec import TrialSpec


class Counting:
    """A validator of pydantic that counts its calls."""

    def __init__(self, real: Any) -> None:
        self._real, self.calls = real, 0

    def validate_python(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self._real.validate_python(*args, **options)


@pytest.fixture
def count(monkeypatch):
    """Count the validations of a model from now on."""

    def count(model: type) -> Counting:
        counting = Counting(model.__pydantic_validator__)
        monkeypatch.setattr(model, "__pydantic_validator__", counting)
        return counting

    return count


@pytest.mark.slow
def test_settings_are_validated_once_in_the_service_and_once_in_the_worker(trials, tmp_path, count):
    spec = trials.spec("mona", "1d")
    fixed = {f"{stage}.{k}": v for stage, each in spec.stages.items() for k, v in each.items()}
    given = {
        "name": "some",
        "methods": ["mona"],
        "tasks": [spec.task],
        "backbones": {"1d": spec.backbone.model_dump(exclude_defaults=True)},
        "proxies": {"1d": spec.proxy},
        "data": spec.data.model_dump(mode="json", exclude_defaults=True),
        "parameters": {"meta.alpha": {"min": 0.1, "max": 0.9}},
        "fixed": fixed,
        "search": {"trials": 3},
    }
    sweep = loads_sweep(json.dumps(given), catalog())
    (study,) = sweep.studies
    settings, specs = count(MetaConfig), count(TrialSpec)

    params = study.complete_params({"meta.alpha": 0.25})
    trial = Trial(study=study.name, number=2, kind=TrialKind.SAMPLED, params=params, seed=0)
    config = TrialBuilder(
        sweep,
        CheckpointPaths(tmp_path),
        trials.home,
        "holder",
        {study.name: StudyFacts()},
        trial_of=lambda study, number: trial,
    )(trial)
    assert (settings.calls, specs.calls) == (1, 0)

    attempt = Attempt(config)
    results = [attempt.step()]
    while not results[-1].is_last:
        results.append(attempt.step())
    attempt.close()
    assert all(isinstance(result, Measured) for result in results), results[-1]
    assert attempt.label == "some mona/pdebench/advection_1d@hard/2"
    assert (settings.calls, specs.calls) == (2, 1)
