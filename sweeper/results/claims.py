"""The claims of a question, tested on paired seeds.

    contrast   d = y(first) - y(second), or d = y(arm) of a single arm
    trend      d = sum_i w_i y(x_i),  w_i = (k - 1) (r_i - mean r) / sum_j (r_j - mean r)^2

y is a quantity of one seed, and r_i is the rank of the level x_i among k levels. A level is what an
arm pins, or its mean over seeds of a metric that trials recorded, such as a distance. Thus a trend
is the change of the least-squares line over the ranks, from the smallest level to the largest.

On one task each seed gives one d: the mean over methods, if arms of several are compared. Over
several tasks y is the logarithm, because tasks have errors of different size. Then d is the
logarithm of a ratio, a margin is a share of the second arm's value, and each task gives one d: the
mean over its seeds and methods. A sign-flip test of d, or of d less the margin, decides, and the
interval has all means that this test does not reject. If pairs are added until claims are decided,
that is the group-sequential test.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import NamedTuple

from sweeper.model import CONTROL_ARM, Floor
from sweeper.results.basis import Basis, Unit, over_tasks
from sweeper.results.comparison import (
    ALPHA,
    Answer,
    ClaimResult,
    ClaimVerdict,
    strictest_level,
)
from sweeper.results.entries import arms_of, fairly
from sweeper.results.floors import (
    FloorTest,
    beside,
    floors_at,
    mean_floor,
    why_not_informative,
)
from sweeper.results.power import detectable_difference
from sweeper.results.prose import percentage
from sweeper.results.schema import StudyResult, TrialRow
from sweeper.results.sequential.boundaries import Design, sequential_interval, sequential_p
from sweeper.results.statistics import Interval, holm_of_tests, mean_interval, sign_flip
from sweeper.spec.rules.question import RECORDED
from sweeper.spec.schema import TEST, Claim, Question
from sweeper.text import capitalised, readable

Key = tuple[str, str, str | None]  # method, task and arm


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The recorded values of one arm on one task and seed."""

    method: str
    task: str
    arm: str | None  # "refine.freeze=body" or "control"; None: the tuned method
    seed: int
    values: Mapping[str, float]  # quantity -> last value; "test" is the test error
    draw: str | None = None  # hash of the data; None: unknown
    samples: int | None = None  # of all splits
    floor: Floor | None = None  # of the task, on these data


def evaluate(
    claims: Sequence[Claim],
    observations: Sequence[Observation],
    design: Design | None = None,
    *,
    arms: Collection[Key] = (),
) -> tuple[ClaimResult, ...]:
    """Return the result of each claim. A lower value of a quantity is the better one.

    The first claim is the primary one. The p-values of all others are corrected together by Holm.

    Args:
        claims: The claims in the order of the file.
        observations: The values of all arms, in any order.
        design: The looks, if pairs are added until claims are decided.
        arms: The arms of all studies. A claim about several tasks has the task as its unit, also
            where one task alone has values so far.
    """
    if design is not None:
        # `Design.until` cuts the order off at a look: what is left was seen at that look.
        observations = [o for o in observations if o.seed in design.order.get(o.task, ())]
    primary, *others = (
        _tested(claim, observations, design, arms, is_primary=number == 0)
        for number, claim in enumerate(claims)
    )
    counts = [each.n for each in others]
    corrected = holm_of_tests([each.p_value for each in others], counts)
    others = [replace(each, p_holm=p) for each, p in zip(others, corrected, strict=True)]
    strictest = strictest_level(counts)
    return (_judged(primary, alpha=ALPHA), *(_judged(each, alpha=strictest) for each in others))


def answers_of(tuned_studies: Sequence[StudyResult]) -> tuple[Answer, ...]:
    """Return the answer of each sweep that has a question, from these of its studies."""
    by_sweep: dict[str, list[StudyResult]] = {}
    for tuned in tuned_studies:
        if tuned.record.resolved.get("question"):
            by_sweep.setdefault(tuned.record.name, []).append(tuned)
    found = []
    for name, studies in by_sweep.items():
        record = studies[0].record
        question = Question.model_validate(record.resolved["question"])
        design = Design.of(record.resolved, has_ended=record.state == "finished")
        results = evaluate(
            question.claims, observations_of(studies), design, arms=arms_planned(studies)
        )
        found.append(Answer(sweep=name, question=question, claims=results))
    return tuple(found)


