"""Compares the methods of sweeps that have begun."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sweeper.commands.files import write_file
from sweeper.errors import UsageError
from sweeper.planning.sweep_folder import existing, started


def compare(
    names: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    baseline: str | None = None,
    html: Path | None = None,
    latex: Path | None = None,
    rows: Collection[str] = (),
    gate: str | None = None,
) -> dict[str, Any]:
    """Returns the comparison; `exit_code` is 9 where `gate` is not met, else 0.

    Args:
        html: Where a page about it goes.
        latex: Where a table for a paper goes.
        rows: What that shows besides the methods: control, baselines, published.

    Raises:
        NotFound: A sweep does not exist or was never started.
        UsageError: A name or the gate means nothing here.
    """
    from sweeper.analysis.comparison.compare import compare as compared
    from sweeper.analysis.comparison.exports import as_json
    from sweeper.analysis.comparison.gate import judge, parse_gate
    from sweeper.analysis.comparison.latex import Row, comparison_table
    from sweeper.analysis.report.compare_page import render_comparison

    if rows and latex is None:
        raise UsageError("--with says what a table of --latex FILE shows: add that.")
    claims = parse_gate(gate) if gate is not None else ()
    with ExitStack() as stack:
        ledgers = [stack.enter_context(started(existing(name)))[0] for name in names]
        comparison = compared(ledgers, tasks=tasks, baseline=baseline)
        page = None if html is None else write_file(html, render_comparison(comparison))
        paper = (
            None
            if latex is None
            else write_file(latex, comparison_table(comparison, [Row(row) for row in rows]))
        )
    findings = judge(comparison, claims)
    is_met = all(finding.is_met for finding in findings)
    judged = [vars(finding) for finding in findings]
    return {
        **as_json(comparison),
        "html": None if page is None else str(page),
        "latex": None if paper is None else str(paper),
        "gate": {"expression": gate, "met": is_met, "claims": judged} if claims else None,
        "exit_code": 0 if is_met else 9,
    }
