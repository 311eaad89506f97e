"""The comparison of methods over the sweeps that tuned them, on each task and over all tasks.

With a baseline, every other method is compared with it. Without one, every pair is compared. Over
all tasks, each task counts once, whatever its number of seeds.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from statistics import fmean, stdev

import numpy as np

from sweeper.errors import UsageError, unknown
from sweeper.ledger import Ledger
from sweeper.model import TrialKind
from sweeper.results.basis import over_tasks
from sweeper.results.claims import answers_of
from sweeper.results.comparison import (
    ALPHA,
    CONTROL,
    Answer,
    Comparison,
    Difference,
    Effect,
    Entry,
    Evenness,
    Share,
    TaskComparison,
    Verdict,
    basis_of,
    published_of,
    strictest_level,
)
from sweeper.results.costs import win_cost
from sweeper.results.dimensions import gaps_between_dimensions
from sweeper.results.distance_correlation import distance_correlations
from sweeper.results.entries import (
    budget,
    control_of,
    entry_of,
    fairly,
)
from sweeper.results.factors import (
    apart,
    check_factor,
    interactions,
    levels_of,
    trends,
)
from sweeper.results.floors import beside
from sweeper.results.ladder.curves import ladder_of, ladders_of
from sweeper.results.power import detectable_difference, pairs_needed
from sweeper.results.prose import listed, read_title
from sweeper.results.read import read_studies
from sweeper.results.schema import StudyResult, why_none_is_best
from sweeper.results.sequential.boundaries import Design
from sweeper.results.statistics import (
    PairedDifferences,
    average_ranks,
    holm_of_tests,
    mean_interval,
    pair,
    sign_flip,
    standardized,
    superiority,
)
from sweeper.text import counted

DIMENSIONS = {"1d": "1D", "2d": "2D"}


def compare(
    ledgers: Sequence[Ledger],
    *,
    tasks: Sequence[str] = (),
    baseline: str | None = None,
    by: str | None = None,
) -> Comparison:
    """Compare the methods of these sweeps.

    Args:
        ledgers: The ledgers of the sweeps.
        tasks: The tasks to compare; if empty, all tasks of the sweeps.
        baseline: The label of a method, or `control`, which is each method's own vanilla
            fine-tuning without tuning.
        by: A factor of an ablation. Its levels are compared, instead of all arms.

    Raises:
        NotFound: A sweep was never started.
        UsageError: A sweep is named twice, or no sweep has a task, the baseline or the factor.
    """
    return compare_studies(
        read_studies(ledgers),
        sweeps=[ledger.name for ledger in ledgers],
        tasks=tasks,
        baseline=baseline,
        by=by,
    )


def compare_studies(
    tuned_studies: Sequence[StudyResult],
    *,
    sweeps: Sequence[str],
    tasks: Sequence[str] = (),
    baseline: str | None = None,
    by: str | None = None,
) -> Comparison:
    """Compare studies that were read before. For the arguments see `compare`."""
    # Sentences name a plugin's method by its title, which the facts of a study alone have.
    for each in (tuned_studies := fairly(tuned_studies)):
        read_title(each.study.method, each.facts)
    groups = _by_task(tuned_studies, tasks)
    if by is not None:
        check_factor(by, tuned_studies)
    chosen = [c for c in tuned_studies if c.study.task in groups]
    responding = _responding(answers := answers_of(chosen), by)
    # Levels, trends, interactions and ladders are made of the same entries of arms.
    arms = {k: arm_entries(g) for k, g in groups.items() if responding or any(map(ladder_of, g))}
    parts = apart(arms)
    responses = [
        e for factor in responding for task, of in parts.items() for e in trends(task, of, factor)
    ]
    found = tuple(
        compare_task(task, group, baseline, None if by is None else levels_of(parts[task], by))
        for task, group in groups.items()
    )
    labels = list(dict.fromkeys(entry.label for task in found for entry in task.entries))
    if baseline is not None and baseline not in (*labels, CONTROL):
        raise UsageError(f"--baseline: {unknown('method', baseline, [*labels, CONTROL])}")
    ranks, ranked = _ranks(found)
    across = effects(found)
    return Comparison(
        sweeps=tuple(sweeps),
        baseline=baseline,
        tasks=found,
        labels=tuple(labels),
        ranks=ranks,
        ranked_tasks=ranked,
        effects=across,
        distance_correlations=distance_correlations(chosen),
        design=next((c.design for c in tuned_studies if c.arm is not None), None),
        by=by,
        trends=tuple(each for each in responses if each.factor == by),
        interactions=()
        if by is None
        else tuple(e for task, of in parts.items() for e in interactions(task, of, by)),
        responses=tuple(responses),
        gaps=gaps_between_dimensions(across, {task.task: groups_of(task) for task in found}),
        answers=answers,
        ladders=tuple(each for task in arms for each in ladders_of(task, arms[task])),
    )


def _by_task(
    tuned_studies: Sequence[StudyResult], tasks: Sequence[str]
) -> dict[str, list[StudyResult]]:
    """Return the studies on each of these tasks; without any named, on each task."""
    groups: dict[str, list[StudyResult]] = {}
    for each in tuned_studies:
        groups.setdefault(each.study.task, []).append(each)
    for task in tasks:
        if task not in groups:
            raise UsageError(f"--task: {unknown('task', task, groups)}")
    return {task: group for task, group in groups.items() if not tasks or task in tasks}


def _ranks(tasks: Sequence[TaskComparison]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the average ranks; tasks with different data or protocols have no common ones."""
    return average_ranks(
        {
            task.task: {e.label: _ranked_by(e, task.entries) for e in task.entries}
            for task in tasks
            if not task.incomparable
        }
    )