def observations_of(tuned_studies: Sequence[StudyResult]) -> list[Observation]:
    """Return the observations of studies: of the best configuration, and of its control."""
    return [
        Observation(
            method=tuned.study.method,
            task=tuned.study.task,
            arm=arm.arm,
            seed=trial.seed,
            values=_recorded(tuned, trial),
            draw=tuned.content_hash(trial),
            samples=tuned.samples,
            floor=floors_at(tuned.facts, [trial.seed]).get(trial.seed),
        )
        for tuned in fairly(tuned_studies)
        for arm in arms_of(tuned)
        for trial in arm.trainings
    ]


def arms_planned(tuned_studies: Sequence[StudyResult]) -> set[Key]:
    """Return the arms of studies, with and without values: the best and its control, or one arm."""
    return {
        (tuned.study.method, tuned.study.task, arm)
        for tuned in tuned_studies
        for arm in ((None, CONTROL_ARM) if tuned.arm is None else (tuned.arm,))
    }


def _recorded(tuned: StudyResult, trial: TrialRow) -> dict[str, float]:
    values = trial.recorded
    error = tuned.test_value(trial)
    return values if error is None else {**values, TEST: error}


class _Seen(NamedTuple):
    """The value of a quantity, and the observation that it is of."""

    value: float
    of: Observation


Values = Mapping[int, _Seen]  # by seed
Term = tuple[float, list[Values]]  # a weight, and the arms whose mean it weighs
Blocks = dict[tuple[str, str], list[Term]]  # by method and task
Cells = Mapping[tuple[str, str], Mapping[int, float]]  # likewise: the difference of each seed
Index = Mapping[Key, Values]


def _tested(
    claim: Claim,
    observations: Sequence[Observation],
    design: Design | None,
    arms: Collection[Key],
    *,
    is_primary: bool,
) -> ClaimResult:
    """Return the result of a claim, before correction and verdict."""
    blocks = _blocks(claim, observations)
    unit = _unit_of({*blocks, *_planned(claim, arms)})
    # A logarithm needs values above 0. Without them a difference over tasks stays absolute.
    is_relative = has_ratio(claim.contrast) and unit == "task" and _is_positive(blocks)
    cells = _cells(blocks, is_relative=is_relative)
    named = ClaimResult(
        says=claim.says,
        contrast=None if claim.contrast is None else tuple(claim.contrast),
        trend=claim.trend,
        expect=claim.expect,
        margin=claim.margin,
        quantity=claim.quantity,
        about=claim.about,
        is_primary=is_primary,
        is_relative=is_relative,
    )
    if not cells:
        return named
    size = claim.margin or 0.0
    # A margin is a share: y1 <= (1 + margin) y2, in logarithms.
    margin = math.log1p(size) if is_relative else size
    # A design adds pairs of seeds. Over tasks the task is the unit, and none is added.
    if design is None or unit == "task":
        tested, units, interval = _fixed(named, _units(cells, unit), margin)
    else:
        tested, units, interval, cells = _sequential(named, blocks, cells, design)
    shown = math.expm1 if is_relative else float
    return replace(
        tested,
        n=len(units),
        unit=unit,
        sd=stdev(units) if len(units) > 1 else None,
        difference=shown(fmean(units)),
        ci=None if interval is None else (shown(interval[0]), shown(interval[1])),
        by_task={task: shown(fmean(means)) for task, means in _by_task(cells).items()},
        draw=_draw_of(blocks, cells),
        floors=_floors(blocks, cells) if claim.quantity == TEST else (),
    )


def _fixed(
    named: ClaimResult, units: Sequence[float], margin: float
) -> tuple[ClaimResult, Sequence[float], Interval | None]:
    """Test all differences at once; return the result, the units and their interval."""
    test = sign_flip([d - margin for d in units])
    assert test is not None
    tested = replace(named, p_value=test.p_value, is_exact=test.is_exact)
    # The margin moves the test alone: the interval is of the difference itself.
    return tested, units, mean_interval(units)


def _sequential(
    named: ClaimResult, blocks: Blocks, cells: Cells, design: Design
) -> tuple[ClaimResult, Sequence[float], Interval | None, Cells]:
    """Test the differences on one task at the looks so far; return also those that it used."""
    by_seed, (task,) = _by_seed(cells), _by_task(cells)
    arms = [values for terms in blocks.values() for _, group in terms for values in group]
    looks = design.looks_at(task, by_seed, arms)
    seeds = [seed for seed in design.order[task] if seed in by_seed]
    if looks:  # later pairs wait for their look
        # A look without a pair has a p of 1; the difference of later pairs is shown all the same.
        seeds = seeds[: looks[-1].pairs] or seeds
    units = [by_seed[seed] for seed in seeds]
    found = ((block, {s: d[s] for s in seeds if s in d}) for block, d in cells.items())
    used = {block: differences for block, differences in found if differences}
    p_value = sequential_p([d - (named.margin or 0.0) for d in units], looks)
    tested = replace(named, p_value=p_value, looks=(len(looks), len(design.looks)))
    return tested, units, sequential_interval(units, looks), used


