"""The page that shows our figures beside published findings, with a verdict for each claim."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from sweeper.render.page.sections import (
    Section,
    all_tasks_section,
    claim_numbers,
    published_section,
    response_figures,
)
from sweeper.results.claims import Observation, evaluate, observations_of
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import (
    ClaimResult,
    ClaimVerdict,
    Comparison,
    Entry,
    TaskComparison,
)
from sweeper.results.floors import of_solver
from sweeper.results.prose import listed, metric, own_draws
from sweeper.results.reproduction.benchmark_table import BenchmarkTable
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.family import (
    QuestionClaims,
    corrected,
    elsewhere,
    hash_of,
    headline,
)
from sweeper.results.reproduction.studies import studies_of
from sweeper.results.schema import with_distinct_labels
from sweeper.results.verdicts import (
    DESIGNS,
    beside_floor,
    claim_lines,
    interval,
    limits,
    name,
)
from sweeper.spec.schema import Claim, Question
from sweeper.text import readable

__all__ = ["Part", "Reproduction", "render_page"]

VALID, STALE, ABSENT = "valid", "stale", "not run"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The evidence of one sweep, and how it compares with the present."""

    name: str  # of the sweep
    evidence: Evidence | None = None
    origin: str = ""  # "committed evidence", or the folder of the sweep
    changes: Mapping[str, str] = field(default_factory=dict)  # since; empty: it holds
    note: str = ""  # on its absence

    @property
    def state(self) -> str:
        """One of valid, stale and not run."""
        if self.evidence is None:
            return ABSENT
        return STALE if self.changes else VALID

    @property
    def message(self) -> str:
        """A sentence on the evidence."""
        if self.evidence is None:
            return f"{self.name}: not run. {self.note}".strip()
        when = f" of {self.evidence.finished}" if self.evidence.finished else ""
        head = f"{self.name}: {self.origin}{when}"
        if (found := self.evidence.confirmed) is not None:
            later = f" on {found.on}" if found.on else ""
            head += f", confirmed{later} by the bits of {found.trainings} trainings of later code"
        if not self.changes:
            return f"{head}; code, settings and data are those of today."
        what = listed([f"other {kind} ({text})" for kind, text in self.changes.items()])
        return f"{head}: evidence of {what}."


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One figure or table: what was published, and what came out here."""

    name: str
    aliases: Sequence[str] = ()
    question: Question | None = None  # None: a table
    tasks: Sequence[str] = ()  # that the question is asked on
    parts: Sequence[Part]
    benchmark: BenchmarkTable | None = None  # of a table
    commit: str | None = None  # that changed the file of the claims last, in a git checkout

    @property
    def title(self) -> str:
        """The question, or the name of the table or sweep."""
        if self.question is not None:
            return self.question.title
        _, is_table, benchmark = self.name.partition("table_")
        return f"Table: {benchmark}" if is_table else self.name

    @property
    def messages(self) -> tuple[str, ...]:
        """A sentence on each sweep; those of a table without evidence share one."""
        absent = [part for part in self.parts if part.evidence is None and not part.note]
        told = tuple(part.message for part in self.parts if part not in absent)
        if self.benchmark is None or len(absent) < 2:
            return tuple(part.message for part in self.parts)
        names = listed([part.name for part in absent])
        return (*told, f"{names}: not run; with --run they are launched.")

    @property
    def state(self) -> str:
        """The worst state of a part that ran, or `not run`."""
        states = {part.state for part in self.parts}
        return next((each for each in (STALE, VALID) if each in states), ABSENT)

    @property
    def present(self) -> list[Evidence]:
        """The evidence that there is."""
        return [part.evidence for part in self.parts if part.evidence is not None]

    @cached_property
    def comparison(self) -> Comparison | None:
        """The comparison of all arms or methods; None without any evidence."""
        studies = with_distinct_labels(
            [s for evidence in self.present for s in studies_of(evidence, self.question)]
        )
        names = [evidence.name for evidence in self.present]
        return compare_studies(studies, sweeps=names) if studies else None

    @cached_property
    def claims(self) -> tuple[ClaimResult, ...]:
        """The result of each claim; all are `not run` without evidence."""
        if self.question is None:
            return ()
        launched = [claims for evidence in self.present if (claims := _claims_of(evidence))]
        return tuple(
            replace(result, is_exploratory=not _was_planned(claim, number, launched))
            if self.present
            else result
            for number, (claim, result) in enumerate(
                zip(self.question.claims, evaluate(self.question.claims, self.observations),
                    strict=True)
            )
        )  # fmt: skip

    @property
    def asked(self) -> QuestionClaims:
        """The claims as part of the family of all questions."""
        return QuestionClaims(name=self.name, claims=self.claims, is_valid=self.state != STALE)

    @property
    def registration(self) -> str:
        """A sentence on the hash of the claims, and the commit that fixed them."""
        if self.question is None:
            return ""
        now = hash_of(self.question.claims)
        text = f"The claims have the hash {now}"
        if self.commit:
            text += f", and their file is of commit {self.commit[:12]}"
        for evidence in self.present:
            launched = _claims_of(evidence)
            if launched is None:
                text += f"; {evidence.name} was launched without claims"
            elif hash_of(launched) == now:
                fixed = f"commit {evidence.commit[:12]}" if evidence.commit else "no known commit"
                text += f", fixed by {fixed} before {evidence.name} was launched"
            else:
                text += f"; those of the launch of {evidence.name} have {hash_of(launched)}"
        return f"{text}."

    @property
    def observations(self) -> list[Observation]:
        """The recorded values of all arms, for claims."""
        return observations_of([s for evidence in self.present for s in studies_of(evidence)])


def _claims_of(evidence: Evidence) -> list[Claim] | None:
    """Return the claims that a sweep was launched with, or None."""
    if evidence.question is None:
        return None
    return [Claim(**each) for each in evidence.question["claims"]]


def _was_planned(claim: Claim, number: int, launched: Sequence[Sequence[Claim]]) -> bool:
    """Return whether a claim was written down at a launch, as primary if it is primary now."""
    tested = {"says": "", "about": "", "sd": None}  # what these say changes no test
    wanted = claim.model_copy(update=tested)
    for claims in launched:
        places = [i for i, each in enumerate(claims) if each.model_copy(update=tested) == wanted]
        if places and (number > 0 or places[0] == 0):
            return True
    return False


MARKS = {
    ClaimVerdict.HOLDS: "holds",
    ClaimVerdict.FAILS: "fails",
    ClaimVerdict.UNKNOWN: "unknown",
    ClaimVerdict.NOT_INFORMATIVE: "unknown",
    ClaimVerdict.NOT_RUN: "unknown",
}


def render_page(found: Sequence[Reproduction], *, profile: str) -> str:
    """Return the page about these figures and tables."""
    asked = [each.asked for each in found]
    others = elsewhere(asked)
    return render(
        "reproduction.html.j2",
        title="Published findings, and what came out here",
        profile=profile,
        answer=headline(asked),
        overview=_overview(found, corrected(asked)),
        sections=[_section(each, others) for each in found],
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
                f"{primary.n} {primary.unit}s" if primary and primary.n else None,
                primary.p_value if primary else None,
                p_values.get(each.name),
                ", ".join(f"{others[v]} {v.value}" for v in ClaimVerdict if others[v]) or "–",
                each.state,
            ]
        )
    header = ["name", "figure", "question", "first claim", "over", "p", "p, all questions",
              "other claims", "evidence"]  # fmt: skip
    return table(header, lines)


Elsewhere = Mapping[str, Sequence[tuple[str, ClaimResult]]]


def _section(each: Reproduction, others: Elsewhere) -> Section:
    comparison = each.comparison
    tasks = comparison.tasks if comparison is not None else ()
    figures = []
    if comparison is not None:
        figures = arm_figures(comparison)
        figures += response_figures(comparison, colours(comparison.labels))
        figures += recorded_figures(each.claims, each.observations)
    published = [section for task in tasks if (section := published_section(task)) is not None]
    return {
        "place": anchor(each.name),
        "title": each.title,
        "aliases": ", ".join((each.name, *each.aliases)),
        "question": each.question,
        "asked_on": listed(each.tasks),
        "evidence": each.messages,
        "registration": each.registration,
        "remark": each.benchmark.remark if each.benchmark else "",
        "published_rows": table(each.benchmark.header, each.benchmark.lines)
        if each.benchmark
        else None,
        "claims": [
            {
                "verdict": claim.verdict.value,
                "mark": MARKS[claim.verdict],
                "says": claim.says,
                "sentence": _finding(claim),
                "is_primary": claim.is_primary,
                "is_exploratory": claim.is_exploratory,
                "elsewhere": _elsewhere(each.name, claim, others),
            }
            for claim in each.claims
        ],
        "numbers": _numbers(each),
        "figures": [
            *figures,
            *(
                figure
                for evidence in each.present
                for figure in (*curve_figures(evidence), *plane_figures(evidence))
            ),
        ],
        "arms": _arms(tasks, each.present) if tasks else None,
        "all_tasks": all_tasks_section(comparison) if comparison and len(tasks) > 1 else None,
        "floors": [
            *(f"{task.task}: {told}" for task in tasks for told in beside_floor(task)),
            *filter(None, (of_solver(task.task, task.facts) for task in tasks)),
        ],
        "notes": [] if each.claims else [t for task in tasks if (t := limits(task.differences))],
        "conditions": [_conditions(evidence) for evidence in each.present],
        "published": published,
    }


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
        f"{question} {readable(each.difference)} (p = {readable(each.p_value)})"
        for question, each in others.get(claim.about, ())
        if question != name
    ]
    return f"The same contrast elsewhere: {listed(found)}." if found else ""


def _numbers(each: Reproduction) -> Table | None:
    """Return the table of the claims' numbers, or None without claims or evidence."""
    if each.question is None or not each.present:
        return None
    return claim_numbers(each.claims)


