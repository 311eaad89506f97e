"""The significance that a planned sweep can reach with its seeds, before it runs."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.errors import UsageError
from sweeper.model import CONTROL_ARM
from sweeper.results import verdicts
from sweeper.results.basis import Unit
from sweeper.results.claims import (
    Observation,
    count_units,
    evaluate,
    has_ratio,
    observations_of,
)
from sweeper.results.comparison import ALPHA, ClaimResult, strictest_level
from sweeper.results.power import Detectable, detectable_difference, smallest_corrected_p
from sweeper.results.reproduction import files
from sweeper.results.reproduction.evidence import Evidence, deciding
from sweeper.results.statistics import fewest_pairs, smallest_p
from sweeper.spec.rules.question import RECORDED
from sweeper.spec.schema import Claim
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import counted, readable

# Settings that do not change the spread of a contrast.
PLANNED = ("compare_by", "ladder", "replicate")
LOOK = "or add --exploratory, for a look that is not to decide anything."


@dataclass(frozen=True, kw_only=True)
class ClaimReach:
    """The seeds or tasks that a claim will compare, and what they can show."""

    claim: Claim
    pairs: int
    unit: Unit
    smallest_p: float  # that they can have; corrected, but for the primary claim
    shown: Detectable | None = None  # in the unit of its margin; None: no spread is known
    is_current: bool = False  # the spread was stated, or recorded with the same settings
    is_relative: bool = False  # the recorded difference is a ratio

    @property
    def size(self) -> str:
        """The seeds or tasks in words: `8 seeds`."""
        return counted(self.pairs, self.unit)

    @property
    def can_be_significant(self) -> bool:
        """True if some result would be below 0.05."""
        return self.smallest_p < ALPHA


def reach_of(sweep: Sweep) -> tuple[ClaimReach, ...]:
    """Return the reach of each claim of a sweep's question, the primary one first."""
    claims = () if sweep.question is None else tuple(sweep.question.claims)
    counts = [_units(sweep, claim) for claim in claims]
    pairs = [count for count, _ in counts]
    # Holm corrects the other claims together, and the primary one is tested without a correction.
    smallest = [*map(smallest_p, pairs[:1]), *smallest_corrected_p(pairs[1:])]
    return tuple(
        ClaimReach(claim=claim, pairs=count, unit=unit, smallest_p=p)
        for claim, (count, unit), p in zip(claims, counts, smallest, strict=True)
    )


def _units(sweep: Sweep, claim: Claim) -> tuple[int, Unit]:
    """Return the number of seeds or tasks that a claim compares if every trial completes."""
    # The number of units does not depend on the values, so that any finite one will do.
    expected = [
        Observation(
            method=study.method,
            task=study.task,
            arm=arm,
            seed=seed,
            values=dict.fromkeys(claim.quantities, 1.0) | _ordering(claim, study, number),
        )
        for number, study in enumerate(sweep.studies)
        for arm in ([study.arm.name] if study.arm is not None else [None, CONTROL_ARM])
        for seed in range(_seeds(sweep, study))
    ]
    return count_units(claim, expected)


def _ordering(claim: Claim, study: StudySpec, number: int) -> dict[str, float]:
    """Return a level by which arms can be ordered, if they will record the metric of a trend."""
    if claim.trend is None or RECORDED not in claim.trend:
        return {}
    runs = study.stage_epochs.get(claim.trend.partition(RECORDED)[0], 0) > 0
    return {claim.trend: float(number)} if runs else {}


def _seeds(sweep: Sweep, study: StudySpec) -> int:
    """Return the number of seeds of a study's configurations; 1 without replicates."""
    wanted = sweep.replicate_of(study)
    # A claim that stays open gets the seeds of the last look, so that these are what it can reach.
    return 1 if wanted is None else wanted.looks[-1]


@dataclass(frozen=True, kw_only=True)
class Spreads:
    """The claims of a sweep's question with their spreads, the primary one first."""

    claims: tuple[ClaimReach, ...]
    file: Path | None  # of the earlier evidence, if there is any