def _ranked_by(entry: Entry, entries: Sequence[Entry]) -> float:
    """Return the mean of an entry; NaN for a single run beside replicates, whose mean is fair."""
    is_fair = entry.is_replicated or not any(each.is_replicated for each in entries)
    return entry.mean if is_fair and entry.mean is not None else math.nan


def _responding(answers: Sequence[Answer], by: str | None) -> list[str]:
    """Return the factor that is compared, and those whose trends claims are about."""
    claimed = (claim.trend for answer in answers for claim in answer.claims)
    return list(dict.fromkeys(name for name in (by, *claimed) if name is not None))


def effects(tasks: Sequence[TaskComparison]) -> tuple[Effect, ...]:
    """Return the effect over all tasks of each pair that was compared on some task.

    The pairs with the control come last and form a family of their own in Holm's correction.
    """
    groups = {task.task: groups_of(task) for task in tasks}
    found: list[Effect] = []
    for family in ("differences", "from_control"):
        pairs: dict[tuple[str, str], dict[str, Difference]] = {}
        for task in tasks:
            for each in getattr(task, family):
                if each.means is not None and all(map(math.isfinite, each.means)):
                    # Tasks may list the same methods in another order.
                    is_turned = (each.second, each.first) in pairs
                    each = _turned(each) if is_turned else each
                    pairs.setdefault((each.first, each.second), {})[task.task] = each
        made = (_effect(by_task, groups) for by_task in pairs.values())
        found += correct_effects([each for each in made if each is not None])
    return tuple(found)


def _effect(
    by_task: Mapping[str, Difference], groups: Mapping[str, Sequence[str]]
) -> Effect | None:
    """Return the effect of a pair, from its differences on the tasks; None without any ratio."""
    each = next(iter(by_task.values()))
    ratios = {task: ratio for task, of in by_task.items() if (ratio := ratio_of(of)) is not None}
    if not ratios:
        return None
    lost = (task for task in ratios if by_task[task].verdict is Verdict.NOT_INFORMATIVE)
    return replace(
        effect(each.first, each.second, ratios, groups),
        draw=over_tasks([by_task[task].draw for task in ratios]),
        below_floor=tuple(lost),
        without_ratio=tuple(t for t, of in by_task.items() if of.means and t not in ratios),
    )


