"""Compares methods over the sweeps that tuned them: on each task, and over all tasks.

With a baseline every method is compared with it, without one every pair is. Each task counts once
over all tasks, whatever its number of seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sweeper.analysis.comparison.compare_tasks import compare_task, ratio_of
from sweeper.analysis.comparison.comparison import (
    CONTROL,
    Comparison,
    Effect,
    Share,
    TaskComparison,
)
from sweeper.analysis.comparison.contenders import Contender, read_contenders
from sweeper.analysis.comparison.foresight import foresights
from sweeper.analysis.statistics import (
    average_ranks,
    bootstrap_interval,
    holm_of_tests,
    sign_flip,
)
from sweeper.errors import UsageError, unknown
from sweeper.ledger import Ledger

DIMENSIONS = {"1d": "1D", "2d": "2D"}


def compare(
    ledgers: Sequence[Ledger], *, tasks: Sequence[str] = (), baseline: str | None = None
) -> Comparison:
    """Compares the methods of these sweeps.

    Args:
        tasks: Which; all that were tuned, if empty.
        baseline: A method's label, or `control`: each method's own untuned vanilla fine-tuning.

    Raises:
        NotFound: A sweep was never started.
        UsageError: A sweep is named twice, or a task or the baseline is in none of them.
    """
    return compare_contenders(
        read_contenders(ledgers),
        sweeps=[ledger.name for ledger in ledgers],
        tasks=tasks,
        baseline=baseline,
    )


def compare_contenders(
    contenders: Sequence[Contender],
    *,
    sweeps: Sequence[str],
    tasks: Sequence[str] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compares what was read of these sweeps already; all else as `compare`."""
    known = list(dict.fromkeys(c.study.study.task for c in contenders))
    for task in tasks:
        if task not in known:
            raise UsageError(f"--task: {unknown('task', task, known)}")
    labels = list(dict.fromkeys(c.label for c in contenders))
    if baseline is not None and baseline not in (*labels, CONTROL):
        raise UsageError(f"--baseline: {unknown('method', baseline, [*labels, CONTROL])}")
    found = tuple(
        compare_task(task, [c for c in contenders if c.study.study.task == task], baseline)
        for task in known
        if not tasks or task in tasks
    )
    ranks, ranked = average_ranks(
        {
            task.task: {e.label: math.nan if e.mean is None else e.mean for e in task.entries}
            for task in found
            if not task.incomparable
        }
    )
    return Comparison(
        sweeps=tuple(sweeps),
        baseline=baseline,
        tasks=found,
        labels=tuple(labels),
        ranks=ranks,
        ranked_tasks=ranked,
        effects=effects(found),
        foresights=foresights([c for c in contenders if not tasks or c.study.study.task in tasks]),
    )


def effects(tasks: Sequence[TaskComparison]) -> tuple[Effect, ...]:
    """Returns, for each pair that was compared on some task, its effect over all of them.

    The pairs with the control come last; they are a family of their own.
    """
    groups = {task.task: groups_of(task) for task in tasks}
    found: list[Effect] = []
    for family in ("differences", "from_control"):
        ratios = _ratios(tasks, family)
        found += corrected([effect(*pair, by_task, groups) for pair, by_task in ratios.items()])
    return tuple(found)


def _ratios(
    tasks: Sequence[TaskComparison], family: str
) -> dict[tuple[str, str], dict[str, float]]:
    """Returns the ratios of errors of each pair of a family, by task."""
    pairs: dict[tuple[str, str], dict[str, float]] = {}
    for task in tasks:
        for each in getattr(task, family):
            if (ratio := ratio_of(each)) is not None:
                pairs.setdefault((each.first, each.second), {})[task.task] = ratio
    return pairs


def corrected(family: Sequence[Effect]) -> list[Effect]:
    """Corrects the p-values over tasks of one family."""
    counts = [len(each.ratios) for each in family]
    p_values = holm_of_tests([each.p_value for each in family], counts)
    return [replace(each, p_holm=p) for each, p in zip(family, p_values, strict=True)]


def groups_of(task: TaskComparison) -> tuple[str, ...]:
    """Returns the groups of tasks that this one belongs to."""
    dimension, kind = task.facts.get("dimension"), task.facts.get("kind")
    named = [DIMENSIONS.get(str(dimension), dimension), kind]
    return tuple(str(name) for name in named if name)


def effect(
    first: str, second: str, ratios: Mapping[str, float], groups: Mapping[str, Sequence[str]]
) -> Effect:
    """Summarises one pair's ratios of errors over tasks, over groups, and without each task."""
    logs = {task: math.log(ratio) for task, ratio in ratios.items()}
    interval = bootstrap_interval(list(logs.values()))
    test = sign_flip(list(logs.values()))
    members: dict[str, list[str]] = {}
    for task in ratios:
        for group in groups[task]:
            members.setdefault(group, []).append(task)
    overall = _share(ratios, list(ratios))
    without = {
        left_out: _share(ratios, [task for task in ratios if task != left_out]).ratio
        for left_out in ratios
        if len(ratios) > 1
    }
    return Effect(
        first=first,
        second=second,
        ratios=ratios,
        overall=overall,
        ci=None if interval is None else (math.exp(interval[0]), math.exp(interval[1])),
        p_value=None if test is None else test.p_value,
        groups={group: _share(ratios, tasks) for group, tasks in members.items()},
        without=without,
        hinges_on=tuple(
            task for task, ratio in without.items() if (ratio < 1) != (overall.ratio < 1)
        ),
    )


def _share(ratios: Mapping[str, float], tasks: Sequence[str]) -> Share:
    chosen = [ratios[task] for task in tasks]
    return Share(
        tasks=tuple(tasks),
        ratio=float(np.exp(np.mean(np.log(chosen)))),
        lower=sum(ratio < 1 for ratio in chosen),
    )
