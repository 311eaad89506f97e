"""The factors of an ablation: main effects, trends of numbers, and interactions.

The entry of a level of a factor has, for each seed, the mean over all arms with this level. Thus in
a crossed design two levels differ by the main effect of the factor. An interaction is the
difference of two such differences, at two levels of another factor.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from sweeper.errors import UsageError, unknown
from sweeper.results.comparison import (
    Entry,
    Interaction,
    Trend,
    TuningCost,
    basis_of,
)
from sweeper.results.floors import mean_floor
from sweeper.results.schema import StudyResult
from sweeper.results.statistics import (
    MIN_VALUES,
    SEED,
    holm_of_tests,
    mean_interval,
    rank_correlation,
    sign_flip,
)
from sweeper.spec.arms import arm_of
from sweeper.text import is_number

RESAMPLES = 2000  # of the seeds of a trend
Arm = tuple[StudyResult, Entry]


def check_factor(factor: str, tuned_studies: Sequence[StudyResult]) -> None:
    """Check that some arm pins a setting.

    Raises:
        UsageError: None does.
    """
    known = list(dict.fromkeys(name for tuned in tuned_studies for name in tuned.pinned))
    if not known:
        raise UsageError(
            f"--by {factor}: no sweep here has arms; `compare_by` in a sweep file makes them."
        )
    if factor not in known:
        raise UsageError(f"--by: {unknown('factor', factor, known)}")


def apart(arms: Mapping[str, Sequence[Arm]]) -> dict[str, list[Arm]]:
    """Return the arms of each task, their labels with the sweep if several sweeps have the method.

    Arms of two sweeps differ in more than what they pin, so that no level or trend is over both.
    """
    sweeps: dict[str, set[str]] = {}
    for tuned, _ in chain.from_iterable(arms.values()):
        sweeps.setdefault(_method(tuned), set()).add(tuned.record.name)

    def named(tuned: StudyResult) -> StudyResult:
        method = _method(tuned)
        before = f"{tuned.record.name}:" * (len(sweeps[method]) > 1)
        return replace(tuned, label=f"{before}{method} {tuned.arm}")

    return {task: [(named(tuned), entry) for tuned, entry in of] for task, of in arms.items()}


def _method(tuned: StudyResult) -> str:
    """Return the label of an arm's method without the sweep, which only some arms may have."""
    return tuned.method_label.removeprefix(f"{tuned.record.name}:")


def levels_of(arms: Sequence[Arm], factor: str) -> list[Arm]:
    """Return the entry of each level of a factor, with its first arm, in the order of the arms."""
    groups: dict[str, list[Arm]] = {}
    for tuned, entry in arms:
        if factor in tuned.pinned:
            label = f"{tuned.method_label} {_level(tuned, factor)}"
            groups.setdefault(label, []).append((tuned, entry))
    return [
        (group[0][0], _merged(label, [entry for _, entry in group]))
        for label, group in groups.items()
    ]


def _level(tuned: StudyResult, factor: str) -> str:
    return arm_of({factor: tuned.pinned[factor]}).name


def _merged(label: str, entries: Sequence[Entry]) -> Entry:
    """Return the mean of arms on the seeds that all of them have."""
    if len(entries) == 1:
        return replace(entries[0], label=label)
    # On a seed that one arm lacks, the mean would be over other settings than elsewhere.
    seeds = sorted(set.intersection(*(set(entry.values) for entry in entries)))
    values = {seed: fmean(entry.values[seed] for entry in entries) for seed in seeds}
    numbers = list(values.values())
    budgets = [entry.budget for entry in entries if entry.budget is not None]
    return Entry(
        label=label,
        method=entries[0].method,
        sweep=entries[0].sweep,
        study=", ".join(entry.study for entry in entries),
        kind=entries[0].kind,
        embedder_init=entries[0].embedder_init,
        validation=_mean([entry.validation for entry in entries]),
        is_replicated=all(entry.is_replicated for entry in entries),
        values=values,
        data={seed: _hash([entry.data.get(seed) for entry in entries]) for seed in seeds},
        samples=entries[0].samples if len({entry.samples for entry in entries}) == 1 else None,
        floors={
            seed: mean_floor([entry.floors[seed] for entry in entries])
            for seed in seeds
            if all(seed in entry.floors for entry in entries)
        },
        without=sum(entry.without for entry in entries),
        pending=sum(entry.pending for entry in entries),
        mean=fmean(numbers) if numbers else None,
        sd=stdev(numbers) if len(numbers) > 1 else None,
        ci=mean_interval(numbers),
        training_seconds=_mean([entry.training_seconds for entry in entries]),
        sample_seconds=_mean([entry.sample_seconds for entry in entries]),
        budget=TuningCost(
            trials=sum(budget.trials for budget in budgets),
            epochs=sum(budget.epochs for budget in budgets),
            device_seconds=sum(budget.device_seconds for budget in budgets),
            device=budgets[0].device,
        )
        if budgets
        else None,
    )