def _turned(each: Difference) -> Difference:
    """Return a difference with what effects read of it, the other way round."""
    means = each.means and each.means[::-1]
    return replace(each, first=each.second, second=each.first, means=means)


def correct_effects(family: Sequence[Effect]) -> list[Effect]:
    """Return the effects of a family with p-values corrected by Holm."""
    counts = [len(each.ratios) for each in family]
    p_values = holm_of_tests([each.p_value for each in family], counts)
    return [replace(each, p_holm=p) for each, p in zip(family, p_values, strict=True)]


def groups_of(task: TaskComparison) -> tuple[str, ...]:
    """Return the groups of a task: its dimension and its kind."""
    dimension = task.facts.dimension
    return tuple(filter(None, (DIMENSIONS.get(str(dimension), dimension), task.facts.kind)))


def effect(
    first: str, second: str, ratios: Mapping[str, float], groups: Mapping[str, Sequence[str]]
) -> Effect:
    """Summarise the ratios of errors of a pair over tasks, over groups, and without each task."""
    # Logarithms make a ratio and its inverse equally far from 0, as the sign-flip test requires.
    logs = {task: math.log(ratio) for task, ratio in ratios.items()}
    interval = mean_interval(list(logs.values()))
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
            task for task, ratio in without.items() if _side(ratio) * _side(overall.ratio) < 0
        ),
        tasks_needed=pairs_needed(list(logs.values()), ALPHA),
    )


def _side(ratio: float) -> int:
    """Return -1 if the first method is ahead, 1 if the second one is, and 0 if neither is."""
    return 0 if math.isclose(ratio, 1) else 1 if ratio > 1 else -1


def _share(ratios: Mapping[str, float], tasks: Sequence[str]) -> Share:
    chosen = [ratios[task] for task in tasks]
    return Share(
        tasks=tuple(tasks),
        ratio=float(np.exp(np.mean(np.log(chosen)))),
        lower=sum(ratio < 1 for ratio in chosen),
    )


RUNGS = "each rung of the ladder is a comparison of its own"
MAX_SHOWN = 60  # characters of a fact
EVEN = 1.1  # budgets that differ by at most a tenth are even
SAME = {  # facts that must be equal for a comparison
    "objective": "what is measured",
    "protocol": "protocol",
    "data_source": "data source",
    "content_hash": "data",
}
ALIKE = {  # facts that should be equal
    "backbone": "backbone",
    "pretrained": "pretraining",
    "weights_hash": "weights",
}


def arm_entries(tuned_studies: Sequence[StudyResult]) -> list[tuple[StudyResult, Entry]]:
    """Return the arms among these studies, each with its entry."""
    return [(c, entry_of(c)) for c in tuned_studies if c.arm is not None and c.is_contender]


def compare_task(
    task: str,
    tuned_studies: Sequence[StudyResult],
    baseline: str | None,
    levels: Sequence[tuple[StudyResult, Entry]] | None = None,
) -> TaskComparison:
    """Compare all studies on one task.

    Args:
        task: The name of the task.
        tuned_studies: The studies on this task.
        baseline: The label of the baseline, or `control`; None compares every pair.
        levels: The entry of each level of a factor, with its first arm, to be compared instead.
    """
    if levels is None:
        compared = [tuned for tuned in tuned_studies if tuned.is_contender] or tuned_studies
        levels = [(tuned, entry_of(tuned)) for tuned in compared]
    contenders, entries = [tuned for tuned, _ in levels], tuple(entry for _, entry in levels)
    controls = tuple(control_of(tuned, tuned_studies) for tuned in contenders)
    is_ablation = any(tuned.arm is not None for tuned in contenders)
    # Data of a larger rung would be another task: `ladders_of` compares arms on each rung.
    has_rungs = any(map(ladder_of, contenders))
    incomparable = (RUNGS,) if has_rungs else tuple(_unlike(contenders, SAME))
    facts = tuned_studies[0].facts
    paired = partial(difference, task=task)
    between = [] if incomparable else _between(entries, baseline, paired)
    are_programs = all(tuned.is_program for tuned in contenders)  # which have no controls
    # A method and its control are of one sweep, and so compare even if the methods do not.
    against = [
        paired(entry, replace(control, label=CONTROL))
        for entry, control in zip(entries, controls, strict=True)
        if control.trial is not None or not (is_ablation or are_programs)
    ]
    return TaskComparison(
        task=task,
        metric=tuned_studies[0].study.test_metric,
        facts=facts,
        entries=entries,
        controls=controls,
        budgets=_budgets(entries),
        differences=correct_differences(between),
        from_control=correct_differences(against),
        incomparable=incomparable,
        cautions=tuple(_cautions(contenders, entries)),
        helped=tuple(_helped(contenders)),
        published=published_of(facts),
        is_ablation=is_ablation,
        why_none=why_none_is_best(contenders),
        costs=()
        if are_programs
        else tuple(
            win_cost(entry, control, facts, base_seconds=_base_seconds(tuned, tuned_studies))
            for tuned, entry, control in zip(contenders, entries, controls, strict=True)
        ),
    )


