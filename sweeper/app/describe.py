"""What a study's trials are given, in the science's terms; torch is not imported."""

from collections.abc import Mapping

from sweeper.space.sweep import StudyPlan
from trainables.spec import BackboneSpec, DataSpec
from trainables.tasks.registry import TASKS


def data_of(study: StudyPlan) -> DataSpec:
    """Returns which data a study's trials are given: the resolution is that of its dimension."""
    data = DataSpec.model_validate(study.data)
    if not isinstance(data.resolution, Mapping):
        return data
    resolution = data.resolution.get(TASKS[study.task].dimension)
    return data.model_copy(update={"resolution": resolution})


def describe(backbone: BackboneSpec) -> str:
    """A backbone in a few words: its name, and how much of it is used."""
    cuts = [
        f"{count} {what}"
        for count, what in ((backbone.layers, "layers"), (backbone.tokens, "tokens"))
        if count is not None
    ]
    return f"{backbone.name} ({', '.join(cuts)})" if cuts else backbone.name
