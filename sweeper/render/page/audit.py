"""The page of a benchmark's audit: a verdict, a reason, a table and a picture for each task."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.render.page.html import Link, anchor, render, table
from sweeper.results.floors import TITLES
from sweeper.results.prose import method


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


def _title(name: str) -> str:
    """Return the printed name of a predictor or a method."""
    return TITLES.get(name) or method(name)


def _named(found: tuple[str, float] | None) -> tuple[str, float | None]:
    return ("-", None) if found is None else (_title(found[0]), found[1])


def audit_page(benchmark: str, answer: str, sections: Sequence[AuditSection]) -> str:
    """Return the self-contained HTML page of an audit."""
    head = ("task", "verdict", "without a network", "its error", "published", "its error", "ratio")
    lines = [
        (
            Link(each.title, anchor(each.task)),
            each.verdict,
            *_named(each.floor),
            *_named(each.published),
            "-" if each.ratio is None else f"{each.ratio:,.{2 if each.ratio < 10 else 0}f}",
        )
        for each in sections
    ]
    shown = [
        {
            "content": each,
            "place": anchor(each.task),
            "table": table(
                ("predictor or method", "what it is", "test error"),
                [(_title(name), what, value) for name, what, value in each.rows],
            )
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
