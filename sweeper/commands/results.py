"""Results of sweeps: comparisons of methods, the best settings, tables of trials, and pages."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sweeper.commands.result import Message, Result, plain
from sweeper.errors import GateNotMet, NotFound, UsageError, unknown, writing
from sweeper.planning.sweep_folder import existing, started
from sweeper.text import JsonObject

if TYPE_CHECKING:
    from sweeper.results.comparison import Comparison
    from sweeper.results.gate import Finding
    from sweeper.results.reproduction.evidence import Evidence
    from sweeper.results.schema import StudyResult

COLUMNS = ("trial", "kind", "value", "best_epoch", "validation", "test", "sd", "seeds", "sampled")
FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".tex": "latex"}


@dataclass(frozen=True, kw_only=True)
class File(Message):
    """A file that was written about a sweep."""

    sweep: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Trials(Result):
    """All trials of a sweep, each with the columns of its table."""

    sweep: str
    trials: tuple[JsonObject, ...]


@dataclass(frozen=True, kw_only=True)
class BestOfStudy(Result):
    """The best configurations of one study, the best first."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"why_none"})

    study: str
    objective: str
    metric: str
    best: tuple[JsonObject, ...]
    why_none: str | None = None  # the reason why there is no best one


@dataclass(frozen=True, kw_only=True)
class BestConfigurations(Result):
    """The best configurations of a sweep."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"file"})

    sweep: str
    studies: tuple[BestOfStudy, ...]
    file: str | None = None  # a sweep file with the best configuration of one study


@dataclass(frozen=True, kw_only=True)
class GateResult(Result):
    """A claim about methods, and whether each part of it holds."""

    expression: str
    met: bool
    claims: tuple["Finding", ...]


@dataclass(frozen=True, kw_only=True)
class CompareResult(Result):
    """A comparison of methods, and the files that were written about it."""

    KEYS = ("sweeps", "baseline", "alpha", "answer", "tasks", "average_ranks", "ranked_tasks",
            "distance", "effects", "effect_notes", "html", "latex", "gate", "exit_code", "design",
            "by", "trends", "interactions", "ladders", "dimensions", "questions")  # fmt: skip
    OPTIONAL = frozenset(KEYS[KEYS.index("design") :])

    comparison: "Comparison"
    html: Path | None
    latex: Path | None
    gate: GateResult | None  # None: no gate was given
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data, with its sentences."""
        from sweeper.render.json import comparison_as_json

        files = {"html": plain(self.html), "latex": plain(self.latex)}
        rest = {**files, "gate": plain(self.gate), "exit_code": self.exit_code}
        return {**comparison_as_json(self.comparison), **rest}


