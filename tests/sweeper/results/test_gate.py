"""Gates: what a claim says, and when it holds."""

from dataclasses import replace

import pytest

from sweeper.errors import UsageError
from sweeper.results.compare import compare
from sweeper.results.gate import judge, parse_gate
from tests.support.compared_ledgers import Scores, write

ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d@hard"
SIX = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]
HIGHER = [value + 0.1 for value in SIX]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    studies = [
        Scores(method="pare", task=ADVECTION, best=SIX, control=HIGHER),
        Scores(method="mona", task=ADVECTION, best=HIGHER),
        Scores(method="pare", task=DARCY, best=SIX[:5]),
        Scores(method="mona", task=DARCY, best=HIGHER[:5]),
    ]
    return compare([write(tmp_path_factory.mktemp("s"), "s", studies)])


def met(comparison, expression: str) -> list[bool]:
    return [finding.is_met for finding in judge(comparison, parse_gate(expression))]


def test_a_gate_is_read():
    (one, two) = parse_gate("  pare<mona on pdebench/darcy_2d@hard and a:nft <= control on t")
    assert (one.first, one.second, one.task, one.is_strict) == ("pare", "mona", DARCY, True)
    assert str(two) == "a:nft <= control on t"
    assert not two.is_strict


def test_a_gate_may_name_arms():
    (claim,) = parse_gate("orca align.epochs=0 < orca refine.freeze=body on t below floor")
    assert (claim.first, claim.second) == ("orca align.epochs=0", "orca refine.freeze=body")
    assert claim.may_be_below_floor


@pytest.mark.parametrize(
    "text",
    [
        "", "pare", "pare < mona", "pare > mona on t", "pare < mona on", "pare < mona on t and",
        "pare < mona on t or a < b on t", "pare << mona on t", "a < b on t\nand",
    ],
)  # fmt: skip
def test_what_is_no_gate_is_refused_with_the_grammar(text):
    with pytest.raises(UsageError, match="METHOD < METHOD on TASK"):
        parse_gate(text)


def test_a_method_against_itself_is_refused():
    with pytest.raises(UsageError, match="with itself"):
        parse_gate("pare < pare on t")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("pare < mona on pdebench/advection_1d", [True]),
        ("mona < pare on pdebench/advection_1d", [False]),
        ("pare < mona on pdebench/darcy_2d@hard", [False]),  # lower, but on five seeds
        ("pare <= mona on pdebench/darcy_2d@hard", [True]),
        ("mona <= pare on pdebench/darcy_2d@hard", [False]),
        ("pare < control on pdebench/advection_1d", [True]),
        ("control < pare on pdebench/advection_1d", [False]),
        ("mona < control on pdebench/advection_1d", [False]),  # its control has one seed
        (
            "pare < mona on pdebench/advection_1d and pare < mona on pdebench/darcy_2d@hard",
            [True, False],
        ),
    ],
)
def test_a_claim_holds_if_the_mean_is_lower_and_p_is(comparison, expression, expected):
    assert met(comparison, expression) == expected


def test_a_finding_says_by_what_numbers(comparison):
    (finding,) = judge(comparison, parse_gate("mona < pare on pdebench/advection_1d"))
    assert finding.why == (
        "MoNA 0.3, PaRe 0.2, 6 seeds, one draw of 270 samples, p = 0.03125 after Holm's correction"
    )


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("pare < monna on pdebench/advection_1d", "method `monna`. Did you mean `mona`?"),
        ("pare < mona on pdebench/advection", "Did you mean `pdebench/advection_1d`?"),
    ],
)
def test_a_claim_about_what_is_not_here_is_refused(comparison, expression, told):
    with pytest.raises(UsageError) as error:
        judge(comparison, parse_gate(expression))
    assert told in str(error.value)


def test_a_pair_that_the_baseline_leaves_out_is_refused(tmp_path):
    studies = [Scores(method=m, task=ADVECTION, best=SIX) for m in ("pare", "mona", "nft")]
    found = compare([write(tmp_path, "s", studies)], baseline="nft")
    with pytest.raises(UsageError, match="with --baseline nft, pare and mona are not compared"):
        judge(found, parse_gate("pare < mona on pdebench/advection_1d"))
    without = replace(found, tasks=(replace(found.tasks[0], from_control=()),))
    with pytest.raises(UsageError, match="no such method has a control here"):
        judge(without, parse_gate("nft < control on pdebench/advection_1d"))


def test_what_is_not_comparable_meets_no_gate(tmp_path):
    one = write(tmp_path / "a", "a", [Scores(method="pare", task=ADVECTION, best=SIX)])
    other = Scores(method="mona", task=ADVECTION, best=HIGHER, facts={"content_hash": "1"})
    found = compare([one, write(tmp_path / "b", "b", [other])])
    (finding,) = judge(found, parse_gate("pare < mona on pdebench/advection_1d"))
    assert not finding.is_met
    assert finding.why.startswith("data differs")
