"""The parts of a page on what went wrong, and what it was made from."""

import json
from collections.abc import Mapping
from typing import Any

from sweeper.analysis.report.page import Markup, element, join, table
from sweeper.analysis.table import SweepTable
from sweeper.ledger import SweepRecord
from sweeper.model import TrialState


def unfinished_section(sweep: SweepTable) -> Markup:
    """Lists trials by why they ended, or have not: one line a reason."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for study in sweep.studies:
        for t in study.trials:
            if t.state is not TrialState.COMPLETE:
                why = (study.study.name, t.state.value, t.failure or "–", t.reason or "–")
                grouped.setdefault(why, []).append(str(t.number))
    heading = element("h2", "Trials that did not complete", id="failures")
    if not grouped:
        return join([heading, element("p", "None: every trial is complete.")])
    lines = [[*why, len(numbers), ", ".join(numbers)] for why, numbers in grouped.items()]
    lines.sort(key=lambda line: line[1] != TrialState.FAILED)
    header = ["study", "state", "class", "reason", "count", "trials"]
    return join([heading, table(header, lines)])


def configuration_section(record: SweepRecord) -> Markup:
    """Shows the file as written, and as it was understood."""
    resolved = json.dumps(record.resolved, indent=2, ensure_ascii=False, default=str)
    return join(
        [
            element("h2", "Configuration", id="configuration"),
            element("p", "The file as written:", class_="soft"),
            element("pre", record.text),
            element(
                "details",
                element("summary", "With profile and options applied"),
                element("pre", resolved),
            ),
        ]
    )


def provenance_section(sweep: SweepTable) -> Markup:
    """Says with which code, packages, data and weights."""
    record = sweep.record
    lines: list[list[Any]] = [["configuration", Markup(f"<code>{record.config_hash}</code>")]]
    for name, value in record.provenance.items():
        shown = value
        if isinstance(value, Mapping):
            shown = ", ".join(f"{key} {version}" for key, version in value.items() if version)
        lines.append([name.replace("_", " "), "unknown" if shown is None else str(shown)])
    for name in ("content_hash", "weights_hash"):
        owners: dict[str, list[str]] = {}
        for study in sweep.studies:
            if study.facts.get(name):
                owners.setdefault(str(study.facts[name]), []).append(study.study.name)
        lines += [[f"{name.replace('_', ' ')}, {', '.join(who)}", h] for h, who in owners.items()]
    return join([element("h2", "Provenance", id="provenance"), table(["what", "value"], lines)])
