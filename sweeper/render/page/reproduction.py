"""The page that shows our figures beside published findings, with a verdict for each claim."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from sweeper.model import CONTROL_ARM
from sweeper.render.page.evidence_figures import (
    arm_figures,
    curve_figures,
    plane_figures,
    recorded_figures,
)
from sweeper.render.page.figures import colours
from sweeper.render.page.html import Link, Table, anchor, render, table
from sweeper.render.page.plot import Figure
from sweeper.render.page.sections import (
    Section,
    all_tasks_section,
    claim_numbers,
    ladder_section,
    published_section,
    response_figures,
    sized,
)
from sweeper.results.comparison import (
    ClaimResult,
    ClaimVerdict,
    Entry,
    TaskComparison,
)
from sweeper.results.floors import of_solver
from sweeper.results.prose import listed, metric, own_draws
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.family import (
    corrected,
    elsewhere,
    headline,
)
from sweeper.results.reproduction.reproduction import Reproduction
from sweeper.results.verdicts import (
    DESIGNS,
    beside_floor,
    claim_lines,
    interval,
    limits,
    name,
)
from sweeper.text import counted, readable

TITLE = "Published findings, and what came out here"
MARKS = {
    ClaimVerdict.HOLDS: "holds",
    ClaimVerdict.FAILS: "fails",
    ClaimVerdict.UNKNOWN: "unknown",
    ClaimVerdict.NOT_INFORMATIVE: "unknown",
    ClaimVerdict.NOT_RUN: "unknown",
}


def render_page(
    found: Sequence[Reproduction], *, profile: str, title: str = TITLE, has_seeds: bool = False
) -> str:
    """Return the page about these figures and tables; `has_seeds` adds a table of all seeds."""
    asked = [each.asked for each in found]
    others = elsewhere(asked)
    return render(
        "reproduction.html.j2",
        title=title,
        profile=profile,
        answer=headline(asked),
        overview=_overview(found, corrected(asked)),
        sections=[
            {**_section(each, others), "seeds": _seeds(each.present) if has_seeds else None}
            for each in found
        ],
    )


def _overview(found: Sequence[Reproduction], p_values: Mapping[str, float | None]) -> Table:
    lines: list[list[object]] = []
    for each in found:
        primary = each.claims[0] if each.claims else None
        others = Counter(claim.verdict for claim in each.claims[1:])
        lines.append(
            [
                Link(each.name, anchor(each.name)),
                ", ".join(each.aliases) or "–",
                each.title,
                primary.verdict.value if primary else "–",
                counted(primary.n, primary.unit) if primary and primary.n else None,
                primary.p_value if primary else None,
                p_values.get(each.name),
                ", ".join(f"{others[v]} {v.value}" for v in ClaimVerdict if others[v]) or "–",
                each.evidence,
            ]
        )
    header = ["name", "figure", "question", "first claim", "over", "p", "p, all questions",
              "other claims", "evidence"]  # fmt: skip
    return table(header, lines)


Elsewhere = Mapping[str, Sequence[tuple[str, ClaimResult]]]


def _section(each: Reproduction, others: Elsewhere) -> Section:
    comparison, tasks = each.comparison, each.compared
    published = [section for task in tasks if (section := published_section(task)) is not None]
    return {
        "place": anchor(each.name),
        "title": each.title,
        "aliases": ", ".join((each.name, *each.aliases)),
        "question": each.question,
        "asked_on": listed(each.tasks),
        "evidence": each.evidence_notes,
        "registration": each.registration,
        "remark": each.benchmark.remark if each.benchmark else "",
        "published_rows": table(each.benchmark.header, each.benchmark.lines)
        if each.benchmark
        else None,
        "claims": [claim_row(each.name, claim, others) for claim in each.claims],
        "numbers": claim_numbers(each.claims) if each.question and each.present else None,
        "figures": _figures(each),
        "ladders": list(map(ladder_section, comparison.ladders)) if comparison else [],
        "arms": _arms(tasks, each.present) if tasks else None,
        "all_tasks": all_tasks_section(comparison) if comparison and len(tasks) > 1 else None,
        "floors": [
            *(f"{task.task}: {told}" for task in tasks for told in beside_floor(task)),
            *filter(None, (of_solver(task.task, task.facts) for task in tasks)),
        ],
        # Claims say themselves what their seeds can show.
        "notes": [] if each.claims else [t for task in tasks if (t := limits(task.differences))],
        "conditions": [conditions(evidence) for evidence in each.present],
        "published": published,
    }


def claim_row(name: str, claim: ClaimResult, others: Elsewhere) -> dict[str, object]:
    """Return a claim of a question with its verdict and what it is based on."""
    return {
        "verdict": claim.verdict.value,
        "mark": MARKS[claim.verdict],
        "says": claim.says,
        "sentence": _finding(claim),
        "is_primary": claim.is_primary,
        "is_exploratory": claim.is_exploratory,
        "elsewhere": _elsewhere(name, claim, others),
    }


def _figures(each: Reproduction) -> list[Figure]:
    """Return the figures of what was compared, and then those of each evidence."""
    figures: list[Figure] = []
    if (comparison := each.comparison) is not None:
        figures += arm_figures(comparison)
        figures += response_figures(comparison, colours(comparison.labels))
        figures += recorded_figures(each.claims, each.observations)
    for evidence in each.present:
        figures += [*curve_figures(evidence), *plane_figures(evidence)]
    return figures


def _finding(claim: ClaimResult) -> str:
    """Return the sentences on a claim without its verdict, which stands before them."""
    if claim.verdict is ClaimVerdict.NOT_RUN:
        return ""
    first, *others = claim_lines(claim)
    told = first.removesuffix(f": {claim.verdict.value}.").removesuffix(".")
    return " ".join([f"{told}.", *others])


def _elsewhere(name: str, claim: ClaimResult, others: Elsewhere) -> str:
    """Return a sentence on the same contrast in other questions, or "" without any."""
    found = [
        f"{question} {sized(each.difference, each)} (p = {readable(each.p_value)})"
        for question, each in others.get(claim.about, ())
        if question != name
    ]
    return f"The same contrast elsewhere: {listed(found)}." if found else ""


def _arms(tasks: Sequence[TaskComparison], present: Sequence[Evidence]) -> Table:
    """Return a line for each arm, or method, and each control on each task."""
    epochs: dict[tuple[str, str], float] = {
        (evidence.name, arm.name): fmean(each.epochs for each in arm.trainings)
        for evidence in present
        for arm in evidence.arms
        if arm.trainings
    }
    lines: list[list[object]] = []
    marked: list[int] = []
    for task in tasks:
        shown: list[tuple[Entry, str, str]] = [(e, name(e.label), e.study) for e in task.entries]
        shown += [(e, f"{name(e.label)}: control", _control(e)) for e in task.distinct_controls]
        best = min((e.mean for e, *_ in shown if e.mean is not None), default=None)
        for entry, called, study in shown:
            if entry.mean is not None and entry.mean == best:
                marked.append(len(lines))
            lines.append(
                [task.task, called, entry.mean, interval(entry.ci), len(entry.values), entry.sd,
                 entry.validation, epochs.get((entry.sweep, study)), entry.training_seconds]
            )  # fmt: skip
    metrics = listed(list(dict.fromkeys(metric(task.metric) for task in tasks)))
    header = ["task", "arm", f"test {metrics}", "95 % interval", "seeds", "sd", "validation",
              "epochs", "device-s"]  # fmt: skip
    return table(header, lines, marked=marked)


def _seeds(present: Sequence[Evidence]) -> Table:
    """Return a line for each training."""
    lines = [
        [name(arm.label), arm.of.study.task, str(each.seed), each.value, arm.of.test_value(each),
         each.epochs, arm.device_seconds(each)]
        for evidence in present
        for arm in evidence.arms
        for each in arm.trainings
    ]  # fmt: skip
    return table(["arm", "task", "seed", "validation", "test", "epochs", "device-s"], lines)


def _control(entry: Entry) -> str:
    """Return the name of a control's rows: a study of its own in an ablation."""
    ending = f"/{CONTROL_ARM}"
    return entry.study.removesuffix(ending) + ending