def _hash(hashes: Sequence[str | None]) -> str | None:
    """Return one text for the data of a seed in several arms; None if some are not known."""
    known = [each for each in dict.fromkeys(hashes) if each is not None]
    return " and ".join(known) if None not in hashes else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of values; None if one is not known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def trends(task: str, arms: Sequence[Arm], factor: str) -> list[Trend]:
    """Return the trend of the error over a numeric factor, for each method with three levels."""
    groups: dict[str, dict[float, list[Entry]]] = {}
    for tuned, entry in arms:
        level: Any = tuned.pinned.get(factor)
        if is_number(level):
            of_method = groups.setdefault(tuned.method_label, {})
            of_method.setdefault(float(level), []).append(entry)
    return [
        _trend(task, label, factor, {level: _merged("", levels[level]) for level in sorted(levels)})
        for label, levels in groups.items()
        # Two levels are a difference, which has a test of its own.
        if len(levels) > 2
    ]


def _trend(task: str, label: str, factor: str, levels: dict[float, Entry]) -> Trend:
    # A level that lacks a seed would differ from the others in its seeds, too.
    seeds = sorted(set.intersection(*(set(entry.values) for entry in levels.values())))
    table = np.array([[entry.values[seed] for seed in seeds] for entry in levels.values()])
    x = np.repeat(np.array([*levels]), len(seeds))
    found = rank_correlation(x.tolist(), table.ravel().tolist()) if seeds else None
    return Trend(
        label=label,
        task=task,
        factor=factor,
        levels=tuple(levels),
        means=tuple(entry.mean for entry in levels.values()),
        intervals=tuple(entry.ci for entry in levels.values()),
        draw=basis_of([*levels.values()], seeds),
        correlation=found,
        ci=_interval(np.array([*levels]), table) if len(seeds) >= MIN_VALUES else None,
    )


def _interval(levels: np.ndarray, table: np.ndarray) -> tuple[float, float] | None:
    """Return a bootstrap interval of Spearman's rho over seeds.

    Args:
        levels: [l].
        table: Errors [l, s] of s seeds.
    """
    from scipy.stats import rankdata

    rng = np.random.default_rng(SEED)
    # Whole seeds are drawn, since the errors of one seed at all levels belong together. The errors
    # [l, draws, s] become [draws, l s], in the order of the levels.
    chosen = rng.integers(table.shape[1], size=(RESAMPLES, table.shape[1]))
    drawn = table[:, chosen].transpose(1, 0, 2).reshape(RESAMPLES, -1)
    ranks = rankdata(drawn, axis=1)
    x = rankdata(np.repeat(levels, table.shape[1]))
    x, ranks = x - x.mean(), ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum() * (ranks**2).sum(axis=1))
    # A draw in which all errors are equal has no correlation.
    if not scale.all():
        return None
    low, high = np.quantile(ranks @ x / scale, (0.025, 0.975))
    return float(low), float(high)


def interactions(task: str, arms: Sequence[Arm], factor: str) -> list[Interaction]:
    """Return the interactions of a factor with each other factor that is crossed with it."""
    found: list[Interaction] = []
    for label in dict.fromkeys(tuned.method_label for tuned, _ in arms):
        mine = [(tuned, entry) for tuned, entry in arms if tuned.method_label == label]
        others = dict.fromkeys(name for tuned, _ in mine for name in tuned.pinned if name != factor)
        for other in others:
            cells: dict[tuple[str, str], list[Entry]] = {}
            for tuned, entry in mine:
                if factor in tuned.pinned and other in tuned.pinned:
                    cell = _level(tuned, factor), _level(tuned, other)
                    cells.setdefault(cell, []).append(entry)
            found += _of_pair(task, label, {key: _merged("", of) for key, of in cells.items()})
    p_values = holm_of_tests([each.p_value for each in found], [each.pairs for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, p_values, strict=True)]


def _of_pair(task: str, label: str, cells: dict[tuple[str, str], Entry]) -> list[Interaction]:
    rows, columns = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    if len(cells) < len(rows) * len(columns):
        return []  # listed arms that are not crossed
    found = []
    for first, second in combinations(rows, 2):
        for one, two in combinations(columns, 2):
            # (first - second) at `one`, less the same at `two`.
            corners = [cells[first, one], cells[second, one], cells[first, two], cells[second, two]]
            seeds = sorted(set.intersection(*(set(corner.values) for corner in corners)))
            differences = [
                math.fsum(
                    sign * corner.values[seed]
                    for sign, corner in zip((1, -1, -1, 1), corners, strict=True)
                )
                for seed in seeds
            ]
            test = sign_flip(differences)
            found.append(
                Interaction(
                    label=label,
                    task=task,
                    levels=(first, second),
                    others=(one, two),
                    pairs=len(seeds),
                    draw=basis_of(corners, seeds),
                    difference=fmean(differences) if differences else None,
                    ci=mean_interval(differences),
                    p_value=None if test is None else test.p_value,
                )
            )
    return found
