"""Which stages of a study trials share, and in which steps their configurations are drawn.

A study with `distinct` shares all stages up to the last that has one, and with them the choice of
the source data and of the model's settings. They make a tree: a level for each `distinct`, whose
configurations are drawn anew for each configuration of the level before. A stage without a
`distinct` of its own is drawn together with the next stage that has one: it cannot vary more than
what follows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeper.config.catalog import MODEL, PROXY
from sweeper.config.distributions import Distribution
from sweeper.config.study_plan import StudyPlan


@dataclass(frozen=True, kw_only=True)
class Level:
    """Stages that are drawn together: `distinct` times for each configuration of those before."""

    stages: tuple[str, ...]
    distinct: int
    parameters: Mapping[str, Distribution]  # of these stages, parents first


def levels(study: StudyPlan) -> tuple[Level, ...]:
    """Returns the levels of what a study's trials share; none where each draws its own."""
    found: list[Level] = []
    together: list[str] = []
    for stage in study.entry.stages:
        together.append(stage)
        if stage in study.distinct:
            owners = {*together, *(() if found else (PROXY, MODEL))}
            mine = {n: p for n, p in study.parameters.items() if n.partition(".")[0] in owners}
            level = Level(stages=tuple(together), distinct=study.distinct[stage], parameters=mine)
            found.append(level)
            together = []
    return tuple(found)


def shared_stages(study_levels: Iterable[Level]) -> tuple[str, ...]:
    """Returns the stages of all levels, in the order in which they run."""
    return tuple(stage for level in study_levels for stage in level.stages)
