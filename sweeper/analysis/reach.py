"""The significance that a planned sweep can reach with its seeds, before it runs."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.analysis.comparison import verdicts
from sweeper.analysis.comparison.claims import (
    ClaimResult,
    Observation,
    count_units,
    evaluate,
    observations_of,
)
from sweeper.analysis.comparison.comparison import ALPHA, Unit, num_tests
from sweeper.analysis.power import Detectable, detectable_difference, smallest_corrected_p
from sweeper.analysis.reproduction import files
from sweeper.analysis.reproduction.evidence import Evidence
from sweeper.analysis.reproduction.studies import studies_of
from sweeper.analysis.statistics import fewest_pairs, smallest_p
from sweeper.config.question import RECORDED, Claim
from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from sweeper.errors import UsageError
from sweeper.model import CONTROL_ARM
from sweeper.text import counted, readable


@dataclass(frozen=True, kw_only=True)
class ClaimReach:
    """The seeds or tasks that a claim will compare, and the smallest p that they can have."""

    claim: Claim
    pairs: int
    unit: Unit
    smallest_p: float  # corrected, but for the primary claim

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
    smallest = [*map(smallest_p, pairs[:1]), *smallest_corrected_p(pairs[1:])]
    return tuple(
        ClaimReach(claim=claim, pairs=count, unit=unit, smallest_p=p)
        for claim, (count, unit), p in zip(claims, counts, smallest, strict=True)
    )


def _units(sweep: Sweep, claim: Claim) -> tuple[int, Unit]:
    """Return the number of seeds or tasks that a claim compares if every trial completes."""
    expected = [
        Observation(
            method=study.method,
            task=study.task,
            arm=arm,
            seed=seed,
            values=dict.fromkeys(claim.quantities, 1.0) | _ordering(claim, study, number),
        )
        for number, study in enumerate(sweep.studies())
        for arm in _configurations(study)
        for seed in range(_seeds(sweep, study))
    ]
    return count_units(claim, expected)


def _ordering(claim: Claim, study: StudySpec, number: int) -> dict[str, float]:
    """Return a level by which arms can be ordered, if they will record the metric of a trend."""
    if claim.trend is None or RECORDED not in claim.trend:
        return {}
    runs = study.stage_epochs.get(claim.trend.partition(RECORDED)[0], 0) > 0
    return {claim.trend: float(number)} if runs else {}


def _configurations(study: StudySpec) -> tuple[str | None, ...]:
    return (study.arm.name,) if study.arm is not None else (None, CONTROL_ARM)


def _seeds(sweep: Sweep, study: StudySpec) -> int:
    """Return the number of seeds of a study's configurations; 1 without replicates."""
    wanted = sweep.replicate_of(study)
    return 1 if wanted is None else wanted.seeds


def check_reach(sweep: Sweep, where: str) -> None:
    """Check that the primary claim of a sweep's question can be significant.

    Args:
        sweep: The sweep.
        where: The name of its file.

    Raises:
        UsageError: It cannot, whatever the sweep finds.
    """
    if fault := fault_of(sweep):
        raise UsageError(
            f"{where}: {fault} or add --exploratory, for a look that is not to decide anything."
        )


def _margin_fault(sweep: Sweep) -> str | None:
    """Return why a margin is too small for the planned pairs, if a claim states their spread."""
    reached = reach_of(sweep)
    for number, each in enumerate(reached):
        if each.claim.margin is None or each.claim.sd is None:
            continue
        shown = _shown(each, None, _level(number, reached))
        if shown is None or shown.difference is None or shown.difference <= each.claim.margin:
            continue
        return (
            f"the margin of a claim ({each.claim.says}), {readable(each.claim.margin)}, is below "
            f"what {each.size} can show with the stated sd, {readable(shown.difference)}. "
            f"Set margin={readable(shown.difference)} or more, or more seeds,"
        )
    return None


def _level(number: int, reached: Sequence[ClaimReach]) -> float:
    """Return the level of a claim's test: that of the strictest step of Holm's correction."""
    return ALPHA if number == 0 else ALPHA / max(num_tests([e.pairs for e in reached[1:]]), 1)