def check_reach(spreads: Spreads, where: str) -> None:
    """Check that the primary claim of a sweep's question can be significant, and each margin shown.

    Args:
        spreads: The claims of the question.
        where: The name of the sweep's file.

    Raises:
        UsageError: The claim cannot, whatever the sweep finds, or a margin is below what the
            planned pairs can show with a stated or recorded spread.
    """
    if fault := _primary_fault(spreads):
        raise UsageError(f"{where}: {fault} {LOOK}")
    check_margins(spreads, where)


def check_margins(spreads: Spreads, where: str) -> None:
    """Check that the margins of claims are not below what the planned pairs can show.

    Raises:
        UsageError: One is, with a stated or recorded spread.
    """
    for each in spreads.claims:
        # The spread of other settings is a hint, and refuses nothing.
        if each.is_current and _is_below(each):
            assert each.shown is not None
            way_out = "Set more seeds, or make fewer claims,"
            if each.shown.difference is not None:
                least = readable(each.shown.difference)
                way_out = f"Set margin={least} or more, or more seeds,"
            raise UsageError(f"{where}: {_too_small(each)}. {way_out} {LOOK}")


def margin_notes(spreads: Spreads) -> list[str]:
    """Return a line on each margin that is too small, or that nothing is known about."""
    return [
        f"{_named_margin(each.claim)} may be too small: no spread is known; state it as `sd`"
        if each.shown is None
        else _too_small(each)
        for each in spreads.claims
        if each.claim.margin is not None and (each.shown is None or _is_below(each))
    ]


def _is_below(each: ClaimReach) -> bool:
    """Return whether a margin is known to be below what the planned pairs can show."""
    margin, shown = each.claim.margin, each.shown
    if margin is None or shown is None:
        return False
    return shown.difference is None or shown.difference > margin


def _named_margin(claim: Claim) -> str:
    return f"the margin of a claim ({claim.says}), {readable(claim.margin)},"


def _too_small(each: ClaimReach) -> str:
    assert each.shown is not None
    if each.shown.difference is None:  # no p-value can be small enough, after the correction
        return f"{_named_margin(each.claim)} cannot be shown by {each.size}"
    spread = "recorded spread" if each.claim.sd is None else "stated sd"
    spread += "" if each.is_current else " of other settings"
    return (
        f"{_named_margin(each.claim)} is below {readable(each.shown.difference)}, which "
        f"{each.size} can show with the {spread}"
    )


def _level(number: int, reached: Sequence[ClaimReach]) -> float:
    """Return the level of a claim's test: that of the strictest step of Holm's correction."""
    return ALPHA if number == 0 else strictest_level([e.pairs for e in reached[1:]])


def _primary_fault(spreads: Spreads) -> str | None:
    """Return why the primary claim cannot be shown with the planned pairs, and a way out."""
    primary = next(iter(spreads.claims), None)
    if primary is None or primary.can_be_significant:
        return None
    needed = fewest_pairs(1, ALPHA)
    hint = f"Set replicate.seeds={needed} or more,"
    if primary.unit == "task":
        hint = f"Compare on {needed} tasks or more, or make a claim for each task,"
    return (
        f"the primary claim of the question ({primary.claim.says}) cannot be significant: "
        f"{primary.size} can reach p = {readable(primary.smallest_p)}, which is not "
        f"below {ALPHA}. {hint}"
    )


def reach_notes(sweep: Sweep, spreads: Spreads) -> list[str]:
    """Return lines on the significance that a sweep can reach with its seeds.

    Args:
        sweep: The sweep.
        spreads: The claims of its question, and the differences that they could show.
    """
    if sweep.question is None:
        return [] if sweep.replicate is None else _without_claims(sweep, sweep.replicate.seeds)
    primary, *others = spreads.claims
    lines = [
        f"primary claim: {primary.size} can reach p = {readable(primary.smallest_p)}, "
        f"not corrected{'' if primary.can_be_significant else ', which is never significant'}"
    ]
    if tested := [each for each in others if each.pairs > 1]:
        reached = dict.fromkeys(
            f"p = {readable(each.smallest_p)} with {each.size}" for each in tested
        )
        never = ", which is never significant" * (not any(e.can_be_significant for e in tested))
        many = f"{len(tested)} other claim{'s' * (len(tested) > 1)}, corrected by Holm"
        lines.append(f"{many}: can reach {' or '.join(reached)}{never}")
    return [*lines, *_from_evidence(spreads)]


