"""One published figure or table beside the evidence on it, with a verdict for each claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from sweeper.results.claims import Observation, arms_planned, evaluate, observations_of
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import ClaimResult, Comparison, TaskComparison
from sweeper.results.prose import listed
from sweeper.results.reproduction.audits import LengthCheck
from sweeper.results.reproduction.benchmark_table import BenchmarkTable
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.family import QuestionClaims, hash_of
from sweeper.results.schema import StudyResult, with_distinct_labels
from sweeper.results.sequential.boundaries import Design
from sweeper.spec.schema import TEST, Claim, Question
from sweeper.text import readable

VALID, STALE, ABSENT = "valid", "stale", "not run"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The evidence of one sweep, and how it compares with the present."""

    name: str  # of the sweep
    evidence: Evidence | None = None
    origin: str = ""  # "committed evidence", or another folder of evidence, or that of the sweep
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
            how = f", up to {readable(found.largest)} apart" if found.largest else ""
            what = f"{found.trainings} trainings of later code{how}"
            head += f", confirmed{later} by {'' if how else 'the bits of '}{what}"
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
    measured_length: LengthCheck | None = None  # of trainings of any length

    @property
    def length(self) -> LengthCheck | None:
        """The check of trainings as long as those of the evidence, or None."""
        found = self.measured_length
        trained = {(e.key.settings.get("fixed") or {}).get("refine.epochs") for e in self.present}
        return found if found is not None and {r.epochs for r in found.runs} == trained else None

    @property
    def title(self) -> str:
        """The question with the size of the model that it was asked of, or the name of a table."""
        if self.question is not None:
            bodies = dict.fromkeys(body for each in self.present for body in each.bodies)
            return f"{self.question.title} ({'; '.join(bodies)})" if bodies else self.question.title
        _, is_table, benchmark = self.name.partition("table_")
        return f"Table: {benchmark}" if is_table else self.name

    @property
    def evidence_notes(self) -> tuple[str, ...]:
        """A sentence on each sweep; those of a table without evidence share one."""
        absent = [part for part in self.parts if part.evidence is None and not part.note]
        if self.benchmark is None or len(absent) < 2:
            length = [] if self.length is None else [self.length.sentence]
            return (*(part.message for part in self.parts), *length)
        told = (part.message for part in self.parts if part not in absent)
        names = listed([part.name for part in absent])
        return (*told, f"{names}: not run; with --run they are launched.")

    @property
    def evidence(self) -> str:
        """The state of the evidence: the worst of a part that ran, or `not run`."""
        states = {part.state for part in self.parts}
        return next((each for each in (STALE, VALID) if each in states), ABSENT)

    @property
    def present(self) -> list[Evidence]:
        """The evidence that there is."""
        return [part.evidence for part in self.parts if part.evidence is not None]

    @cached_property
    def comparison(self) -> Comparison | None:
        """The comparison of all arms or methods; None without any evidence."""
        studies = with_distinct_labels([_asked(s, self.question) for s in self._studies])
        names = [evidence.name for evidence in self.present]
        return compare_studies(studies, sweeps=names) if studies else None

    @property
    def compared(self) -> Sequence[TaskComparison]:
        """The comparison on each task of the evidence."""
        return self.comparison.tasks if self.comparison is not None else ()

    @cached_property
    def claims(self) -> tuple[ClaimResult, ...]:
        """The result of each claim; all are `not run` without evidence."""
        if self.question is None:
            return ()
        launched = [claims for evidence in self.present if (claims := _claims_of(evidence))]
        if not self.present:
            return evaluate(self.question.claims, ())
        design = Design.of(self.present[0].key.settings, has_ended=True)
        arms = arms_planned(self._studies)
        results = evaluate(self.question.claims, self.observations, design, arms=arms)
        return tuple(
            replace(
                result,
                is_exploratory=not _was_planned(self.question.claims[number], number, launched),
                scatter=_scatter(result, self.present),
            )
            for number, result in enumerate(results)
        )

    @property
    def asked(self) -> QuestionClaims:
        """The claims as part of the family of all questions."""
        return QuestionClaims(name=self.name, claims=self.claims, is_valid=self.evidence != STALE)

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
        return observations_of(self._studies)

    @property
    def _studies(self) -> list[StudyResult]:
        """The studies of all evidence; of an ablation its arms, without the base that it tuned."""
        return [
            study
            for evidence in self.present
            for study in evidence.sweep.studies
            if study.arm is not None or not study.record.resolved.get("compare_by")
        ]


def _scatter(claim: ClaimResult, present: Sequence[Evidence]) -> float | None:
    """Return how far processors move a test value, in the unit of a claim; None: not measured."""
    found = [each for evidence in present for each in evidence.scatter if claim.quantity == TEST]
    sizes = (each.relative if claim.is_relative else each.largest for each in found)
    return max(sizes, default=None)


def _asked(study: StudyResult, question: Question | None) -> StudyResult:
    """Return a study of a sweep that has this question."""
    # Today's question is asked of old evidence; `_was_planned` tells claims that came later.
    resolved = {name: value for name, value in study.record.resolved.items() if name != "question"}
    if question is not None:
        resolved["question"] = question.model_dump(mode="json")
    return replace(study, record=replace(study.record, resolved=resolved))


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
        # A claim of the launch must not become the primary one afterwards, which has no correction.
        if places and (number > 0 or places[0] == 0):
            return True
    return False
