"""What a study's trials are given, in the science's terms; torch is not imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.config.catalog import model_settings
from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from trainables.spec import BackboneSpec, DataSpec, TrialSpec
from trainables.tasks.registry import TASKS


def spec_of(
    sweep: Sweep, study: StudySpec, params: Mapping[str, Any], *, seed: int, home: Path
) -> TrialSpec:
    """Returns the trial of a study with `params`.

    Raises:
        InfeasibleParams: A stage refuses them.
    """
    return TrialSpec(
        method=study.method,
        task=study.task,
        backbone=study.backbone,
        proxy=sweep.proxy_of(study, params),
        data=data_of(study),
        model={**study.model, **model_settings(params)},
        stages=sweep.resolve_params(study, params),
        seed=seed,
        home=home,
    )


def data_of(study: StudySpec) -> DataSpec:
    """Returns which data a study's trials are given: the resolution is that of its dimension."""
    data = DataSpec.model_validate(study.data)
    return data.of(TASKS[study.task].dimension)


def describe(backbone: BackboneSpec) -> str:
    """A backbone in a few words: its name, and how much of it is used."""
    cuts = [
        f"{count} {what}"
        for count, what in ((backbone.layers, "layers"), (backbone.tokens, "tokens"))
        if count is not None
    ]
    return f"{backbone.name} ({', '.join(cuts)})" if cuts else backbone.name
