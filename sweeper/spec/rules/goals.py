"""Checks of objectives, constraints and `search.deterministic`, with sampler, pruning, tasks."""

from collections.abc import Iterator, Mapping, Sequence

from sweeper.errors import unknown
from sweeper.spec.faults import Faults, shown
from sweeper.spec.goals import (
    COSTS,
    EPOCHS,
    LOSS,
    PARAMETERS,
    PEAK_MEMORY,
    TIMED,
    VAL,
    read_constraint,
)
from sweeper.spec.rules.program import has_known_epochs
from sweeper.spec.samplers import CMAES
from sweeper.spec.schema import PROMOTE, SweepFile
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import printable
from trainables.tasks.task import TaskInfo

MEASURED = (*TIMED, PEAK_MEMORY)
NEVER_KEPT = "no trial can keep it, so that none is ever the best; write another bound"
TEST = "test"  # start of the names of test values


def check_goals(settings: SweepFile, tasks: Sequence[TaskInfo], faults: Faults) -> None:
    """Add a fault for each objective and each constraint that a search cannot follow.

    Costs that differ from run to run, and what counts the first objective alone, have notes.
    """
    search = settings.search
    metrics = {f"val/{task.metric}": task.name for task in tasks}
    _check_objectives(settings, metrics, faults)
    _check_constraints(search.constraints, metrics, faults)
    if settings.program is not None or settings.programs:
        _check_program(settings, metrics, faults)
    if search.turns is not None:
        _check_deterministic(settings, faults)
    goals = [key for key in ("objectives", "constraints") if getattr(search, key)]
    if search.sampler == CMAES and (len(search.objectives) > 1 or search.constraints):
        faults.add(
            ["search", "sampler"],
            f"`search.sampler: {CMAES}` learns from one value, and so ignores "
            f"`search.{goals[-1]}`: write `tpe`, `cqr`, `gp` or `nsga2`.",
        )


def _check_objectives(settings: SweepFile, metrics: Mapping[str, str], faults: Faults) -> None:
    names, pruning = settings.search.objectives, settings.pruning.type
    seen: dict[str, str] = {}
    for i, name in enumerate(names):
        node = faults.tree.at(["search", "objectives", i])
        # The metric's own name and `val` mean the same objective.
        own = VAL if _is_metric(name, metrics) else name
        if fault := _fault(name, metrics):
            faults.about(["search", "objectives", i], f": {fault}")
        elif own in seen:
            again = "" if seen[own] == name else f", which is `{seen[own]}` here"
            faults.add(node, f"`search.objectives` has `{name}` twice{again}; keep one.")
        elif i == 0 and own != VAL:
            faults.add(
                node,
                f"`search.objectives[0]` is `{name}`, but the first is the validation metric, by "
                f"which the best weights of a trial are kept: write [{VAL}, {name}].",
            )
        seen.setdefault(own, name)
    if len(names) < 2:
        return
    if pruning != "none":
        path, node = faults.tree.trace(["pruning", "type"])
        faults.add(
            node if len(path) == 2 else ["search", "objectives"],
            f"`search.objectives` has {len(names)}, but `pruning.type: {pruning}` ends trials by "
            f"the first alone, also those that are best in `{names[1]}`: write `pruning: {{type: "
            "none}`, or make the others `search.constraints`.",
        )
    for name in filter(TIMED.__contains__, names):
        faults.note(
            f"`search.objectives`: `{name}` is measured and differs from run to run, so that "
            "another run of the sweep draws other trials; a resumed one goes on as it began."
        )
    if settings.budget.no_improvement is not None:
        faults.note(f"`budget.no_improvement` counts improvements of `{names[0]}` alone.")


def _check_constraints(
    constraints: Mapping[str, str], metrics: Mapping[str, str], faults: Faults
) -> None:
    seen: dict[str, str] = {}
    for name, text in constraints.items():
        node = faults.tree.at(["search", "constraints", name])
        own = VAL if _is_metric(name, metrics) else name
        if fault := _fault(name, metrics):
            faults.add(node, f"`search.constraints`: {fault}")
            continue
        if own in seen:
            faults.add(node, f"`search.constraints` has `{name}` twice; keep one.")
        seen[own] = name
        try:
            bound = read_constraint(name, text)
        except ValueError as error:
            faults.about(["search", "constraints", name], f" {error}, but got {shown(text)}.")
            continue
        if name in COSTS and bound.is_upper and bound.bound <= 0:
            faults.add(node, f"`search.constraints.{name}: {text}`: {NEVER_KEPT}.")