def _arms(tasks: Sequence[TaskComparison], present: Sequence[Evidence]) -> Table:
    """Return a line for each arm, or method, and each control on each task."""
    cost: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for evidence in present:
        for row in evidence.results:
            cost.setdefault((evidence.name, row.study), []).append((row.epochs, row.device_seconds))
    lines: list[list[object]] = []
    marked: list[int] = []
    for task in tasks:
        shown: list[tuple[Entry, str, str]] = [(e, name(e.label), e.study) for e in task.entries]
        shown += [(e, f"{name(e.label)}: control", _control(e)) for e in task.distinct_controls]
        best = min((e.mean for e, *_ in shown if e.mean is not None), default=None)
        for entry, called, study in shown:
            spent = cost.get((entry.sweep, study), [])
            if entry.mean is not None and entry.mean == best:
                marked.append(len(lines))
            lines.append(
                [task.task, called, entry.mean, interval(entry.ci), len(entry.values), entry.sd,
                 entry.validation, fmean(e for e, _ in spent) if spent else None,
                 fmean(s for _, s in spent) if spent else None]
            )  # fmt: skip
    metrics = listed(list(dict.fromkeys(metric(task.metric) for task in tasks)))
    header = ["task", "arm", f"test {metrics}", "95 % interval", "seeds", "sd", "validation",
              "epochs", "device-s"]  # fmt: skip
    return table(header, lines, marked=marked)