def conditions(evidence: Evidence) -> str:
    """Return a text on the settings, sizes and devices under which numbers were obtained."""
    counts = {len({each.seed for each in arm.trainings}) for arm in evidence.arms}
    parts = [f"Profile {evidence.profile}"]
    tasks: dict[str, str] = {}
    for study in evidence.sweep.studies:
        facts = study.facts
        sizes = f"{facts.sizes} samples, " if facts.sizes else ""
        text = f"{sizes}{facts.data_source} data{own_draws(facts)}"
        tasks[study.study.task] = f"{study.study.task} ({text})"
    parts.append(listed(list(tasks.values())))
    for fact in ("backbone", "proxy"):
        known = dict.fromkeys(
            filter(None, (getattr(s.facts, fact) for s in evidence.sweep.studies))
        )
        if known:
            parts.append(f"{'source ' if fact == 'proxy' else ''}{listed(list(known))}")
    few = f"{min(counts)} to " * (len(counts) > 1)
    parts.append(f"{few}{counted(max(counts), 'seed')}")
    parts.append(str(evidence.machine))
    parts.append(f"{evidence.device_seconds / 3600:.2g} device-hours")
    origin = f"commit {evidence.commit[:12]}" if evidence.commit else "commit not recorded"
    parts.append(origin)
    parts.append(
        ", ".join(f"{k} {v}" for k, v in evidence.packages.items())
        or "versions of packages not recorded"
    )
    told = "; ".join(parts) + "."
    design = next((s.design for s in evidence.sweep.studies if s.arm is not None), None)
    return told if design is None else f"{told} {DESIGNS[design]}"