def _floors(blocks: Blocks, cells: Cells) -> tuple[FloorTest, ...]:
    """Return the tests of the better arm of each method and task against the floor of its data."""
    found = []
    for (method, task), seeds in cells.items():
        arms = [
            (
                {seed: fmean(values[seed].value for values in group) for seed in seeds},
                {seed: floor for seed in seeds if (floor := _floor_of(group, seed)) is not None},
            )
            for _, group in blocks[method, task]
        ]
        errors, floors = min(arms, key=lambda arm: fmean(arm[0].values()))
        found.append(beside(task, errors, floors))
    return tuple(each for each in found if each is not None)


def _floor_of(group: Sequence[Values], seed: int) -> Floor | None:
    """Return the mean floor of the data of arms; None if one of them has none."""
    known = [floor for values in group if (floor := values[seed].of.floor) is not None]
    return mean_floor(known) if len(known) == len(group) else None


def _units(cells: Cells, unit: Unit) -> list[float]:
    """Return the difference of each task, or of each seed of one task."""
    if unit == "task":
        return [fmean(means) for means in _by_task(cells).values()]
    return list(_by_seed(cells).values())


def _by_seed(cells: Cells) -> dict[int, float]:
    """Return the mean difference of the methods at each seed of one task."""
    found: dict[int, list[float]] = {}
    for differences in cells.values():
        for seed, d in differences.items():
            found.setdefault(seed, []).append(d)
    return {seed: fmean(found[seed]) for seed in sorted(found)}


def _draw_of(blocks: Blocks, cells: Cells) -> Basis:
    """Return the seeds and the data behind the differences of a claim."""
    used: dict[str, list[list[Observation]]] = {}
    for (method, task), seeds in cells.items():
        arms = (values for _, group in blocks[method, task] for values in group)
        used.setdefault(task, []).extend([arm[seed].of for seed in seeds] for arm in arms)
    return over_tasks(
        [
            Basis.of(
                max(map(len, arms)),
                [[each.draw for each in arm] for arm in arms],
                [each.samples for arm in arms for each in arm],
            )
            for arms in used.values()
        ]
    )


def count_units(claim: Claim, observations: Sequence[Observation]) -> tuple[int, Unit]:
    """Return the number of tasks, or of the seeds of one task, that a claim compares."""
    cells = _cells(_blocks(claim, observations), is_relative=False)
    unit = _unit_of(cells)
    return len(_units(cells, unit)), unit


def _planned(claim: Claim, arms: Collection[Key]) -> Blocks:
    """Return the methods and tasks that a claim compares once all arms have values."""
    # Any values do. A metric that orders arms needs different ones.
    expected = [
        Observation(
            method=method,
            task=task,
            arm=arm,
            seed=0,
            values=dict.fromkeys(claim.quantities, 1.0) | {claim.trend or "": float(number)},
        )
        for number, (method, task, arm) in enumerate(arms)
    ]
    return _blocks(claim, expected)


def arms_in(claim: Claim, observations: Sequence[Observation]) -> set[Key]:
    """Return the arms that a claim compares, each with its method and task."""
    groups = (group for terms in _blocks(claim, observations).values() for _, group in terms)
    seen = (each.of for group in groups for values in group for each in values.values())
    return {(of.method, of.task, of.arm) for of in seen}


def _unit_of(blocks: Collection[tuple[str, str]]) -> Unit:
    return "task" if len({task for _, task in blocks}) > 1 else "seed"


def _cells(blocks: Blocks, *, is_relative: bool) -> Cells:
    """Return the differences of each method and task that has any."""
    found = {block: _differences(terms, is_relative) for block, terms in blocks.items()}
    return {block: differences for block, differences in found.items() if differences}


