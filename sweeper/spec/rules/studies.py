"""Checks of the studies of a file: each study by itself, then every rule over all of them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from sweeper.spec.arms import BACKBONE
from sweeper.spec.catalog import MODEL
from sweeper.spec.faults import Faults
from sweeper.spec.priors import check_priors
from sweeper.spec.rules.arms import check_arms
from sweeper.spec.rules.budget import check_budget
from sweeper.spec.rules.goals import check_epochs_bound
from sweeper.spec.rules.ladder import check_ladder
from sweeper.spec.rules.pruning import check_pruning
from sweeper.spec.rules.question import check_question
from sweeper.spec.rules.sampler import check_sampler
from sweeper.spec.rules.stages import check_levels, check_processes, check_schedules
from sweeper.spec.study import REPLICATE, InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import check_warm_start

Refusal = tuple[tuple[str, ...], str]  # the path in the file, and the reason
Refusals = Callable[[StudySpec], Iterable[Refusal]]
Rule = Callable[[Sweep, Sequence[StudySpec], Faults], None]
LEADING = 2  # the preset and the control, which run even if nothing is searched


def check_studies(sweep: Sweep, faults: Faults, refusals: Refusals) -> None:
    """Add the faults of every study, and notes for the user that are not faults.

    `refusals` yields the settings of a study that can never be trained.
    """
    studies = _feasible(sweep, faults)
    known = len(faults.found)
    check_ladder(sweep, studies, faults)
    # Refusals concern single studies, so every feasible study is checked on its own. A rung with
    # more samples that score than that train has no data to be checked.
    for study in studies if len(faults.found) == known else ():
        for path, reason in refusals(study):
            _refuse(study, path, reason, faults)
    # Arms that share their settings search nothing, so that rules about a search do not concern
    # them.
    searched = [s for s in studies if s.arm is None or sweep.tune == "per_arm"]
    for rules, checked in (
        ((check_pruning, check_arms, check_question), studies),
        (OF_SEARCH, searched),
        ((check_processes, check_levels, _check_draws, check_schedules), studies),
    ):
        for rule in rules:
            rule(sweep, checked, faults)
    _note_unused(sweep, studies, searched, faults)


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


def _check_searched(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each method with trials to sample, but without a parameter to search.

    A program without one is a baseline beside others, and runs once.
    """
    if sweep.program is not None:
        if sweep.search.trials > 1 and not any(study.parameters for study in studies):
            message = "nothing is searched. Name a parameter in `parameters`, or set `search."
            faults.add(["program"], f"`program`: {message}trials: 1`, to run it as it is.")
        return
    for method in dict.fromkeys(study.method for study in studies if not study.parameters):
        if sweep.search.trials > LEADING:
            message = (
                f"`{method}` has no parameter here to search. Name one in `parameters`, or set "
                f"`search.trials: {LEADING}` to run its preset and control alone. All that it has: "
                f"sweeper describe {method}"
            )
            key = "parameters" if "parameters" in faults.tree.children() else "methods"
            _add(key, message, faults, method)


OF_SEARCH: tuple[Rule, ...] = (
    _check_searched,
    check_epochs_bound,
    check_sampler,
    check_priors,
    check_warm_start,
    check_budget,
)


def _check_draws(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Note that draws of the data by replicate need replicates."""
    if sweep.replicate is None and any(study.has_own_draws for study in studies):
        faults.note(
            f"`data.seed: {REPLICATE}` gives each seed of `replicate` its own draw of the data, "
            "but there is no `replicate`, so that all trials share one: add `replicate: {seeds: "
            "8}`, or write a number."
        )


def _note_unused(
    sweep: Sweep, studies: Sequence[StudySpec], searched: Sequence[StudySpec], faults: Faults
) -> None:
    """Note each parameter and each setting of `model` that applies to no study."""
    used = {name for study in studies for name in study.parameters}
    of_model = {f"{MODEL}.{key}" for study in studies for key in study.model}
    names = [f"parameters.{name}" for name in sweep.parameters if searched and name not in used]
    given = [f"{MODEL}.{key}" for key, value in sweep.model.items() if value is not None]
    for name in (*names, *(each for each in given if studies and each not in of_model)):
        owner, _, key = name.removeprefix("parameters.").partition(".")
        why = f"no backbone here has {key}" if owner == MODEL else "its condition does not hold"
        faults.note(f"`{name}` applies to no study: {why}.")


def _refuse(study: StudySpec, path: tuple[str, ...], reason: str, faults: Faults) -> None:
    """Add a fault for a setting of a study, at the arm if the arm has it."""
    if study.arm is not None and path[0] == "backbones" and study.arm.of(BACKBONE):
        faults.add(faults.tree.child("compare_by"), f"`{study.arm.name}`: {reason}")
    else:
        faults.add(path, reason)


def _add(key: str, message: str, faults: Faults, name: str | None = None) -> None:
    """Add a fault at a key of the file, or at a name in the list under it."""
    place = faults.tree.children().get(key)
    if place is not None and isinstance(place.value, list):
        place = next((item for item in place.value if item.value == name), place)
    faults.add(place if place is not None else faults.whole, message)
