"""Checks of each study of a file: combined settings, shared stages, schedules, pruning."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

from sweeper.model import Params
from sweeper.spec.arms import BACKBONE
from sweeper.spec.catalog import MODEL
from sweeper.spec.distributions import Float
from sweeper.spec.faults import Faults
from sweeper.spec.priors import check_priors
from sweeper.spec.question import check_question
from sweeper.spec.rules.file import backbone_faults
from sweeper.spec.rules.goals import check_epochs_bound
from sweeper.spec.samplers import (
    AUTO,
    CMAES,
    GP,
    GP_TRIALS,
    GRID,
    MAX_POINTS,
    TPE,
    at_random,
    choose,
    continuous,
    grid,
    in_large_studies,
    numeric,
)
from sweeper.spec.schema import PROMOTE
from sweeper.spec.shared_base import WAY_OUT
from sweeper.spec.study import (
    DECAY,
    EPOCHS,
    REPLICATE,
    WARMUP,
    InfeasibleParams,
    Level,
    Stages,
    StudySpec,
    levels,
)
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import check_warm_start
from sweeper.text import printable

Refusal = tuple[tuple[str, ...], str]  # the path in the file, and the reason
Refusals = Callable[[StudySpec], Iterable[Refusal]]
LEADING = 2  # the preset and the control, which run even if nothing is searched


def check_studies(sweep: Sweep, faults: Faults, refusals: Refusals) -> tuple[str, ...]:
    """Add the faults of every study, and return notes for the user that are not faults.

    `refusals` yields the settings of a study that can never be trained.
    """
    studies = _feasible(sweep, faults)
    # Refusals concern single studies, so every feasible study is checked on its own.
    for study in studies:
        for path, reason in refusals(study):
            _refuse(study, path, reason, faults)
    notes = [_check_pruning(study, sweep, faults) for study in studies]
    notes += _check_arms(sweep, studies, faults)
    if sweep.question is not None:
        check_question(sweep.question, studies, sweep.compare_by, faults)
    searched = [s for s in studies if s.arm is None or sweep.tune == "per_arm"]
    _check_searched(sweep, searched, faults)
    check_epochs_bound(sweep.search.constraints, searched, faults)
    notes += check_sampler(sweep, searched, faults)
    notes += check_priors(sweep, searched, faults)
    notes += check_warm_start(sweep, searched, faults)
    notes += check_budget(sweep, searched, faults)
    notes += check_processes(sweep, studies, faults)
    notes += check_levels(studies, faults)
    if sweep.replicate is None and any(study.has_own_draws for study in studies):
        notes.append(
            f"`data.seed: {REPLICATE}` gives each seed of `replicate` its own draw of the data, "
            "but there is no `replicate`, so that all trials share one: add `replicate: {seeds: "
            "8}`, or write a number."
        )
    notes += schedule_notes(studies)
    notes += _unused(sweep, studies, searched)
    return tuple(dict.fromkeys(note for note in notes if note))


def _feasible(sweep: Sweep, faults: Faults) -> list[StudySpec]:
    """Return the studies whose settings do not contradict each other; add a fault for others."""
    studies: list[StudySpec] = []
    for method, task in product(sweep.methods, sweep.tasks):
        try:
            studies += sweep.studies_on(method, task)
        except InfeasibleParams as error:
            name = {"methods": method, "tasks": task}.get(error.section)
            on = "" if error.section == "methods" else f" on `{task}`"
            _add(error.section, f"`{method}`{on}: {error}.", faults, name)
    return studies


def _check_searched(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> None:
    """Add a fault for each method with trials to sample, but without a parameter to search."""
    for method in dict.fromkeys(study.method for study in studies if not study.parameters):
        if sweep.search.trials > LEADING:
            message = (
                f"`{method}` has no parameter here to search. Name one in `parameters`, or set "
                f"`search.trials: {LEADING}` to run its preset and control alone. All that it has: "
                f"sweeper describe {method}"
            )
            key = "parameters" if "parameters" in faults.tree.children() else "methods"
            _add(key, message, faults, method)


def _unused(
    sweep: Sweep, studies: Sequence[StudySpec], searched: Sequence[StudySpec]
) -> Iterator[str]:
    """Yield a note for each parameter and each setting of `model` that applies to no study."""
    used = {name for study in studies for name in study.parameters}
    of_model = {f"{MODEL}.{key}" for study in studies for key in study.model}
    names = [f"parameters.{name}" for name in sweep.parameters if searched and name not in used]
    given = [f"{MODEL}.{key}" for key, value in sweep.model.items() if value is not None]
    for name in (*names, *(each for each in given if studies and each not in of_model)):
        owner, _, key = name.removeprefix("parameters.").partition(".")
        why = f"no backbone here has {key}" if owner == MODEL else "its condition does not hold"
        yield f"`{name}` applies to no study: {why}."


def _refuse(study: StudySpec, path: tuple[str, ...], reason: str, faults: Faults) -> None:
    """Add a fault for a setting of a study, at the arm if the arm has it."""
    if study.arm is not None and path[0] == "backbones" and study.arm.of(BACKBONE):
        faults.add(faults.tree.child("compare_by"), f"`{study.arm.name}`: {reason}")
    else:
        faults.add(path, reason)


def _check_arms(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> Iterator[str]:
    """Add a fault for arms that are equal once complete, and yield notes on an ablation."""
    if not sweep.compare_by:
        return
    node = faults.tree.child("compare_by")
    groups: dict[tuple[str, str], list[StudySpec]] = {}
    for study in studies:
        if study.arm is not None:
            groups.setdefault((study.method, study.task), []).append(study)
    for fault in chain.from_iterable(_faults_of_arms(arms, sweep) for arms in groups.values()):
        faults.add(node, fault)
    if sweep.tune == "per_arm" and sweep.base != "preset":
        what = f"`base{': tuned' if sweep.base == 'tuned' else ''}`"
        faults.add(
            ["base"],
            f"{what} is for arms that share their settings; with `tune: per_arm` each arm "
            "has a search of its own. Take one out.",
        )
    if not isinstance(sweep.base, str):
        yield from _check_shared(sweep.base, list(groups), faults)
    if sweep.parameters and sweep.base == "preset" and sweep.tune == "shared":
        yield (
            "`parameters` are not searched: the arms share the preset. Write `base: tuned` to "
            "search the base first, or `tune: per_arm` to search each arm."
        )
    if sweep.replicate is None:
        yield (
            "each arm has one seed, so that no difference can be tested: add `replicate: {seeds: "
            "8}`."
        )


def _faults_of_arms(studies: Sequence[StudySpec], sweep: Sweep) -> Iterator[str]:
    """Yield the faults of the arms of a method on a task: of their backbones, and of twins."""
    for i, study in enumerate(studies):
        assert study.arm is not None
        if study.backbone is not None and study.arm.of(BACKBONE):
            dimension = sweep.catalog.tasks[study.task].dimension
            found = backbone_faults(study.backbone, dimension, sweep.catalog, study.arm.name)
            yield from (fault for _, fault in found)
        twin = next((other.arm for other in studies[:i] if other.settings == study.settings), None)
        if twin is not None:
            yield (
                f"`{study.method}` on `{study.task}` has two arms that are equal once complete: "
                f"`{twin.name}` and `{study.arm.name}`; keep one."
            )


def _check_shared(
    base: Mapping[str, Params], pairs: Iterable[tuple[str, str]], faults: Faults
) -> Iterator[str]:
    """Add a fault for each method and task that the files of `base` lack; note those left over."""
    wanted = [f"{method}/{task}" for method, task in pairs]
    for study in wanted:
        if study not in base:
            message = f"`base` has no settings of `{study}`, which was not tuned there: add a file"
            faults.add(["base"], f"{message}; {WAY_OUT}.")
    for study in base:
        if study not in wanted:
            yield f"`base` has settings of `{printable(study)}`, which the sweep does not have."


def _check_pruning(study: StudySpec, sweep: Sweep, faults: Faults) -> str | None:
    """Add a fault for a pruner that can never act, or return a note if the file is not to blame.

    A quick run with fewer epochs on the command line is not a mistake of the file.
    """
    stage = study.objective_stage
    most = study.stage_epochs[stage]
    pauses = sweep.pruning.type == PROMOTE
    if sweep.pruning.type == "none":
        return None
    if pauses and f"{stage}.{EPOCHS}" in study.parameters:
        faults.add(
            ["parameters", f"{stage}.{EPOCHS}"],
            f"`parameters.{stage}.{EPOCHS}`: `pruning.type: {PROMOTE}` compares trials after as "
            f"many epochs of `{stage}`, which all are to have: write it under `fixed`, or `type: "
            "asha`.",
        )
        return None
    start = f"`pruning.min_epochs: {study.min_epochs}`"
    if study.min_epochs > most - pauses:
        message = (
            f"{start} is {'not below' if pauses else 'over'} the {most} epochs of `{stage}`, so "
            f"that no trial is ever {'paused' if pauses else 'pruned'}."
        )
    else:
        return None
    path, node = faults.tree.trace(["pruning", "min_epochs"])
    epochs = faults.tree.child("fixed").children().get(f"{stage}.epochs")
    if len(path) < 2 or (epochs is not None and epochs.origin.where != node.origin.where):
        return message
    faults.add(node, message + " Lower it, or write `type: none`.")
    return None


def _add(key: str, message: str, faults: Faults, name: str | None = None) -> None:
    """Add a fault at a key of the file, or at a name in the list under it."""
    place = faults.tree.children().get(key)
    if place is not None and isinstance(place.value, list):
        place = next((item for item in place.value if item.value == name), place)
    faults.add(place if place is not None else faults.whole, message)


def check_sampler(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> list[str]:
    """Add a fault for each study that the built-in sampler cannot search.

    Returns:
        Notes on the choice of `auto`, the size of a grid, and parameters that are drawn at random.
    """
    sampler, notes = sweep.search.sampler, []
    node = faults.tree.at(["search", "sampler"])
    for study in studies:
        if not study.parameters or sweep.search.trials <= len(study.leading):
            continue
        if sampler == AUTO:
            notes.append(f"`search.sampler: auto` draws `{study.name}` by {_chosen(study, sweep)}.")
        elif sampler == GRID:
            notes += _check_grid(study, sweep, faults)
        elif sampler == CMAES and len(numeric(study.parameters)) < 2:
            faults.add(
                node,
                f"`search.sampler: cmaes` needs two numbers without a condition, but "
                f"`{study.method}` searches {len(numeric(study.parameters))}: write `tpe`.",
            )
            continue
        if drawn := at_random(sampler, study.parameters):
            what = "are choices or have a condition" if sampler == CMAES else "have a condition"
            names = ", ".join(f"`{name}`" for name in drawn)
            notes.append(
                f"`search.sampler: {sampler}` draws at random, since they {what}: {names}. `tpe` "
                "learns them."
            )
    seen = in_large_studies(
        TPE if sampler == AUTO else sampler,
        sweep.search.trials,
        has_several=len(sweep.search.objectives) > 1,
    )
    if seen:
        notes.append(f"`search.sampler: {sampler}`: {seen}.")
    return notes


def check_budget(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> list[str]:
    """Add a fault for each limit of studies that contradicts their trials.

    Returns:
        Notes on limits that more or fewer trials on the command line contradict.
    """
    budget, trials, notes = sweep.budget, sweep.search.trials, []
    if budget.no_improvement is not None and sweep.pruning.type == PROMOTE:
        faults.add(
            ["budget", "no_improvement"],
            "`budget.no_improvement` counts trials that have ended, but with "
            "`pruning.type: promote` most trials stay paused: write `budget.epochs` "
            "instead, or `pruning.type: asha`.",
        )
    elif budget.no_improvement is not None and budget.no_improvement >= trials:
        message = (
            f"`budget.no_improvement: {budget.no_improvement}` is never reached with "
            f"`search.trials: {trials}`"
        )
        node, of_trials = map(faults.tree.at, (["budget", "no_improvement"], ["search", "trials"]))
        if node.origin.where == of_trials.origin.where:
            faults.add(node, f"{message}: write a smaller number, or take it out.")
        else:
            notes.append(f"{message}.")
    for study in studies:
        preset = sum(int(study.preset[f"{stage}.{EPOCHS}"]) for stage in study.stage_epochs)
        if budget.epochs is not None and budget.epochs <= preset and study.num_sampled:
            faults.add(
                ["budget", "epochs"],
                f"`budget.epochs: {budget.epochs}` is spent by the preset of `{study.name}` alone, "
                f"which has {preset} epochs: raise it, or lower the epochs.",
            )
    return notes


def _chosen(study: StudySpec, sweep: Sweep) -> str:
    """Return the samplers that `auto` takes for a study, in words."""
    prunes = sweep.pruning.type != "none"
    first, last = (
        choose(study.parameters, prunes=prunes, index=index) for index in (0, study.num_sampled - 1)
    )
    if first != last:
        return f"`{first}` for {GP_TRIALS} trials, then by `{last}`"
    if first == GP:
        return f"`{GP}`, since it is not pruned and searches numbers"
    return f"`{first}`, since it {'prunes' if prunes else 'searches choices or conditions'}"


def _check_grid(study: StudySpec, sweep: Sweep, faults: Faults) -> Iterator[str]:
    """Add a fault for parameters without a grid, too many points, and shared stages."""
    node = faults.tree.at(["search", "sampler"])
    for name in continuous(study.parameters):
        message = "is continuous, so that `search.sampler: grid` needs its `values` or a step `q`."
        faults.add(["parameters", name], f"`parameters.{name}` {message}")
    for stage in study.distinct:
        message = "is drawn at random, but `search.sampler: grid` tries every combination"
        faults.add(
            ["stages", stage, "distinct"], f"`stages.{stage}.distinct` {message}: take one out."
        )
    if continuous(study.parameters):
        return
    points, wanted = len(grid(study.parameters)), sweep.search.trials
    if points > MAX_POINTS:
        faults.add(
            node,
            f"the grid of `{study.method}` has over {MAX_POINTS} points: search fewer values, or "
            "write `qmc`.",
        )
    elif study.num_trials < wanted:
        yield (
            f"`{study.name}`: the grid has {points} points, so that the study has "
            f"{study.num_trials} trials, and not {wanted}."
        )
    elif points > study.num_sampled:
        yield (
            f"`{study.name}`: the grid has {points} points, of which {study.num_sampled} are tried,"
            " in a random order."
        )


def check_processes(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> list[str]:
    """Add a fault for each method that cannot divide its batches among the processes of a trial.

    Returns:
        Notes on stages that run in the first process alone, and on batches that are too small.
    """
    count, notes = sweep.resources.num_processes, []
    if count == 1:
        return []
    key = "gpu" if sweep.resources.gpu else "processes"
    refused: dict[str, None] = {}
    for study in studies:
        for given, settings in _variants(study):
            divided = study.entry.divided(settings)
            if not divided:
                refused[
                    f"`resources.{key}: {count}`: `{study.method}`{given} has no stage whose "
                    "batches several processes can divide, so that all but one would be idle. "
                    f"Write `{key}: 1` for more trials at once, or take it out."
                ] = None
                break
            alone = [f"`{s}`" for s, of in settings.items() if s not in divided and of["epochs"]]
            if divided and alone:
                notes.append(
                    f"`resources.{key}: {count}`: the first of {count} processes runs "
                    f"{' and '.join(alone)} of `{study.method}` alone; all divide the batches of "
                    f"`{divided[-1]}`."
                )
            notes += [
                f"`resources.{key}: {count}`: `{stage}.batch_size` of `{study.method}` is "
                f"{settings[stage]['batch_size']}{given}, so that some of {count} processes are "
                "idle."
                for stage in divided
                if settings[stage].get("batch_size", count) < count
            ]
    for message in refused:
        faults.add(["resources", key], message)
    return notes


def _variants(study: StudySpec) -> Iterator[tuple[str, Stages]]:
    """Yield the settings of a study's stages: the preset, and each choice or end of a parameter.

    Each comes with the choice in words.
    """
    yield "", study.resolve_params({})
    for name, parameter in study.parameters.items():
        if isinstance(parameter, Float):
            continue
        for value in parameter.examples():
            try:
                yield f" with `{name}: {value}`", study.resolve_params({name: value})
            except InfeasibleParams:
                continue  # possible in other combinations alone


def check_levels(studies: Iterable[StudySpec], faults: Faults) -> list[str]:
    """Add a fault for each level of shared stages that cannot be drawn, and return notes."""
    notes: list[str] = []
    all_levels = [(study, levels(study)) for study in studies]
    searched = {level.stages[-1] for _, found in all_levels for level in found if level.parameters}
    for study, found in all_levels:
        names: set[str] = set()
        for depth, level in enumerate(found):
            stage = level.stages[-1]
            names |= level.parameters.keys()
            place = faults.tree.at(["stages", stage, "distinct"])
            # A level is a fault only if nothing is searched in its stage in any study.
            if level.distinct > 1 and not level.parameters:
                message = _nothing_differs(level, depth)
                if stage in searched:
                    notes.append(f"`{study.name}`: {message}")
                else:
                    faults.add(place, f"{message} Search one, or write `distinct: 1`.")
            for name, parameter in level.parameters.items():
                for parent in parameter.when:
                    if parent not in names:
                        message = (
                            f"`{parent}` is drawn after what `stages.{stage}.distinct` shares. "
                            "Take the condition, or the `distinct`, out."
                        )
                        where = faults.tree.at(["parameters", name, "when", parent])
                        faults.add(where, f"`parameters.{name}.when`: {message}")
        most = math.prod(level.distinct for level in found)
        if found and 1 < study.num_sampled <= most:
            notes.append(
                f"`stages`: {study.num_sampled} sampled trials a study and {most} configurations "
                f"of `{found[-1].stages[-1]}`, so that no two trials share one."
            )
    return notes


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


def schedule_notes(studies: Iterable[StudySpec]) -> list[str]:
    """Return a note for each schedule that ends before its stage does."""
    return list(dict.fromkeys(note for study in studies for note in _ends_early(study)))


def _ends_early(study: StudySpec) -> Iterator[str]:
    for stage, most in study.stage_epochs.items():
        name = f"{stage}.{DECAY}"
        ends = [float(end) for end in _values(study, name) if end is not None]
        rises = [float(rise) for rise in _values(study, f"{stage}.{WARMUP}")]
        first = min(ends, default=float(most))
        # If the warm-up lasts longer, the rate does not fall but stays at its peak.
        if first < most and first > min(rises, default=0.0):
            yield (
                f"`{study.method}`: the rate of `{stage}` is 0 after epoch {first:g} "
                f"(`{name}`), but a trial may have {most} epochs: those after it train nothing. "
                f"Leave `{name}` out, and it follows `{stage}.{EPOCHS}`."
            )


def _values(study: StudySpec, name: str) -> tuple[Any, ...]:
    """Return the extreme values of a parameter; none if the stage does not have it."""
    if (drawn := study.parameters.get(name)) is not None:
        return tuple(drawn.examples())
    return (study.preset[name],) if name in study.preset else ()