def _blocks(claim: Claim, observations: Sequence[Observation]) -> Blocks:
    """Return the weighed arms of a claim, for each method and task that it is about."""
    seen = [each for each in observations if not claim.tasks or each.task in claim.tasks]
    index = _indexed(seen, *claim.quantities)
    if claim.contrast:
        return _contrasted(claim.contrast, index)
    assert claim.trend is not None
    return _levels(_levels_of_arms(claim.trend, claim.among, seen), index)


def _indexed(observations: Sequence[Observation], quantity: str, less: str | None = None) -> Index:
    """Return the values of a quantity, or of its difference to another one, by arm and seed."""
    found: dict[Key, dict[int, _Seen]] = {}
    for each in observations:
        # What was not recorded makes the value NaN, and is left out.
        value = each.values.get(quantity, math.nan)
        value -= 0.0 if less is None else each.values.get(less, math.nan)
        if math.isfinite(value):
            of = found.setdefault((each.method, each.task, each.arm), {})
            of[each.seed] = _Seen(value, each)
    return found


def _contrasted(contrast: Sequence[str], index: Index) -> Blocks:
    """Return the one or two arms of a contrast, for each method and task that has them.

    A side that names no method is of the other side's method, or else of each method.
    """
    methods = dict.fromkeys(method for method, _, _ in index)
    sides = [_side(text, methods) for text in contrast]
    named = [method for method, _ in sides if method is not None]
    found: Blocks = {}
    for method in named[:1] or methods:
        for task in dict.fromkeys(task for _, task, _ in index):
            arms = [index.get((of or method, task, arm)) for of, arm in sides]
            if all(arms):
                # A single arm has no second sign.
                signed = zip((1.0, -1.0), arms, strict=False)
                found[method, task] = [(sign, [arm]) for sign, arm in signed if arm]
    return found


def _side(text: str, methods: Collection[str]) -> tuple[str | None, str | None]:
    """Return the method and the arm that METHOD, METHOD/ARM or ARM names."""
    method, _, arm = text.partition("/")
    return (method, arm or None) if method in methods else (None, text)


def _levels_of_arms(
    trend: str, among: str | None, observations: Sequence[Observation]
) -> dict[Key, float]:
    """Return the level of each arm: what it pins, or the mean over seeds of what it recorded.

    Args:
        trend: A factor, or a recorded metric.
        among: The setting that an arm pins if it counts; None: all arms count.
        observations: The values of all arms.
    """
    if among is not None:
        observations = [each for each in observations if among in pinned_by(each.arm)]
    if RECORDED in trend:
        index = _indexed(observations, trend)
        return {key: fmean(seen.value for seen in of.values()) for key, of in index.items()}
    arms = {(each.method, each.task, each.arm) for each in observations}
    found = {key: level_of(key[2], trend) for key in arms}
    return {key: level for key, level in found.items() if level is not None}


def _levels(levels: Mapping[Key, float], index: Index) -> Blocks:
    """Return the arms of each level with the weights of a line over the ranks of the levels."""
    groups: dict[tuple[str, str], dict[float, list[Values]]] = {}
    for key, values in index.items():
        if key in levels:
            groups.setdefault(key[:2], {}).setdefault(levels[key], []).append(values)
    return {
        block: list(zip(_slopes(len(of)), map(of.__getitem__, sorted(of)), strict=True))
        for block, of in groups.items()
        if len(of) > 1
    }


def level_of(arm: str | None, factor: str | None) -> float | None:
    """Return the number that an arm pins a factor to; None if it pins no number."""
    try:
        level = float(pinned_by(arm).get(factor or "", "nan"))
    except ValueError:
        return None
    return level if math.isfinite(level) else None


def pinned_by(arm: str | None) -> dict[str, str]:
    """Return the settings in the name of an arm, as text."""
    return dict(part.split("=", 1) for part in (arm or "").split(",") if "=" in part)


def _slopes(count: int) -> list[float]:
    """Return the weights of the levels by which the fitted line changes from first to last."""
    # Centred ranks have the sum 0, so that what all levels have in common cancels.
    ranks = [rank - (count - 1) / 2 for rank in range(count)]
    return [(count - 1) * rank / sum(r * r for r in ranks) for rank in ranks]


def has_ratio(contrast: Sequence[str] | None) -> bool:
    """Return whether arms are compared. A single one is compared with 0, to which there is none."""
    return contrast is None or len(contrast) > 1


def _is_positive(blocks: Blocks) -> bool:
    arms = (arm for terms in blocks.values() for _, group in terms for arm in group)
    return all(seen.value > 0 for arm in arms for seen in arm.values())


