"""Claims of several questions: one correction of the primary ones, and what is counted."""

from dataclasses import replace

import pytest

from sweeper.results.comparison import ClaimResult, ClaimVerdict
from sweeper.results.reproduction.family import (
    QuestionClaims,
    corrected,
    elsewhere,
    hash_of,
    headline,
)
from sweeper.results.statistics import holm
from sweeper.spec.schema import Claim


def result(p: float | None, verdict: str = "holds here", **changes) -> ClaimResult:
    made = ClaimResult(
        says="It helps.", contrast=("a", "b"), trend=None, expect="better", margin=None,
        quantity="test", is_primary=True, is_relative=False, verdict=ClaimVerdict(verdict),
        p_value=p, n=8, difference=None if p is None else -0.1,
    )  # fmt: skip
    return replace(made, **changes)


def question(name: str, *claims: ClaimResult, is_valid: bool = True) -> QuestionClaims:
    return QuestionClaims(name=name, claims=claims, is_valid=is_valid)


def test_all_primary_claims_that_ran_are_corrected_together():
    ps = [0.0078, 0.0078, 0.0156, 0.031, 0.047, 0.2]
    asked = [question(str(i), result(p), result(1e-9)) for i, p in enumerate(ps)]
    found = corrected([*asked, question("none", result(None, "not run"))])
    assert list(found.values()) == pytest.approx([*holm(ps), None])


def test_the_headline_follows_the_correction():
    """Each of twelve at p = 0.0078 holds alone; together their p is 0.094."""
    asked = [question(str(i), result(2 / 2**8)) for i in range(12)]
    assert headline(asked) == "Of 12 primary claims, corrected together, 12 cannot be told."
    assert headline(asked[:3]) == "Of 3 primary claims, corrected together, 3 hold here."


def test_exploratory_claims_and_evidence_of_other_code_stand_apart():
    late = result(0.001, is_exploratory=True)
    asked = [
        question("a", result(0.001), late),
        question("b", result(0.001), result(0.001), is_valid=False),
    ]
    assert headline(asked) == (
        "One primary claim: holds here. Not counted: 2 on evidence of other code, settings or data "
        "and 1 exploratory, written after the launch."
    )


def test_a_contrast_of_several_questions_is_counted_once_and_shown_in_each():
    same = result(0.001, about="alignment on advection")
    asked = [question(name, result(0.3, "cannot tell"), same) for name in "abc"]
    assert "One other contrast: holds here." in headline(asked)
    assert [name for name, _ in elsewhere(asked)["alignment on advection"]] == ["a", "b", "c"]
    assert elsewhere(asked[:1]) == {}
    fails = question("d", result(0.3), replace(same, verdict=ClaimVerdict.FAILS))
    assert "One other contrast: cannot tell." in headline([*asked, fails])
    absent = question("e", result(0.3), result(None, "not run", about=same.about))
    assert "One other contrast: holds here." in headline([*asked, absent])
    assert "One other contrast: not run." in headline([absent])


def test_a_hash_changes_with_any_word_of_the_claims():
    claim = Claim(says="It helps.", contrast=["a", "b"], expect="better")
    other = claim.model_copy(update={"says": "It helped."})
    assert hash_of([claim]) == hash_of([claim.model_copy()]) != hash_of([other])
