"""Checks of the stages of studies: what they share, their schedules, and their processes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweeper.errors import unknown
from sweeper.spec.catalog import Catalog
from sweeper.spec.distributions import Float
from sweeper.spec.faults import Faults
from sweeper.spec.schema import StageSearch
from sweeper.spec.study import (
    DECAY,
    EPOCHS,
    WARMUP,
    InfeasibleParams,
    Level,
    Stages,
    StudySpec,
    levels,
)
from sweeper.spec.sweep import Sweep
from sweeper.text import printable


def check_stages(
    stages: Mapping[str, StageSearch], methods: Iterable[str], catalog: Catalog, faults: Faults
) -> None:
    """Add a fault for each stage that no method has, or whose `distinct` cannot be satisfied."""
    entries = [catalog.methods[method] for method in methods]
    known = catalog.stage_types(entry.name for entry in entries)
    for stage, section in stages.items():
        place = ["stages", stage, "distinct"]
        if stage not in known:
            others = [m for m in catalog.usable_methods if stage in catalog.methods[m].stages]
            message = unknown("stage", printable(stage), known)
            if others:
                names = ", ".join(entry.name for entry in entries)
                message = f"stage `{stage}` is of {', '.join(others)}, but not of {names}."
            faults.add(place[:2], message)
            continue
        if section.distinct != "all" and any(e.objective_stage == stage for e in entries):
            message = "reports the objective, so that its result is the trial: take it out."
            faults.about(place, f": `{stage}` {message}")
        # A stage cannot vary more than a later stage that is shared.
        for entry in entries:
            order = list(entry.stages)
            after = order[order.index(stage) + 1 :] if stage in order else []
            later = [s for s in after if s in stages and stages[s].distinct != "all"]
            if section.distinct == "all" and "distinct" in section.model_fields_set and later:
                message = (
                    f"`{later[0]}` comes after it and has {stages[later[0]].distinct}: a stage "
                    "varies no more than what is shared after it. Write a number, or take it out "
                    f"to draw it together with `{later[0]}`."
                )
                faults.add(place, f"`stages.{stage}.distinct: all`: {message}")
                break


def check_levels(_: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each level of shared stages that cannot be drawn."""
    all_levels = [(study, levels(study)) for study in studies]
    searched = {level.stages[-1] for _, found in all_levels for level in found if level.parameters}
    for study, found in all_levels:
        names: set[str] = set()
        for depth, level in enumerate(found):
            stage = level.stages[-1]
            names |= level.parameters.keys()
            # A level is a fault only if nothing is searched in its stage in any study.
            if level.distinct > 1 and not level.parameters:
                message = _nothing_differs(level, depth)
                if stage in searched:
                    faults.note(f"`{study.name}`: {message}")
                else:
                    place = ["stages", stage, "distinct"]
                    faults.add(place, f"{message} Search one, or write `distinct: 1`.")
            parents = (
                (n, of) for n, parameter in level.parameters.items() for of in parameter.when
            )
            for name, parent in parents:
                if parent not in names:
                    message = (
                        f"`{parent}` is drawn after what `stages.{stage}.distinct` shares. "
                        "Take the condition, or the `distinct`, out."
                    )
                    where = ["parameters", name, "when", parent]
                    faults.add(where, f"`parameters.{name}.when`: {message}")
        most = math.prod(level.distinct for level in found)
        if found and 1 < study.num_sampled <= most:
            faults.note(
                f"`stages`: {study.num_sampled} sampled trials a study and {most} configurations "
                f"of `{found[-1].stages[-1]}`, so that no two trials share one."
            )


def _nothing_differs(level: Level, depth: int) -> str:
    """Return why `distinct` has no effect.

    Configurations must differ in more than the seed: the best of several seeds would be luck.
    `replicate` repeats a configuration on other seeds.
    """
    what = "differ in the seed alone" if depth == 0 else "be equal"
    stage = level.stages[-1]
    return (
        f"`stages.{stage}.distinct: {level.distinct}`: no parameter of "
        f"{' or '.join(f'`{s}`' for s in level.stages)} is searched, so that the results would "
        f"{what}."
    )


def check_processes(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each method that cannot divide its batches among the processes of a trial.

    Stages that run in the first process alone, and batches that are too small, have notes.
    """
    count, key = sweep.resources.num_processes, "gpu" if sweep.resources.gpu else "processes"
    start = f"`resources.{key}: {count}`:"
    for study in studies if count > 1 else ():
        for given, settings in _variants(study):
            divided = study.entry.divided(settings)
            if not divided:
                faults.add(
                    ["resources", key],
                    f"{start} `{study.method}`{given} has no stage whose batches several processes "
                    "can divide, so that all but one would be idle. "
                    f"Write `{key}: 1` for more trials at once, or take it out.",
                )
                break
            alone = [f"`{s}`" for s, of in settings.items() if s not in divided and of["epochs"]]
            if alone:
                faults.note(
                    f"{start} the first of {count} processes runs {' and '.join(alone)} of "
                    f"`{study.method}` alone; all divide the batches of `{divided[-1]}`."
                )
            for stage in divided:
                size = settings[stage].get("batch_size", count)
                if size < count:
                    faults.note(
                        f"{start} `{stage}.batch_size` of `{study.method}` is {size}{given}, so "
                        f"that some of {count} processes are idle."
                    )


def _variants(study: StudySpec) -> Iterator[tuple[str, Stages]]:
    """Yield the settings of a study's stages: the preset, and each choice or end of a parameter.

    Each comes with the choice in words.
    """
    yield "", study.resolve_params({})
    for name, parameter in study.parameters.items():
        # Real numbers change neither the size of a batch nor which stages run.
        if isinstance(parameter, Float):
            continue
        for value in parameter.examples():
            try:
                yield f" with `{name}: {value}`", study.resolve_params({name: value})
            except InfeasibleParams:
                continue  # possible in other combinations alone


def check_schedules(_: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Note each schedule that ends before its stage does."""
    for note in schedule_notes(studies):
        faults.note(note)


def schedule_notes(studies: Iterable[StudySpec]) -> Iterator[str]:
    """Yield a note for each schedule that ends before its stage does."""
    for study in studies:
        for stage, most in study.stage_epochs.items():
            name = f"{stage}.{DECAY}"
            ends = [float(end) for end in _values(study, name) if end is not None]
            rises = [float(rise) for rise in _values(study, f"{stage}.{WARMUP}")]
            first = min(ends, default=float(most))
            # If the warm-up lasts longer, the rate does not fall but stays at its peak.
            if first < most and first > min(rises, default=0.0):
                yield (
                    f"`{study.method}`: the rate of `{stage}` is 0 after epoch {first:g} "
                    f"(`{name}`), but a trial may have {most} epochs: those after it train "
                    f"nothing. Leave `{name}` out, and it follows `{stage}.{EPOCHS}`."
                )


def _values(study: StudySpec, name: str) -> tuple[Any, ...]:
    """Return the extreme values of a parameter; none if the stage does not have it."""
    if (drawn := study.parameters.get(name)) is not None:
        return tuple(drawn.examples())
    return (study.preset[name],) if name in study.preset else ()