def _differences(terms: Sequence[Term], is_relative: bool) -> Mapping[int, float]:
    """Return the weighted sum of the terms, for each seed that all arms have."""
    scale = math.log if is_relative else float
    # Only a seed that all arms have gives a paired difference.
    seeds = sorted(set.intersection(*(set(arm) for _, arms in terms for arm in arms)))
    # Exact sums make equal arms differ by 0, and not by rounding.
    return {
        seed: math.fsum(
            weight * scale(fmean(arm[seed].value for arm in arms)) for weight, arms in terms
        )
        for seed in seeds
    }


def _by_task(cells: Cells) -> dict[str, list[float]]:
    """Return the mean differences of the methods on each task."""
    found: dict[str, list[float]] = {}
    for (_, task), differences in cells.items():
        found.setdefault(task, []).append(fmean(differences.values()))
    return found


def _judged(each: ClaimResult, *, alpha: float) -> ClaimResult:
    """Return a result with its verdict, its sentence and the difference it could have shown."""
    verdict = _verdict(each)
    # The number of pairs of a sequential test depends on what they showed.
    sd = each.sd if each.looks is None else None
    detectable = detectable_difference(sd, pairs=each.n, alpha=alpha)
    if detectable is not None and detectable.difference is not None and each.is_relative:
        detectable = replace(detectable, difference=math.expm1(detectable.difference))
    why = why_not_informative(each.floors) or _why_no_share(each)
    sentence = f"{_finding(each)}: {verdict.value}{f', as {why}' if why else ''}."
    return replace(each, verdict=verdict, sentence=sentence, detectable=detectable)


def _verdict(each: ClaimResult) -> ClaimVerdict:
    if each.difference is None:
        return ClaimVerdict.NOT_RUN
    if why_not_informative(each.floors):
        return ClaimVerdict.NOT_INFORMATIVE
    if each.n < 2 or each.p_decisive is None or each.p_decisive >= ALPHA or _why_no_share(each):
        return ClaimVerdict.UNKNOWN
    # The cost is positive if the first arm is worse than the second by more than the margin.
    cost = each.difference - (each.margin or 0.0)
    is_met = cost > 0 if each.expect == "worse" else cost < 0
    return ClaimVerdict.HOLDS if is_met else ClaimVerdict.FAILS


def _why_no_share(each: ClaimResult) -> str:
    """Return why a margin, which over tasks is a share, cannot be compared; "" if it can be."""
    if (
        each.margin is None
        or not has_ratio(each.contrast)
        or each.unit == "seed"
        or each.is_relative
    ):
        return ""
    return "over tasks a margin is a share, and a value is not above 0"


def _finding(each: ClaimResult) -> str:
    """Return the difference of a claim in words, with its numbers in brackets."""
    what = "the test error" if each.quantity == TEST else f"the value of {each.quantity}"
    if each.difference is None:
        return f"No seed has {what} of all arms ({each.subject})"
    size = abs(each.difference)
    amount = percentage(size) if each.is_relative else readable(size)
    if not size and has_ratio(each.contrast):
        text = f"{what} is the same ({each.subject})"
    elif each.contrast is None:
        way = "rises" if each.difference > 0 else "falls"
        text = f"{what} {way} by {amount} from the smallest to the largest {each.trend}"
    elif len(each.contrast) == 1:
        text = f"{what} is {readable(each.difference)} with {each.contrast[0]}"
    else:
        side = "higher" if each.difference > 0 else "lower"
        text = f"{what} is {amount} {side} with {each.contrast[0]} than with {each.contrast[1]}"
    over = f" over {len(each.by_task)} tasks" if len(each.by_task) > 1 else ""
    return f"{capitalised(text)}{over} ({', '.join(_numbers(each))})"


def _numbers(each: ClaimResult) -> list[str]:
    found = []
    if each.ci is not None:
        low, high = map(percentage if each.is_relative else readable, each.ci)
        found.append(f"95 % interval {low.removesuffix(' %')} to {high}")
    if each.n < 2:
        return [*found, f"one {each.unit}, which is no test"]
    margin = None if each.margin is None else readable(each.margin)
    if each.margin is not None and each.is_relative:
        margin = percentage(each.margin)
    against = "" if margin is None else f" against a margin of {margin}"
    corrected = "" if each.is_primary else " after Holm's correction"
    p = f"p = {readable(each.p_decisive)}{against}{corrected}"
    if each.looks is not None:
        p += " after {} of {} looks".format(*each.looks)
    return [*found, p, each.draw.told(each.n, each.unit)]
