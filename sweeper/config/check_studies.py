"""Checks what can only be seen study by study: settings together, and what is left to search."""

from collections.abc import Callable, Iterable

from sweeper.config.catalog import MODEL
from sweeper.config.check_stages import check_levels
from sweeper.config.faults import Faults
from sweeper.config.node import Node, Origin
from sweeper.config.schedules import schedule_notes
from sweeper.config.sweep import InfeasibleParams, StudyPlan, Sweep

Refusal = tuple[tuple[str, ...], str]  # where in the file, and why
Refusals = Callable[[StudyPlan], Iterable[Refusal]]
LEADING = 2  # trials that sample nothing: the preset and the control


def check_studies(
    sweep: Sweep, tree: Node, faults: Faults, refusals: Refusals | None = None
) -> tuple[str, ...]:
    """Adds the faults of every study, and returns what is worth telling but no fault.

    Args:
        refusals: Yields what the science refuses of a study.
    """
    studies: list[StudyPlan] = []
    for method in sweep.methods:
        for task in sweep.tasks:
            try:
                studies.append(sweep.study(method, task))
            except InfeasibleParams as error:
                _add(tree, "fixed", f"`{method}` on `{task}`: {error}.", faults)
    if refusals is not None:
        for study in studies:
            for path, reason in refusals(study):
                faults.add(tree.at(path), reason)
    notes = [_check_pruning(study, sweep, tree, faults) for study in studies]
    for method in dict.fromkeys(s.method for s in studies if not s.parameters):
        if sweep.search.trials > LEADING:
            told = (
                f"`{method}` has no parameter here to search. Name one in `parameters`, or set "
                f"`search.trials: {LEADING}` to run its preset and control alone."
            )
            _add(tree, "parameters", told, faults)
    notes += check_levels(studies, tree, faults)
    notes += schedule_notes(studies)
    used = {name for study in studies for name in study.parameters}
    notes += [
        f"`parameters.{name}` applies to no study: {_why_unused(name)}."
        for name in sweep.parameters
        if studies and name not in used
    ]
    notes += [
        f"`{MODEL}.{key}` applies to no study: {_why_unused(f'{MODEL}.{key}')}."
        for key, value in sweep.model.items()
        if value is not None and studies and not any(key in study.model for study in studies)
    ]
    return tuple(dict.fromkeys(note for note in notes if note))


def _why_unused(name: str) -> str:
    owner, _, key = name.partition(".")
    return f"no backbone here has {key}" if owner == MODEL else "its condition does not hold"


def _check_pruning(study: StudyPlan, sweep: Sweep, tree: Node, faults: Faults) -> str | None:
    """A pruner that can never act is a fault where the file says so, else a note: a quick run
    with fewer epochs from the command line is no mistake."""
    stage = study.objective_stage
    most = study.stage_epochs[stage]
    if sweep.pruning.type == "none" or study.min_epochs <= most:
        return None
    told = (
        f"`pruning.min_epochs: {study.min_epochs}` is over the {most} epochs of `{stage}`, so that "
        "no trial is ever pruned."
    )
    path, node = tree.trace(["pruning", "min_epochs"])
    epochs = tree.child("fixed").children().get(f"{stage}.epochs")
    if len(path) < 2 or (epochs is not None and epochs.origin.where != node.origin.where):
        return told
    faults.add(node, told + " Lower it, or write `type: none`.")
    return None


def _add(tree: Node, key: str, told: str, faults: Faults) -> None:
    place = tree.children().get(key)
    faults.add(place if place is not None else Origin(tree.origin.where), told)
