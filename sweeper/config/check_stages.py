"""Checks `stages`: which of them there are, and whether their configurations can be drawn first."""

import math
from collections.abc import Iterable, Mapping

from sweeper.config.catalog import Catalog
from sweeper.config.faults import Faults
from sweeper.config.node import Node
from sweeper.config.schema import StageSearch
from sweeper.config.stage_levels import Level, levels
from sweeper.config.study_plan import StudyPlan
from sweeper.errors import unknown
from sweeper.text import printable


def check_stages(
    tree: Node,
    stages: Mapping[str, StageSearch],
    methods: Iterable[str],
    catalog: Catalog,
    faults: Faults,
) -> None:
    """Notes each stage that no method has, or whose `distinct` none of them can honour."""
    entries = [catalog.methods[method] for method in methods]
    known = catalog.stage_types(entry.name for entry in entries)
    for stage, said in stages.items():
        place = tree.at(["stages", stage])
        if stage not in known:
            others = [m.name for m in catalog.methods.values() if stage in m.stages]
            told = unknown("stage", printable(stage), known)
            if others:
                names = ", ".join(entry.name for entry in entries)
                told = f"stage `{stage}` is of {', '.join(others)}, but not of {names}."
            faults.add(place, told)
            continue
        place = tree.at(["stages", stage, "distinct"])
        if said.distinct != "all" and any(e.objective_stage == stage for e in entries):
            told = f"`{stage}` reports the objective, so that its result is the trial: take it out."
            faults.add(place, f"`stages.{stage}.distinct`: {told}")
        for entry in entries:
            order = list(entry.stages)
            after = order[order.index(stage) + 1 :] if stage in order else []
            later = [s for s in after if s in stages and stages[s].distinct != "all"]
            if said.distinct == "all" and "distinct" in said.model_fields_set and later:
                told = (
                    f"`{later[0]}` comes after it and has {stages[later[0]].distinct}: a stage "
                    "varies no more than what is shared after it. Write a number, or take it out "
                    f"to draw it together with `{later[0]}`."
                )
                faults.add(place, f"`stages.{stage}.distinct: all`: {told}")
                break


def check_levels(studies: Iterable[StudyPlan], tree: Node, faults: Faults) -> list[str]:
    """Adds what keeps shared configurations from being drawn, and returns what is no fault."""
    notes: list[str] = []
    all_levels = [(study, levels(study)) for study in studies]
    searched = {level.stages[-1] for _, found in all_levels for level in found if level.parameters}
    for study, found in all_levels:
        names: set[str] = set()
        for depth, level in enumerate(found):
            stage = level.stages[-1]
            names |= level.parameters.keys()
            place = tree.at(["stages", stage, "distinct"])
            if level.distinct > 1 and not level.parameters:
                told = _nothing_differs(level, depth)
                if stage in searched:
                    notes.append(f"`{study.name}`: {told}")
                else:
                    faults.add(place, f"{told} Search one, or write `distinct: 1`.")
            for name, parameter in level.parameters.items():
                for parent in parameter.when:
                    if parent not in names:
                        told = (
                            f"`{parent}` is drawn after what `stages.{stage}.distinct` shares. "
                            "Take the condition, or the `distinct`, out."
                        )
                        where = tree.at(["parameters", name, "when", parent])
                        faults.add(where, f"`parameters.{name}.when`: {told}")
        most = math.prod(level.distinct for level in found)
        if found and 1 < study.num_sampled <= most:
            notes.append(
                f"`stages`: {study.num_sampled} sampled trials a study and {most} configurations "
                f"of `{found[-1].stages[-1]}`, so that no two trials share one."
            )
    return notes


def _nothing_differs(level: Level, depth: int) -> str:
    """One seed more is not one configuration more: what is best among them would be luck, and
    `replicate` is what repeats a configuration on other seeds."""
    what = "differ in the seed alone" if depth == 0 else "be equal"
    stage = level.stages[-1]
    return (
        f"`stages.{stage}.distinct: {level.distinct}`: no parameter of "
        f"{' or '.join(f'`{s}`' for s in level.stages)} is searched, so that the results would "
        f"{what}."
    )