def _check_program(settings: SweepFile, metrics: Mapping[str, str], faults: Faults) -> None:
    """Add a fault for each goal that the reports of a program cannot have, or turn round."""
    for path, name in _places(settings):
        if name == PARAMETERS:
            faults.about(path, f": a program reports no `{PARAMETERS}`: take it out.")
    negated = next((name for name in metrics if name.startswith(f"{VAL}/neg_")), None)
    if VAL in settings.search.constraints and negated is not None:
        faults.about(
            ["search", "constraints", VAL],
            f": with `goal: maximize`, {VAL} is the negative of what is reported. Write "
            f"`{negated}` with the negative of the bound, such as <= -0.5 for at least 0.5.",
        )


def _check_deterministic(settings: SweepFile, faults: Faults) -> None:
    """Add a fault for all by which two runs of a search that is to be deterministic differ."""
    pruning = settings.pruning.type
    if pruning not in ("none", PROMOTE):
        faults.add(
            ["search", "deterministic"],
            f"`search.deterministic`: `pruning.type: {pruning}` judges a trial by those that have "
            f"reported before it, and they differ from run to run: write `pruning: {{type: "
            f"{PROMOTE}}}`, or `none`.",
        )
    unequal = "differs from run to run, as `search.deterministic` forbids."
    for path, name in _places(settings):
        if name in MEASURED:
            faults.about(path, f" {unequal}")
    if settings.budget.device_hours is not None:
        faults.about(["budget", "device_hours"], f" {unequal}")


def _places(settings: SweepFile) -> Iterator[tuple[tuple[str, str, str | int], str]]:
    """Yield the place of each objective and constraint, and its quantity."""
    for number, name in enumerate(settings.search.objectives):
        yield ("search", "objectives", number), name
    for name in settings.search.constraints:
        yield ("search", "constraints", name), name


def check_epochs_bound(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for a bound on epochs that no trial of any study can keep."""
    constraints = sweep.search.constraints
    if EPOCHS not in constraints:
        return
    constraint = read_constraint(EPOCHS, constraints[EPOCHS])
    for study in filter(has_known_epochs, studies):
        least, most = study.fewest_epochs, sum(study.stage_epochs.values())
        # The bound is on one side: if neither extreme keeps it, no number between them does.
        if constraint.violation(least) > 0 and constraint.violation(most) > 0:
            faults.add(
                ["search", "constraints", EPOCHS],
                f"`search.constraints.{EPOCHS}: {constraint.text}`: {NEVER_KEPT}. Trials of "
                f"`{study.name}` have {least} at least, and {most} at most.",
            )
            return


def _is_metric(name: str, metrics: Mapping[str, str]) -> bool:
    """Return whether a name is a validation metric; without a known task any `val/` may be one."""
    return name in metrics or (not metrics and name.startswith(f"{VAL}/") and name != LOSS)


def _fault(name: str, metrics: Mapping[str, str]) -> str | None:
    """Return why trials have no such quantity on some task, or None.

    Args:
        name: The name of a quantity.
        metrics: The validation metrics of the tasks, each with one of its tasks.
    """
    if name in (VAL, LOSS, *COSTS) or (_is_metric(name, metrics) and len(metrics) < 2):
        return None
    if name in metrics:
        other = next(metric for metric in metrics if metric != name)
        return f"`{metrics[other]}` reports `{other}` and no `{name}`: write `{VAL}` for both."
    if name.partition("/")[0] == TEST:
        return f"`{printable(name)}` is a test value, which decides nothing: write `{VAL}`."
    known = dict.fromkeys((VAL, *metrics, LOSS, *COSTS))
    return unknown("quantity of trials", printable(name), known)
