"""All claims of several questions together: one correction, and each contrast counted once.

The primary claims form a family of their own: twenty of them would find something by chance in 64 %
of all repetitions if nothing were there. Claims that came after a launch are exploratory, and
evidence of other code is no evidence of this code: both stand apart.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.results.comparison import ALPHA, ClaimResult, ClaimVerdict
from sweeper.results.prose import listed
from sweeper.results.statistics import holm_of_tests
from sweeper.spec.schema import Claim

DIGITS = 12  # of a hash of claims
COUNTED = {  # the words for one claim and for more
    ClaimVerdict.HOLDS: ("holds here", "hold here"),
    ClaimVerdict.FAILS: ("does not hold", "do not hold"),
    ClaimVerdict.UNKNOWN: ("cannot be told", "cannot be told"),
    ClaimVerdict.NOT_INFORMATIVE: ("is not informative", "are not informative"),
    ClaimVerdict.NOT_RUN: ("was not run", "were not run"),
}


@dataclass(frozen=True, kw_only=True)
class QuestionClaims:
    """The claims of one question with their results, the primary one first."""

    name: str
    claims: Sequence[ClaimResult]
    is_valid: bool  # the evidence is of the present code, settings and data, or there is none


def hash_of(claims: Iterable[Claim]) -> str:
    """Return the hash of claims, which changes with any word of them."""
    # A key of a later version, at its default, changes no hash.
    plain = [claim.model_dump(mode="json", exclude_defaults=True) for claim in claims]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:DIGITS]


def corrected(asked: Sequence[QuestionClaims]) -> dict[str, float | None]:
    """Return the p-value of each primary claim after Holm's correction over all that ran.

    Whatever the evidence of a claim is, it was looked at, so that it counts in the correction.
    """
    found = {each.name: each.claims[0] for each in asked if each.claims}
    # A claim without evidence was never looked at, and does not count in the correction.
    tested = {name: claim for name, claim in found.items() if claim.p_value is not None}
    p_values = holm_of_tests(
        [claim.p_value for claim in tested.values()], [claim.n for claim in tested.values()]
    )
    return dict.fromkeys(found) | dict(zip(tested, p_values, strict=True))


def headline(asked: Sequence[QuestionClaims]) -> str:
    """Return sentences on the primary claims after their correction, and on all others."""
    p_values = corrected(asked)
    primaries = [
        (each, after_correction(each.claims[0], p_values[each.name]))
        for each in asked
        if each.claims
    ]
    if not primaries:
        return "No claim is tested here."
    told = [verdict for each, verdict in primaries if _counts(each, each.claims[0])]
    lines = [_told("primary claim", told, "corrected together")]
    others = [claim for each in asked for claim in each.claims[1:] if _counts(each, claim)]
    if others:
        lines.append(_told("other contrast", _distinct(others), "corrected by question"))
    apart = _apart(asked)
    return " ".join([*lines, apart] if apart else lines)


def _distinct(claims: Sequence[ClaimResult]) -> list[ClaimVerdict]:
    """Return the verdict of each contrast. One whose questions disagree cannot be told.

    A question that was not run disagrees with none.
    """
    verdicts: dict[str | int, set[ClaimVerdict]] = {}
    for claim in claims:
        # A claim without a name is a contrast of its own.
        verdicts.setdefault(claim.about or id(claim), set()).add(claim.verdict)
    ran = [each - {ClaimVerdict.NOT_RUN} or each for each in verdicts.values()]
    return [v.pop() if len(v) == 1 else ClaimVerdict.UNKNOWN for v in ran]


def _counts(each: QuestionClaims, claim: ClaimResult) -> bool:
    return each.is_valid and not claim.is_exploratory


def after_correction(claim: ClaimResult, p_value: float | None) -> ClaimVerdict:
    """Return the verdict on a primary claim after the correction over all questions."""
    is_decided = claim.verdict in (ClaimVerdict.HOLDS, ClaimVerdict.FAILS)
    if is_decided and (p_value is None or p_value >= ALPHA):
        return ClaimVerdict.UNKNOWN
    return claim.verdict


def _told(what: str, verdicts: Sequence[ClaimVerdict], how: str) -> str:
    """Return a sentence on the number of claims by verdict."""
    if not verdicts:
        return f"No {what} is counted."
    if len(verdicts) == 1:
        return f"One {what}: {verdicts[0].value}."
    counts = Counter(verdicts)
    told = [f"{n} {words[n > 1]}" for verdict, words in COUNTED.items() if (n := counts[verdict])]
    return f"Of {len(verdicts)} {what}s, {how}, {listed(told)}."


def _apart(asked: Sequence[QuestionClaims]) -> str:
    """Return a sentence on the claims that are not counted, or ""."""
    stale = sum(len(each.claims) for each in asked if not each.is_valid)
    late = sum(claim.is_exploratory for each in asked if each.is_valid for claim in each.claims)
    parts = [f"{stale} on evidence of other code, settings or data"] if stale else []
    parts += [f"{late} exploratory, written after the launch"] if late else []
    return f"Not counted: {listed(parts)}." if parts else ""


def elsewhere(asked: Sequence[QuestionClaims]) -> Mapping[str, Sequence[tuple[str, ClaimResult]]]:
    """Return for each named contrast the questions that have it, with their results."""
    found: dict[str, list[tuple[str, ClaimResult]]] = {}
    for each in asked:
        for claim in each.claims:
            if claim.about and claim.difference is not None:
                found.setdefault(claim.about, []).append((each.name, claim))
    return {about: claims for about, claims in found.items() if len(claims) > 1}