def report(folder: Path, out: Path | None) -> File:
    """Write the HTML page of the sweep in `folder`; `out` None writes it there.

    Raises:
        NotFound: The sweep was never started.
        UsageError: `out` is a folder, or its folder does not exist.
        StorageFull: The page cannot be written.
    """
    from sweeper.driver.pages import report_of

    place = out or folder / "report.html"
    with started(folder, checked=math.inf) as (ledger, _):
        with writing(place):  # before the page is drawn, which takes a while
            place.open("ab").close()
        return _wrote(folder.name, write_file(place, report_of(ledger)))


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A LaTeX table for a paper, with further `rows`: control, baselines, published."""

    path: Path
    rows: tuple[str, ...] = ()


def compare(
    names: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    baseline: str | None = None,
    by: str | None = None,
    gate: str | None = None,
    html: Path | None = None,
    latex: PaperTable | None = None,
) -> CompareResult:
    """Compare the methods of sweeps; `exit_code` is 9 if the gate is not met, else 0.

    Args:
        names: Names of sweeps.
        tasks: The tasks to compare on; empty: all.
        baseline: The method that all others are compared with; None: each pair is compared.
        html: The file for a page about the comparison.
        latex: The LaTeX table to write.
        gate: Claims about methods that have to hold.
        by: A factor of an ablation, whose levels are compared instead of all arms.

    Raises:
        NotFound: A sweep does not exist or was never started.
        UsageError: A task, method, factor or gate is not known here.
    """
    from sweeper.render.latex import Row, comparison_table
    from sweeper.render.page.report import render_comparison
    from sweeper.results.compare import compare as compared
    from sweeper.results.gate import judge, parse_gate

    claims = parse_gate(gate) if gate is not None else ()
    with ExitStack() as stack:
        # What decides a claim is read from ledgers that are checked whole, however long it takes.
        opened = [started(existing(name), checked=math.inf) for name in names]
        ledgers = [stack.enter_context(each)[0] for each in opened]
        comparison = compared(ledgers, tasks=tasks, baseline=baseline, by=by)
        if html is not None:
            html = write_file(html, render_comparison(comparison))
        table = None
        if latex is not None:
            rows = [Row(row) for row in latex.rows]
            table = write_file(latex.path, comparison_table(comparison, rows))
    findings = tuple(judge(comparison, claims))
    is_met = all(finding.is_met for finding in findings)
    return CompareResult(
        comparison=comparison,
        html=html,
        latex=table,
        gate=None if gate is None else GateResult(expression=gate, met=is_met, claims=findings),
        exit_code=0 if is_met else GateNotMet.exit_code,
    )


def export(name: str, form: str | None, out: Path | None) -> str | File:
    """Return a sweep's trials as CSV, or its methods as a LaTeX table; or write them to a file.

    Args:
        name: Name of the sweep.
        form: csv, parquet or latex; None follows the suffix of `out`, or is CSV.
        out: The file; None returns the text.

    Raises:
        NotFound: There is no such sweep.
        UsageError: Parquet without `out`, an `out` whose folder does not exist, or whose suffix
            belongs to another format than `form`.
        StorageFull: `out` cannot be written.
    """
    from sweeper.render.frames import as_csv, as_parquet, trial_rows
    from sweeper.render.latex import Row, comparison_table
    from sweeper.results.compare import compare
    from sweeper.results.read import read_sweep

    form = _format_of(form, out)
    if form == "parquet" and out is None:
        raise UsageError("Parquet is not text for a terminal: name a file with `-o FILE`.")
    with started(existing(name), checked=math.inf) as (ledger, _):
        if form == "latex":
            text = comparison_table(compare([ledger]), [Row.control])
        else:
            rows = trial_rows(read_sweep(ledger).studies)
            if form == "parquet" and out is not None:
                return _wrote(name, write_file(out, as_parquet(rows)))
            text = as_csv(rows)
    return text if out is None else _wrote(name, write_file(out, text))


def trials(name: str) -> Trials:
    """Return the trials of a sweep as rows.

    Raises:
        NotFound: There is no such sweep.
    """
    from sweeper.render.frames import trial_rows
    from sweeper.results.read import read_sweep

    with started(existing(name), checked=math.inf) as (ledger, _):
        return Trials(sweep=name, trials=tuple(trial_rows(read_sweep(ledger).studies)))


def export_evidence(name: str, folder: Path) -> File:
    """Write the evidence of a finished sweep into a folder: numbers, key and figure.

    Raises:
        NotFound: There is no such sweep.
        UsageError: It is not finished, no trial of it is complete, or `folder` is none.
        StorageFull: A file cannot be written.
    """
    from sweeper.commands.diagnose import with_planes
    from sweeper.results.reproduction.evidence import read_evidence

    with started(existing(name), checked=math.inf) as (ledger, record):
        if record.state != "finished":
            raise UsageError(
                f"sweep `{name}` is not finished, and evidence is of a whole sweep. First: "
                f"sweeper resume {name}"
            )
        evidence = read_evidence(ledger)
    if not evidence.arms:
        raise UsageError(f"sweep `{name}` has no complete trial: there is no evidence.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; make it first.")
    return _wrote(name, write_evidence(with_planes(evidence), folder))


def write_evidence(evidence: "Evidence", folder: Path) -> Path:
    """Write evidence into an existing folder, and return the path of its JSON file.

    Raises:
        StorageFull: A file cannot be written.
    """
    from sweeper.render.page.evidence_figures import svg_of
    from sweeper.results.reproduction.files import as_files, stem_of

    stem = stem_of(evidence.name, evidence.profile)
    for file, text in {**as_files(evidence), f"{stem}.svg": svg_of(evidence)}.items():
        write_file(folder / file, text)
    return (folder / f"{stem}.json").absolute()


def _wrote(name: str, path: Path) -> File:
    return File(message=f"wrote {path}", sweep=name, path=path)


def _format_of(form: str | None, out: Path | None) -> str:
    """Return the format of an export: `form`, else that of the file's suffix, else CSV.

    Raises:
        UsageError: The two contradict each other, or no format has the suffix.
    """
    suffix = "" if out is None else out.suffix.lower()
    of_suffix = FORMATS.get(suffix)
    if form is None and suffix and of_suffix is None:
        known = ", ".join(FORMATS)
        raise UsageError(f"{out}: no format ends in {suffix}: write {known}, or add --format.")
    if form is not None and of_suffix is not None and form != of_suffix:
        raise UsageError(
            f"--format {form} contradicts the suffix of {out}, which is that of {of_suffix}: leave "
            "--format out, or name another file."
        )
    return form or of_suffix or "csv"


def best(
    name: str, study: str | None, top: int | None, objective: str | None = None
) -> BestConfigurations:
    """Return the best configurations of every study, or of one, with the values of each.

    Args:
        name: Name of the sweep.
        study: None: all studies.
        top: The number of configurations of each study; None: one, and for a single `study` also a
            sweep file of it.
        objective: One of `search.objectives`; None: the first, over replicates if there are some.

    Raises:
        NotFound: There is no such sweep or study, or no trial of that study is complete and
            feasible.
        UsageError: A study does not have this objective.
    """
    from sweeper.render.best_file import best_file
    from sweeper.results.read import read_sweep

    with started(existing(name)) as (ledger, _):
        found = read_sweep(ledger, histories=False).studies
        known = [tuned.study.name for tuned in found]
        if study is not None and study not in known:
            raise NotFound(unknown("study", study, known))
        studies, file = [], None
        for each in (c for c in found if study in (None, c.study.name)):
            trials = each.ranked_by(objective or each.study.objective)
            if study is not None and top is None:
                if not trials:
                    raise NotFound(f"no trial of {study} in `{name}` wins: {each.why_no_best}.")
                file = best_file(each, trials[0])
            studies.append(
                BestOfStudy(
                    study=each.study.name,
                    objective=each.study.objective,
                    metric=each.test_metric,
                    best=tuple(
                        {
                            **each.reached(trial).plain(COLUMNS),
                            **_quantities(each, trial.number),
                            "params": dict(trial.params),
                        }
                        for trial in trials[: top or 1]
                    ),
                    why_none=None if trials else each.why_no_best,
                )
            )
    return BestConfigurations(sweep=name, studies=tuple(studies), file=file)


def _quantities(study: "StudyResult", number: int) -> dict[str, object]:
    """Return the quantities of a trial under a key of their own, if there are some."""
    found = study.quantities.get(number)
    return {"quantities": dict(found)} if found else {}


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file, over an existing one, and return its absolute path.

    Raises:
        UsageError: Its folder does not exist, or it is a folder itself.
        StorageFull: It cannot be written.
    """
    with writing(path):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path.absolute()