def fault_of(sweep: Sweep) -> str | None:
    """Return why the claims cannot be shown with the planned pairs, and a way out; or None."""
    primary = next(iter(reach_of(sweep)), None)
    if primary is None or primary.can_be_significant:
        return _margin_fault(sweep)
    needed = fewest_pairs(1, ALPHA)
    way_out = f"Set replicate.seeds={needed} or more,"
    if primary.unit == "task":
        way_out = f"Compare on {needed} tasks or more, or make a claim for each task,"
    return (
        f"the primary claim of the question ({primary.claim.says}) cannot be significant: "
        f"{primary.size} can reach p = {readable(primary.smallest_p)}, which is not "
        f"below {ALPHA}. {way_out}"
    )


def reach_notes(sweep: Sweep, evidence: Sequence[Path] = ()) -> list[str]:
    """Return lines on the significance that a sweep can reach with its seeds.

    Args:
        sweep: The sweep.
        evidence: Folders with evidence of earlier sweeps. Its spread tells which differences the
            claims could show.
    """
    if sweep.question is None:
        return [] if sweep.replicate is None else _without_claims(sweep, sweep.replicate.seeds)
    primary, *others = reach_of(sweep)
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
    return [*lines, *_from_evidence(sweep, [primary, *others], evidence)]


def _without_claims(sweep: Sweep, seeds: int) -> list[str]:
    """Return a line on the comparisons of each task, in a sweep without a question."""
    compared = Counter(
        study.task
        for study in sweep.studies()
        if sweep.replicate_of(study) and not (study.arm and study.arm.name == CONTROL_ARM)
    )
    entries = max(compared.values(), default=1)
    tests = max(entries * (entries - 1) // 2, 1)
    corrected = smallest_corrected_p([seeds] * tests)[0]
    line = f"{seeds} seeds can reach p = {readable(smallest_p(seeds))} in one comparison"
    if tests > 1:
        line += f", and p = {readable(corrected)} in {tests} comparisons of a task, after Holm"
    if corrected >= ALPHA:
        line += f": {fewest_pairs(tests, ALPHA)} seeds are needed to be below {ALPHA}"
    return [line]


def _from_evidence(
    sweep: Sweep, reached: Sequence[ClaimReach], folders: Sequence[Path]
) -> list[str]:
    """Return lines on the differences that the claims could show, by earlier results.

    The primary claim always has a line. Another one has a line if its margin is too small, or if
    nothing is known of the spread that its margin has to be compared with.
    """
    file, evidence = _earlier(sweep, folders)
    found: Sequence[ClaimResult | None] = [None] * len(reached)
    if evidence is not None:
        claims = [each.claim for each in reached]
        found = evaluate(claims, observations_of(studies_of(evidence)))
    lines = []
    for number, (each, result) in enumerate(zip(reached, found, strict=True)):
        shown = _shown(each, result, _level(number, reached))
        if number == 0 and file is not None and shown is not None:
            text = verdicts.detectable(
                shown, each.unit, is_relative=result is not None and result.is_relative
            )
            lines.append(f"primary claim, by the spread in {file.name}: {text.removesuffix('.')}")
        if each.claim.margin is not None:
            lines += _on_margin(each, each.claim.margin, shown)
    return lines


def _shown(each: ClaimReach, result: ClaimResult | None, level: float) -> Detectable | None:
    """Return the difference that a claim could show, in the unit of its margin.

    Without a result, several tasks are taken to have positive values, so that theirs are ratios.
    """
    spread = each.claim.sd or (result.sd if result is not None else None)
    shown = detectable_difference(spread, pairs=each.pairs, alpha=level)
    is_known = result is not None and result.difference is not None
    is_relative = result.is_relative if result is not None and is_known else each.unit == "task"
    if shown is None or shown.difference is None or not is_relative:
        return shown
    return replace(shown, difference=math.expm1(shown.difference))


def _on_margin(each: ClaimReach, margin: float, shown: Detectable | None) -> list[str]:
    """Return a line on a margin that is too small, or that nothing is known about."""
    named = f"the margin of a claim ({each.claim.says}), {readable(margin)},"
    if shown is None:
        return [f"{named} may be too small: no spread is known; state it as `sd`"]
    if shown.difference is None or shown.difference <= margin:
        return []
    return [f"{named} is below what {each.size} can show, {readable(shown.difference)}"]


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