def _without_claims(sweep: Sweep, seeds: int) -> list[str]:
    """Return a line on the comparisons of each task, in a sweep without a question."""
    compared = Counter(
        study.task
        for study in sweep.studies
        if sweep.replicate_of(study) and not (study.arm and study.arm.name == CONTROL_ARM)
    )
    entries = max(compared.values(), default=1)
    # Without a baseline every pair of entries is compared.
    tests = max(entries * (entries - 1) // 2, 1)
    corrected = smallest_corrected_p([seeds] * tests)[0]
    line = f"{seeds} seeds can reach p = {readable(smallest_p(seeds))} in one comparison"
    if tests > 1:
        line += f", and p = {readable(corrected)} in {tests} comparisons of a task, after Holm"
    if corrected >= ALPHA:
        line += f": {fewest_pairs(tests, ALPHA)} seeds are needed to be below {ALPHA}"
    return [line]


def _from_evidence(spreads: Spreads) -> list[str]:
    """Return lines on the differences that the claims could show, by earlier results.

    The primary claim always has a line. Another one has a line if its margin is too small, or if
    nothing is known of the spread that its margin has to be compared with.
    """
    file, first, notes = spreads.file, spreads.claims[0], margin_notes(spreads)
    if file is None or first.shown is None:
        return notes
    text = verdicts.detectable(first.shown, first.unit, is_relative=first.is_relative)
    return [f"primary claim, by the spread in {file.name}: {text.removesuffix('.')}", *notes]


def spreads_of(sweep: Sweep, folders: Sequence[Path]) -> Spreads:
    """Return the claims of a sweep with their spreads.

    Args:
        sweep: The sweep.
        folders: Folders with evidence of earlier sweeps, which have the spreads.
    """
    reached = reach_of(sweep)
    file, evidence = _earlier(sweep, folders) if reached else (None, None)
    found: Sequence[ClaimResult | None] = [None] * len(reached)
    if evidence is not None:
        found = evaluate([e.claim for e in reached], observations_of(evidence.sweep.studies))
    claims = (
        replace(
            each,
            shown=_shown(each, result, _level(number, reached)),
            is_current=each.claim.sd is not None or _is_of(evidence, sweep),
            is_relative=result is not None and result.is_relative,
        )
        for number, (each, result) in enumerate(zip(reached, found, strict=True))
    )
    return Spreads(claims=tuple(claims), file=file)


def _is_of(evidence: Evidence | None, sweep: Sweep) -> bool:
    """Return whether evidence has the settings of a sweep that decide its spread."""
    if evidence is None:
        return False
    then, now = (
        {name: value for name, value in deciding(settings).items() if name not in PLANNED}
        for settings in (evidence.key.settings, sweep.resolved)
    )
    return then == now


def _shown(each: ClaimReach, result: ClaimResult | None, level: float) -> Detectable | None:
    """Return the difference that a claim could show, in the unit of its margin.

    Without a result, several tasks are taken to have positive values, so that theirs are ratios.
    """
    # The spread over tasks says nothing about the spread over the seeds of one task.
    recorded = result.sd if result is not None and result.unit == each.unit else None
    spread = each.claim.sd or recorded
    shown = detectable_difference(spread, pairs=each.pairs, alpha=level)
    is_known = result is not None and result.difference is not None
    is_relative = has_ratio(each.claim.contrast) and each.unit == "task"
    if result is not None and is_known:
        is_relative = result.is_relative
    if shown is None or shown.difference is None or not is_relative:
        return shown
    return replace(shown, difference=math.expm1(shown.difference))


def _earlier(sweep: Sweep, folders: Sequence[Path]) -> tuple[Path | None, Evidence | None]:
    """Return the evidence of the same sweep and profile, if there is any."""
    file = files.find(folders, sweep.name, sweep.profile)
    if file is None:
        return None, None
    try:
        evidence = files.load(file)
    except UsageError:  # of another version
        return None, None
    # Another profile has another size, and so another spread.
    return (file, evidence) if evidence.profile == sweep.profile else (None, None)
