"""A comparison as plain data for machines: every number in full, seeds as text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sweeper.analysis.comparison.compare_words import (
    across,
    answer,
    foreseen,
    headline,
    limits_over_tasks,
    notes,
)
from sweeper.analysis.comparison.comparison import (
    ALPHA,
    Comparison,
    Difference,
    Entry,
    TaskComparison,
    num_tests,
)
from sweeper.analysis.statistics import fewest_pairs


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison; `sentences` say what it comes to."""
    return {
        "sweeps": list(comparison.sweeps),
        "baseline": comparison.baseline,
        "alpha": ALPHA,
        "answer": headline(comparison),
        "tasks": [_task(task) for task in comparison.tasks],
        "average_ranks": dict(comparison.ranks),
        "ranked_tasks": list(comparison.ranked_tasks),
        "distance": _distance(comparison),
        "effects": [{**asdict(each), "sentence": across(each)} for each in comparison.effects],
        "effect_notes": limits_over_tasks(comparison.effects),
    }


def _distance(comparison: Comparison) -> dict[str, Any] | None:
    """Says whether a distance predicts the error; None where no study measured one."""
    if not comparison.foresights:
        return None
    series = [
        {
            "label": each.label,
            "task": each.task,
            "proxy": each.proxy,
            "distance": each.distance,
            "stage": each.stage,
            "trials": len(each.trials),
            "rho": each.correlation and each.correlation.rho,
            "p_value": each.correlation and each.correlation.p_value,
            "p_holm": each.p_holm,
        }
        for each in comparison.foresights
    ]
    return {"answer": foreseen(comparison.foresights), "series": series}


def _task(task: TaskComparison) -> dict[str, Any]:
    return {
        "task": task.task,
        "metric": task.metric,
        "answer": answer(task),
        **task.facts,
        "methods": [_entry(entry) for entry in task.entries],
        "controls": [_entry(entry) for entry in task.controls],
        "budgets": [asdict(each) for each in task.budgets],
        "comparisons": [asdict(each) for each in task.differences],
        "against_control": [asdict(each) for each in task.from_control],
        "pairs_needed": {
            "comparisons": _needed(task.differences),
            "against_control": _needed(task.from_control),
        },
        "notes": notes(task),
        "incomparable": list(task.incomparable),
        "published": [asdict(each) for each in task.published],
    }


def _needed(family: Sequence[Difference]) -> int:
    """Returns how many pairs it takes for one of them to be significant."""
    return fewest_pairs(num_tests([each.pairs for each in family]), ALPHA)


def _entry(entry: Entry) -> Mapping[str, Any]:
    values = {str(seed): value for seed, value in entry.values.items()}
    return {**asdict(entry), "values": values, "n": len(values)}