def _base_seconds(arm: StudyResult, tuned_studies: Sequence[StudyResult]) -> float:
    """Return the device-seconds of the search of an arm's base; 0 if there is none."""
    if arm.arm is None:
        return 0.0
    return sum(
        budget(each).device_seconds
        for each in tuned_studies
        if each.arm is None
        and each.study.method == arm.study.method
        and each.record.name == arm.record.name
    )


def difference(first: Entry, second: Entry, *, task: str = "") -> Difference:
    """Compare two entries on their common seeds; compare two single runs on any seeds.

    Args:
        first: The first entry.
        second: The second entry.
        task: The name of their task.
    """
    is_paired = first.is_replicated or second.is_replicated
    # Two single runs may have different seeds: a common key makes them a pair.
    if not is_paired and len(first.values) == len(second.values) == 1:
        first, second = _under_one_key(first), _under_one_key(second)
    pairs = pair(first.values, second.values)
    named = Difference(
        first=first.label,
        second=second.label,
        pairs=len(pairs.seeds),
        missing=len(pairs.missing),
        is_paired=is_paired,
    )
    test = sign_flip(pairs.differences)
    if test is None:
        return named
    means = (_mean(first.values, pairs), _mean(second.values, pairs))
    # By its mean, the other one is even farther from beating the floor.
    better = first if means[0] <= means[1] else second
    return replace(
        named,
        means=means,
        floor=beside(task, {seed: better.values[seed] for seed in pairs.seeds}, better.floors),
        draw=basis_of([first, second], pairs.seeds) if is_paired else first.draw,
        difference=fmean(pairs.differences),
        ci=mean_interval(pairs.differences),
        p_value=test.p_value,
        is_exact=test.is_exact,
        sd=stdev(pairs.differences) if len(pairs.differences) > 1 else None,
        d_z=standardized(pairs.differences),
        superiority=superiority(pairs.differences),
    )


def _under_one_key(entry: Entry) -> Entry:
    """Return the entry of a single run with key 0 in place of its seed."""
    return replace(
        entry,
        values=dict(enumerate(entry.values.values())),
        data=dict(enumerate(entry.data.values())),
        floors=dict(enumerate(entry.floors.values())),
    )


