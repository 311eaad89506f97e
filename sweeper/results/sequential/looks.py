"""The seeds that arms need after a look, if pairs are added until claims are decided."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from sweeper.results.claims import Key, Observation, arms_in, evaluate, observations_of
from sweeper.results.comparison import ALPHA, ClaimResult, ClaimVerdict, strictest_level
from sweeper.results.schema import StudyResult
from sweeper.results.sequential.boundaries import Design, is_futile
from sweeper.spec.schema import Claim, Question


def seeds_after(studies: Sequence[StudyResult], at: int) -> Mapping[str, int]:
    """Return the number of seeds of each study after the look at `at` seeds; 0 of a base."""
    resolved = studies[0].record.resolved
    design, question = Design.of(resolved), Question.model_validate(resolved["question"])
    assert design is not None
    observations = observations_of([study for study in studies if study.arm])
    needed = arms_after(question.claims, observations, design, at)
    arms = {each.study.name: (each.study.method, each.study.task, each.arm) for each in studies}
    # No claim is tested before the first look, so that each arm has the seeds of it.
    return {n: needed.get(arm, design.looks[0]) if arm[2] else 0 for n, arm in arms.items()}


def arms_after(
    claims: Sequence[Claim], observations: Sequence[Observation], design: Design, at: int
) -> Mapping[Key, int]:
    """Return the number of seeds of each arm that gets more, after the look at `at` seeds.

    The looks before it are repeated, so that nothing but the trials has to be recorded. A claim
    that was decided or futile at one of them, or that compares arms at the floor, gets no more
    pairs. Arms that another claim shares with it may.
    """
    compared = [arms_in(claim, observations) for claim in claims]
    needed: dict[Key, int] = {}
    open_claims = list(range(len(claims)))
    for look, following in pairwise(design.looks):
        if look > at:
            break
        results = evaluate(claims, observations, design.until(look))
        # A closed claim stays closed, although an arm that it shares may bring it more pairs.
        open_claims = [i for i in open_claims if _is_open(results, i, design.looks[-1])]
        for i in open_claims:
            needed |= dict.fromkeys(compared[i], following)
    return needed


def _is_open(results: Sequence[ClaimResult], number: int, most: int) -> bool:
    """Return whether a claim may be decided by more pairs."""
    each = results[number]
    if each.verdict is not ClaimVerdict.UNKNOWN or each.difference is None or each.sd is None:
        return False
    alpha = ALPHA if each.is_primary else strictest_level([other.n for other in results[1:]])
    mean = each.difference - (each.margin or 0.0)
    return not is_futile(mean=mean, sd=each.sd, most=most, alpha=alpha)
