"""A claim about methods that a script can check.

    claim  =  METHOD < METHOD on TASK  [ below floor ]  [ and claim ... ]

`<` holds if the mean is lower and the corrected p is below 0.05. `<=` holds if the mean is not
higher, whatever p is. METHOD may be `control`, the other method's own vanilla fine-tuning without
tuning, or an arm (`orca align.epochs=0`). A claim fails where the better method does not beat the
floor of the task, unless it ends in `below floor`.
"""

import re
from dataclasses import dataclass

from sweeper.errors import UsageError, unknown
from sweeper.results.comparison import (
    ALPHA,
    CONTROL,
    Comparison,
    Difference,
    TaskComparison,
    Verdict,
)
from sweeper.results.floors import why_not_informative
from sweeper.results.verdicts import name
from sweeper.text import readable

GRAMMAR = "METHOD < METHOD on TASK, or <=; several joined by `and`"
LABEL = r"([^<>=\n][^<>\n]*?)"  # of a method, or of its arm: `orca align.epochs=0`
CLAIM = re.compile(rf"\s*{LABEL}\s*(<=|<)\s*{LABEL}\s+on\s+(\S+)(\s+below\s+floor)?\s*")


@dataclass(frozen=True, kw_only=True)
class GateClaim:
    """A claim that a method is better than another, or no worse, on a task."""

    first: str
    second: str
    task: str
    is_strict: bool
    may_be_below_floor: bool = False

    def __str__(self) -> str:
        sign = "<" if self.is_strict else "<="
        below = " below floor" * self.may_be_below_floor
        return f"{self.first} {sign} {self.second} on {self.task}{below}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on a claim, with its numbers."""

    claim: str
    is_met: bool
    why: str


def parse_gate(expression: str) -> tuple[GateClaim, ...]:
    """Return the claims of a gate.

    Raises:
        UsageError: The expression is not a valid gate.
    """
    claims = []
    for part in re.split(r"\s+and\s+", expression):
        match = CLAIM.fullmatch(part)
        if match is None:
            raise UsageError(f"--gate: cannot read `{part.strip()[:200]}`; write {GRAMMAR}.")
        first, sign, second, task, below = match.groups()
        if first == second:
            raise UsageError(f"--gate: `{part.strip()}` compares a method with itself.")
        claims.append(
            GateClaim(
                first=first,
                second=second,
                task=task,
                is_strict=sign == "<",
                may_be_below_floor=below is not None,
            )
        )
    return tuple(claims)


def judge(comparison: Comparison, claims: tuple[GateClaim, ...]) -> tuple[Finding, ...]:
    """Return the finding on each claim.

    Raises:
        UsageError: A claim names a task or a method that is not in the comparison.
    """
    return tuple(_judge(comparison, claim) for claim in claims)


def _judge(comparison: Comparison, claim: GateClaim) -> Finding:
    tasks = {task.task: task for task in comparison.tasks}
    if claim.task not in tasks:
        raise UsageError(f"--gate: {unknown('task', claim.task, tasks)}")
    task = tasks[claim.task]
    known = [*(entry.label for entry in task.entries), CONTROL]
    for label in (claim.first, claim.second):
        if label not in known:
            raise UsageError(f"--gate: {unknown('method', label, known)}")
    # A method and its own control always have the same data, and are comparable.
    is_refused = bool(task.incomparable) and CONTROL not in (claim.first, claim.second)
    if is_refused:
        return Finding(claim=str(claim), is_met=False, why="; ".join(task.incomparable))
    each = _find(task, claim)
    if each is None and CONTROL in (claim.first, claim.second):
        raise UsageError(f"--gate: {claim}: no such method has a control here.")
    if each is None:
        raise UsageError(
            f"--gate: with --baseline {comparison.baseline}, {claim.first} and {claim.second} are "
            f"not compared on {claim.task}; leave --baseline out, or name one of them."
        )
    if each.means is None or each.difference is None:
        return Finding(claim=str(claim), is_met=False, why="there is nothing to compare")
    # The difference may have the two methods the other way round.
    first, second = each.means if each.first == claim.first else each.means[::-1]
    gap = each.difference if each.first == claim.first else -each.difference
    if each.floor is not None and not each.floor.is_beaten and not claim.may_be_below_floor:
        why = f"{Verdict.NOT_INFORMATIVE.value}: {why_not_informative([each.floor])}"
        return Finding(claim=str(claim), is_met=False, why=f"{why}; `below floor` allows it")
    # One pair is no test, so that its p is not told.
    p = f", p = {readable(each.p_holm)} after Holm's correction" * (each.pairs > 1)
    is_lower = gap < 0 and each.p_holm is not None and each.p_holm < ALPHA
    return Finding(
        claim=str(claim),
        is_met=is_lower if claim.is_strict else gap <= 0,
        why=f"{name(claim.first)} {readable(first)}, {name(claim.second)} {readable(second)}, "
        f"{each.draw.told(each.pairs)}{p}",
    )


def _find(task: TaskComparison, claim: GateClaim) -> Difference | None:
    wanted = {claim.first, claim.second}
    family = task.from_control if CONTROL in wanted else task.differences
    return next((d for d in family if {d.first, d.second} == wanted), None)