def _control(entry: Entry) -> str:
    """Return the name of a control's rows: a study of its own in an ablation."""
    ending = f"/{CONTROL_ARM}"
    return entry.study.removesuffix(ending) + ending


def _conditions(evidence: Evidence) -> str:
    """Return a text on the settings, sizes and devices under which numbers were obtained."""
    seeds = {(row.study, row.seed) for row in evidence.results}
    counts = Counter(study for study, _ in seeds)
    parts = [f"Profile {evidence.profile}"]
    tasks: dict[str, str] = {}
    for study in evidence.studies:
        facts = study.facts
        sizes = f"{facts.sizes} samples, " if facts.sizes else ""
        text = f"{sizes}{facts.data_source} data{own_draws(facts)}"
        tasks[study.task] = f"{study.task} ({text})"
    parts.append(listed(list(tasks.values())))
    for fact in ("backbone", "proxy"):
        known = dict.fromkeys(filter(None, (getattr(s.facts, fact) for s in evidence.studies)))
        if known:
            parts.append(f"{'source ' if fact == 'proxy' else ''}{listed(list(known))}")
    parts.append(f"{min(counts.values())} to {max(counts.values())} seeds"
                 if len(set(counts.values())) > 1 else f"{max(counts.values())} seeds")  # fmt: skip
    parts.append(str(evidence.machine))
    hours = sum(row.device_seconds for row in evidence.results) / 3600
    parts.append(f"{hours:.2g} device-hours")
    origin = f"commit {evidence.commit[:12]}" if evidence.commit else "commit not recorded"
    parts.append(origin)
    parts.append(
        ", ".join(f"{k} {v}" for k, v in evidence.packages.items())
        or "versions of packages not recorded"
    )
    told = "; ".join(parts) + "."
    arms = [study for study in studies_of(evidence) if study.arm is not None]
    return f"{told} {DESIGNS[arms[0].design]}" if arms else told
