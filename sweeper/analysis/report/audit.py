"""The page of a benchmark's audit: a verdict, a reason, a table and a picture for each task."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.analysis.report.page import Link, anchor, render, table

__all__ = ["AuditSection", "audit_page"]


@dataclass(frozen=True, kw_only=True)
class AuditSection:
    """One task on the page."""

    title: str
    task: str
    verdict: str
    reason: str
    data: str  # which data the numbers are of
    rows: Sequence[tuple[str, str, float | None]]  # name, what it is, test value; lowest first
    floor: tuple[str, float] | None  # predictor and test value
    published: tuple[str, float] | None  # the best method of the ranked protocol, and its value
    ratio: float | None
    picture: str | None  # PNG in base64


def audit_page(benchmark: str, answer: str, sections: Sequence[AuditSection]) -> str:
    """Return the self-contained HTML page of an audit."""
    head = ("task", "verdict", "without a network", "its error", "published", "its error", "ratio")
    lines = [
        (
            Link(each.title, anchor(each.task)),
            each.verdict,
            *(each.floor or ("-", None)),
            *(each.published or ("-", None)),
            each.ratio,
        )
        for each in sections
    ]
    shown = [
        {
            "content": each,
            "place": anchor(each.task),
            "table": table(("predictor or method", "what it is", "test error"), each.rows)
            if each.rows
            else None,
        }
        for each in sections
    ]
    return render(
        "audit.html.j2",
        title=f"Audit of {benchmark}",
        answer=answer,
        overview=table(head, lines),
        sections=shown,
    )