def correct_differences(family: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return the differences of a family with corrected p-values and verdicts."""
    counts = [each.pairs for each in family]
    p_values = holm_of_tests([each.p_value for each in family], counts)
    strictest = strictest_level(counts)
    return tuple(
        replace(
            each,
            p_holm=p,
            verdict=_verdict(each, p),
            detectable=detectable_difference(each.sd, pairs=each.pairs, alpha=strictest),
        )
        for each, p in zip(family, p_values, strict=True)
    )


def _verdict(each: Difference, p: float | None) -> Verdict:
    if p is None or each.difference is None:
        return Verdict.NOTHING
    # The floor decides first: below it even a significant difference says nothing about the task.
    if each.floor is not None and not each.floor.is_beaten:
        return Verdict.NOT_INFORMATIVE
    if p >= ALPHA:
        return Verdict.UNKNOWN
    return Verdict.LOWER if each.difference < 0 else Verdict.HIGHER


def _between(
    entries: Sequence[Entry], baseline: str | None, compared: Callable[[Entry, Entry], Difference]
) -> list[Difference]:
    if baseline is None:
        return [compared(*two) for two in combinations(entries, 2)]
    against = [entry for entry in entries if entry.label == baseline]
    return [compared(entry, other) for other in against for entry in entries if entry is not other]


def _mean(values: Mapping[int, float], pairs: PairedDifferences) -> float:
    return fmean(values[seed] for seed in pairs.seeds)


def _budgets(entries: Sequence[Entry]) -> tuple[Evenness, ...]:
    budgets = [entry.budget for entry in entries if entry.budget is not None]
    if len(budgets) < 2:
        return ()
    found = []
    for what in ("trials", "epochs", "device_seconds"):
        amounts = [float(getattr(budget, what)) for budget in budgets]
        most, least = max(amounts), min(amounts)
        ratio = most / least if least > 0 else None
        # Numbers of trials are planned, but epochs and seconds follow from pruning and noise.
        is_even = most == least or (what != "trials" and ratio is not None and ratio <= EVEN)
        # Seconds of a GPU and of a CPU have no ratio.
        if what == "device_seconds" and len({b.device for b in budgets}) > 1:
            ratio, is_even = None, False
        found.append(Evenness(what=what, is_even=is_even, ratio=ratio))
    return tuple(found)


def _helped(tuned_studies: Sequence[StudyResult]) -> Iterator[str]:
    """Yield a sentence on the priors of the searches, and on their warm starts, if any has them."""
    yield from _alike(
        {each.label: each.has_priors for each in tuned_studies}, "priors", "search.priors"
    )
    yield from _alike(
        {each.label: bool(each.warm_start) for each in tuned_studies},
        "a warm start",
        "search.warm_start",
    )


def _alike(having: Mapping[str, bool], what: str, key: str) -> Iterator[str]:
    """Yield a sentence on something that some or all of the searches have, by their labels."""
    lacking = [label for label, has in having.items() if not has]
    if not lacking:
        yield f"All searches have {what}."
    elif len(lacking) < len(having):
        others = listed([label for label, has in having.items() if has])
        yield (
            f"The searches are unequal: {others} with {what}, {listed(lacking)} without. Set "
            f"`{key}` alike for all."
        )


def _unlike(tuned_studies: Sequence[StudyResult], facts: Mapping[str, str]) -> list[str]:
    """Return a line for each of these facts that differs between the studies."""
    lines = []
    for name, what in facts.items():
        values: dict[str, list[StudyResult]] = {}
        for each in tuned_studies:
            value: str | None
            if name == "objective":
                value = each.study.objective
            elif name == "content_hash":
                value = _data_of(each, tuned_studies)
            else:
                value = getattr(each.facts, name)
            values.setdefault("unknown" if value is None else value, []).append(each)
        if len(values) > 1:
            told = [
                f"{_those(having, tuned_studies)} with {_short(value)}"
                for value, having in values.items()
            ]
            verb = "differ" if what.endswith("s") else "differs"
            lines.append(f"{what} {verb}: {'; '.join(told)}")
    return lines


def _those(having: Sequence[StudyResult], tuned_studies: Sequence[StudyResult]) -> str:
    """Return the labels of some studies; a method stands for its arms if all of them are there."""
    labels = {each.label for each in having}
    split = {each.method_label for each in tuned_studies if each.label not in labels}
    named = [each.label if each.method_label in split else each.method_label for each in having]
    return listed(list(dict.fromkeys(named)))


def _short(value: str) -> str:
    """Return a value as printed: both ends, because hashes of data may differ in the last part."""
    return value if len(value) <= MAX_SHOWN else f"{value[:16]}…{value[-40:]}"


def _data_of(tuned: StudyResult, beside_it: Iterable[StudyResult]) -> str | None:
    """Return the hash of a study's data, and of the draws of the seeds that all studies have."""
    base, mine = tuned.facts.content_hash, _seeds_of(tuned)
    # A study that has not finished its replicates lacks draws, which is no difference of the data.
    common = mine.intersection(*map(_seeds_of, beside_it))
    draws = tuned.facts.draws
    own = [draws[seed].content_hash for seed in sorted(common) if seed in draws]
    if not own:
        return base
    digest = hashlib.sha256(" ".join(own).encode()).hexdigest()[:16]
    return f"{base}, and {counted(len(own), 'draw')} {digest}"


def _seeds_of(tuned: StudyResult) -> set[str]:
    return {str(t.seed) for t in tuned.trials if t.kind is TrialKind.REPLICATE}


def _goals(tuned_studies: Sequence[StudyResult]) -> list[str]:
    """Return lines on objectives and constraints: unequal ones, or the constraints of all."""
    lines = []
    for what in ("objectives", "constraints"):
        values: dict[str, list[str]] = {}
        for each in tuned_studies:
            found = [str(goal) for goal in getattr(each.goals, what)]
            values.setdefault(listed(found) or "none", []).append(each.label)
        if len(values) > 1:
            told = [f"{listed(labels)} with {value}" for value, labels in values.items()]
            lines.append(f"{what} are unequal: {'; '.join(told)}")
        elif what == "constraints" and "none" not in values:
            lines.append(f"only trials with {next(iter(values))} are compared")
    return lines


NO_SEED = "no seed has a test value of each of its arms"
SEEDS_ADDED = "seeds were added until claims were decided, which only p-values of claims count"
DIVIDED = (
    "seeds divide the same samples anew, and tests take these divisions for independent: intervals "
    "are too narrow, and p-values too small (Nadeau and Bengio 2003)"
)


def _cautions(tuned_studies: Sequence[StudyResult], entries: Sequence[Entry]) -> list[str]:
    unlike = _unlike(tuned_studies, ALIKE)
    added = [SEEDS_ADDED] * any(Design.of(tuned.record.resolved) for tuned in tuned_studies)
    left_out = sum(tuned.left_out for tuned in tuned_studies)
    unfair = f"{counted(left_out, 'suggestion')} of users left out, which not all studies have"
    unfinished = _unfinished(tuned_studies, entries)
    divided = [DIVIDED] * any(entry.draw.is_divided for entry in entries)
    return [
        *unlike, *_goals(tuned_studies), *unfinished, *added, *divided, *[unfair] * bool(left_out)
    ]  # fmt: skip


def _unfinished(tuned_studies: Sequence[StudyResult], entries: Sequence[Entry]) -> list[str]:
    lines = []
    for tuned, entry in zip(tuned_studies, entries, strict=True):
        searched = tuned.searched
        resolved = tuned.record.resolved
        # With `tune: shared` an arm is one trial, however many the search of its base has.
        is_one = tuned.arm is not None and resolved.get("tune") == "shared"
        asked = 1 if is_one else (resolved.get("search") or {}).get("trials") or 0
        planned = max(min(asked, tuned.facts.most_trials or asked), len(searched))
        left = planned - sum(t.state.is_settled for t in searched)
        if left and tuned.record.state != "finished":  # its searches may have ended early
            lines.append(f"{entry.label}: {left} of {planned} trials still to end")
        if entry.pending:
            lines.append(f"{entry.label}: {counted(entry.pending, 'replicate')} still to end")
        if entry.without:
            ended = counted(entry.without, "replicate")
            lines.append(f"{entry.label}: {ended} ended without a value")
        if entry.mean is None:
            # A level of several arms has the seeds that all of them have.
            is_level = entry.label != tuned.label
            lines.append(f"{entry.label}: {NO_SEED if is_level else tuned.why_no_best}")
    return lines


def ratio_of(each: Difference) -> float | None:
    """Return the ratio of the first mean to the second; None if a mean is not positive."""
    if each.means is None or not all(math.isfinite(m) and m > 0 for m in each.means):
        return None
    return each.means[0] / each.means[1]
