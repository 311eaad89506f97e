"""Checks of the sampler of a sweep: what it can search, and what it learns from."""

from collections.abc import Sequence

from sweeper.spec.faults import Faults
from sweeper.spec.samplers import (
    AUTO,
    CMAES,
    GP,
    GP_TRIALS,
    GP_VALUES,
    GRID,
    MAX_POINTS,
    TPE,
    at_random,
    choose,
    continuous,
    grid,
    in_large_studies,
    numeric,
    with_too_many_values,
)
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep

PATH = ("search", "sampler")


def check_sampler(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each study that the built-in sampler cannot search.

    The choice of `auto`, the size of a grid, and parameters that are drawn at random have notes.
    """
    sampler, trials = sweep.search.sampler, sweep.search.trials
    for study in studies:
        if not study.parameters or trials <= len(study.leading):
            continue
        if sampler == AUTO:
            chosen = _chosen(study, prunes=sweep.pruning.type != "none")
            faults.note(f"`search.sampler: auto` draws `{study.name}` by {chosen}.")
        elif sampler == GRID:
            _check_grid(study, trials, faults)
        elif sampler == GP:
            for name in with_too_many_values(study.parameters):
                message = f" has over {GP_VALUES:,} steps, all of which `gp` holds in memory: give"
                faults.about(["parameters", name], f"{message} it wider steps, or write `tpe`.")
        elif sampler == CMAES and len(numeric(study.parameters)) < 2:
            faults.add(
                PATH,
                f"`search.sampler: cmaes` needs two numbers without a condition, but "
                f"`{study.method}` searches {len(numeric(study.parameters))}: write `tpe`.",
            )
            continue
        if drawn := at_random(sampler, study.parameters):
            what = "are choices or have a condition" if sampler == CMAES else "have a condition"
            names = ", ".join(f"`{name}`" for name in drawn)
            faults.note(
                f"`search.sampler: {sampler}` draws at random, since they {what}: {names}. `tpe` "
                "learns them."
            )
    # `auto` draws by `gp` for the first trials alone.
    draws = TPE if sampler == AUTO else sampler
    if seen := in_large_studies(draws, trials, has_several=len(sweep.search.objectives) > 1):
        faults.note(f"`search.sampler: {sampler}`: {seen}.")


def _chosen(study: StudySpec, *, prunes: bool) -> str:
    """Return the samplers that `auto` takes for a study, in words."""
    first, last = (
        choose(study.parameters, prunes=prunes, index=index) for index in (0, study.num_sampled - 1)
    )
    if first != last:
        return f"`{first}` for {GP_TRIALS} trials, then by `{last}`"
    if first == GP:
        return f"`{GP}`, since it is not pruned and searches numbers"
    return f"`{first}`, since it {'prunes' if prunes else 'searches choices or conditions'}"


def _check_grid(study: StudySpec, wanted: int, faults: Faults) -> None:
    """Add a fault for parameters without a grid, too many points, and shared stages."""
    for name in continuous(study.parameters):
        message = " is continuous, so that `search.sampler: grid` needs its `values` or a step `q`."
        faults.about(["parameters", name], message)
    for stage in study.distinct:
        message = " is drawn at random, but `search.sampler: grid` tries every combination"
        faults.about(["stages", stage, "distinct"], f"{message}: take one out.")
    if continuous(study.parameters):
        return
    points, start = len(grid(study.parameters)), f"`{study.name}`: the grid has"
    if points > MAX_POINTS:
        what = f"the grid of `{study.method}` has over {MAX_POINTS} points: search fewer values,"
        faults.add(PATH, f"{what} or write `qmc`.")
    elif study.num_trials < wanted:
        has = f"the study has {study.num_trials} trials, and not {wanted}"
        faults.note(f"{start} {points} points, so that {has}.")
    elif points > study.num_sampled:
        tried = f"of which {study.num_sampled} are tried, in a random order"
        faults.note(f"{start} {points} points, {tried}.")
