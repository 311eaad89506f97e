"""The cost of an improvement: device-seconds of tuning and training, and solves that repay them.

    solves = (tuning + training) / (t_solver - t_network)

is the number of numerical solutions after which a network has cost no more than its solver
(break-even complexity, arXiv 2605.15399). t_network is not measured on its own: it lies between 0
and the time of an epoch divided by its samples, most of which are also trained on.
"""

from sweeper.model import StudyFacts
from sweeper.results.comparison import BreakEven, Entry, WinCost
from sweeper.results.verdicts import percent
from sweeper.text import readable

CAVEAT = (
    "Tuning is the sum over all candidates, training that of one seed that trained. Stages that "
    "another trial had computed cost nothing here. The solver is our generator at its own "
    "accuracy, which is far higher than a network's: against a coarser, faster one a network is "
    "repaid later, or never. The solutions that it was trained on are not counted."
)


def win_cost(entry: Entry, control: Entry, facts: StudyFacts, *, base_seconds: float) -> WinCost:
    """Return the cost of a method on a task against its control.

    Args:
        entry: The entry of the method.
        control: The entry of its control.
        facts: The facts about the task, with the time of its solver.
        base_seconds: Device-seconds of the search of a base, which all arms share.
    """
    # A single candidate is a training, and not tuned.
    is_tuned = entry.budget is not None and entry.budget.trials > 1
    tuning = (entry.budget.device_seconds if entry.budget and is_tuned else 0.0) + base_seconds
    total = None if entry.training_seconds is None else tuning + entry.training_seconds
    cheap, solver = control.training_seconds, facts.solver_seconds
    has_means = entry.mean is not None and bool(control.mean)
    return WinCost(
        label=entry.label,
        device=entry.budget.device if entry.budget else "cpu",
        tuning=tuning,
        training=entry.training_seconds,
        control_training=cheap,
        times_control=total / cheap if total is not None and cheap else None,
        error_ratio=(entry.mean or 0.0) / (control.mean or 1.0) if has_means else None,
        # Where each prediction is a training of its own, no number of them repays the training.
        break_even=None
        if total is None or not solver or facts.fits_each_sample
        else break_even(total, solver, entry.sample_seconds),
    )


def break_even(total: float, solver: float, network: float | None) -> BreakEven:
    """Return the number of solves that repay tuning and training.

    Args:
        total: Device-seconds of tuning and training.
        solver: Seconds of the solver for a sample.
        network: The most device-seconds that the network may take for a sample; None: unknown.
    """
    # A network that takes as long as its solver never repays its training.
    is_faster = network is not None and network < solver
    return BreakEven(
        solver_seconds=solver,
        network_seconds=network,
        least=total / solver,
        most=total / (solver - network) if network is not None and is_faster else None,
    )


def solves(each: WinCost) -> str | None:
    """Return the number of solves that repay a method, as text; None if it is not known."""
    found = each.break_even
    if found is None:
        return None
    least = _count(found.least)
    if found.most is not None:
        return least if least == _count(found.most) else f"{least} to {_count(found.most)}"
    return f"{least} or more" if found.network_seconds is None else f"{least} or more, or never"


def _count(number: float) -> str:
    """Return a large number with two digits: `12,000`."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 1 else readable(rounded)


COST_COLUMNS = ("tuning, s", "a training, s", "the control's, s", "times the control",
                "error against it", "solves to repay")  # fmt: skip


def cost_cells(each: WinCost) -> list[object]:
    """Return the cells of a table with `COST_COLUMNS`."""
    change = None if each.error_ratio is None else percent(each.error_ratio)
    return [each.tuning, each.training, each.control_training, each.times_control, change,
            solves(each)]  # fmt: skip


def solver_note(facts: StudyFacts, costs: tuple[WinCost, ...]) -> str:
    """Return a sentence on the time of a task's solver; empty for a task without one."""
    if not facts.solver_seconds:
        is_solved = facts.data_source == "generated"
        return "The time of the solver is not known: it was not measured." if is_solved else ""
    devices = sorted({each.device for each in costs})
    unit = " against seconds of a GPU" if devices == ["gpu"] else ""
    return f"The solver took {readable(facts.solver_seconds)} core-seconds a sample{unit}."
