"""Audits of benchmarks and of single tasks, before anything is trained."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.commands.data import named
from sweeper.commands.result import Result, plain
from sweeper.commands.results import write_file
from sweeper.errors import UsageError
from sweeper.planning.catalog import as_usage_errors, usable_home
from sweeper.render.page.audit import AuditSection, audit_page
from sweeper.results.reproduction.audits import OTHER_PROTOCOL
from sweeper.text import capitalised, counted, readable
from trainables.tasks.generation import Progress
from trainables.tasks.registry import BENCHMARKS, TASKS, task_info

if TYPE_CHECKING:
    from trainables.tasks.audit.benchmark import AuditedTask, Picture
    from trainables.tasks.audit.task import TaskAudit
    from trainables.tasks.predictors.floor import Scores

RANKS, RANKS_NOT, UNKNOWN = "can rank", "cannot rank", "not audited"


@dataclass(frozen=True, kw_only=True)
class PredictorRow:
    """A predictor without a network on a task."""

    name: str
    test: float | None  # None: it cannot apply
    validation: float | None
    seconds: float | None
    reason: str | None  # why it cannot apply


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(Result):
    """One task of a benchmark's audit."""

    KEYS = ("task", "title", "metric", "protocol", "verdict", "data_source", "samples",
            "predictor", "floor", "predictors", "published", "best_published", "ratio",
            "frames_floor", "reason", "argument", "not_audited")  # fmt: skip

    audit: "AuditedTask"

    @property
    def verdict(self) -> str:
        """A sentence on whether published numbers on the task can rank methods."""
        return {None: UNKNOWN, True: RANKS, False: RANKS_NOT}[self.audit.can_rank]

    @property
    def reason(self) -> str | None:
        """The reason why a predictor does so well, and what the frames of the protocol add."""
        parts = [] if self.audit.reason is None else [self.audit.reason.text]
        if self.audit.frames_floor is not None:
            parts.append(
                f"A perfect predictor of frame 100 scores {readable(self.audit.frames_floor)} on "
                "frame 99, which the papers' loader tests."
            )
        return " ".join(parts) or None

    def to_json(self) -> dict[str, Any]:
        """Return the facts of the audit, and what follows from them."""
        found = {key: getattr(self.audit, key) for key in self.KEYS if hasattr(self.audit, key)}
        argument = {} if self.audit.reason is None else self.audit.reason.argument
        found |= {"verdict": self.verdict, "reason": self.reason, "argument": argument}
        found |= _scored(self.audit.scores)
        return {key: plain(found[key]) for key in self.KEYS}


@dataclass(frozen=True, kw_only=True)
class BenchmarkAudited(Result):
    """The audit of a benchmark."""

    benchmark: str
    answer: str
    tasks: tuple[BenchmarkRow, ...]
    html: Path


@dataclass(frozen=True, kw_only=True)
class TaskAudited(Result):
    """The audit of one task."""

    KEYS = ("task", "metric", "data_source", "samples", "nearest", "constant_outputs",
            "first_direction", "linear_share", "balance", "detectable", "predictor", "floor",
            "predictors", "curve", "findings")  # fmt: skip

    audit: "TaskAudit"

    def to_json(self) -> dict[str, Any]:
        """Return the findings, with the scores of all predictors as rows."""
        facts = dict(vars(self.audit))
        scores, curve, findings = (facts.pop(name) for name in ("scores", "curve", "findings"))
        found = {**facts, **_scored(scores), "curve": curve, "findings": findings}
        return {key: plain(value) for key, value in found.items()}


def _scored(scores: "Scores") -> dict[str, object]:
    """Return the floor and the predictors of an audit for JSON."""
    name = scores.floor
    floor = None if name is None else scores.scored[name].test
    return {"predictor": name, "floor": floor, "predictors": predictor_rows(scores)}


def audit(
    name: str,
    html: Path | None = None,
    include: Sequence[Path] = (),
    *,
    progress: Progress = lambda what, done, of: None,
) -> BenchmarkAudited | TaskAudited:
    """Audit a benchmark or a task.

    Args:
        name: `pdebench`, another benchmark, a task, or the task file of an own task.
        html: The page of a benchmark's audit; None: `audit_NAME.html`.
        include: Task files of own tasks, or folders of them.
        progress: Called with the task, the number of generated samples and the total.

    Raises:
        UsageError: There is no such benchmark or task, its data are not imported, or the page
            cannot be written.
        FileFaults: A task file has a fault.
    """
    name = named(name, include)
    if name in BENCHMARKS and name not in TASKS:
        return _benchmark(name, html or Path(f"audit_{name}.html"), progress)
    if html is not None:
        raise UsageError(f"--html is for the audit of a benchmark, and {name} is a task.")
    return _task(name, progress)


def _benchmark(name: str, html: Path, progress: Progress) -> BenchmarkAudited:
    from trainables.tasks.audit.benchmark import audit_benchmark  # torch

    # An audit takes long, so that an unusable place is refused before it.
    if html.is_dir() or not html.absolute().parent.is_dir():
        raise UsageError(f"--html {html}: a file in a folder that exists is needed.")
    with as_usage_errors():
        audited = tuple(audit_benchmark(BENCHMARKS[name], usable_home(), progress))
    if not any(each.data_source for each in audited):
        reasons = (
            "\n".join(str(each.not_audited) for each in audited) or "It has no published task."
        )
        raise UsageError(f"{name}: none of its tasks can be audited.\n{reasons}")
    rows = tuple(BenchmarkRow(audit=each) for each in audited)
    answer = _answer(rows)
    write_file(html, audit_page(name, answer, list(map(_section, rows))))
    return BenchmarkAudited(benchmark=name, answer=answer, tasks=rows, html=html)


def _section(row: BenchmarkRow) -> AuditSection:
    audited, predictor = row.audit, row.audit.scores.floor
    best = audited.best_published
    picture = audited.picture
    return AuditSection(
        title=audited.title,
        task=audited.task,
        verdict=row.verdict,
        reason=row.reason or audited.not_audited or "",
        data=_data(audited),
        rows=_page_rows(audited),
        floor=_pair(predictor, audited.floor),
        published=_pair(best, audited.published.get(best or "")),
        ratio=audited.ratio,
        picture=None if picture is None else _drawn(picture, predictor or ""),
    )


def _answer(rows: Sequence[BenchmarkRow]) -> str:
    known = [row for row in rows if row.verdict != UNKNOWN]
    beaten = sum(row.verdict == RANKS_NOT for row in known)
    text = (
        f"On {beaten} of {counted(len(known), 'task')} a predictor without a network "
        "is better than every published method of the same protocol."
    )
    left = len(rows) - len(known)
    return text + (f" {left} could not be audited." if left else "")


def _pair(name: str | None, value: float | None) -> tuple[str, float] | None:
    return None if name is None or value is None else (name, value)


def predictor_rows(scores: "Scores") -> tuple[PredictorRow, ...]:
    """Return the predictors that were scored, and those that cannot apply."""
    scored = (
        PredictorRow(
            name=name, test=each.test, validation=each.validation, seconds=each.seconds, reason=None
        )
        for name, each in scores.scored.items()
    )
    refused = (
        PredictorRow(name=name, test=None, validation=None, seconds=None, reason=reason)
        for name, reason in scores.refused.items()
    )
    return (*scored, *refused)


def _data(audited: "AuditedTask") -> str:
    """Return which data the numbers are of."""
    if audited.data_source is None:
        return "No data are here."
    whose = "the published files" if audited.data_source == "official" else "our generator"
    splits = ", ".join(f"{count} {split}" for split, count in audited.samples.items())
    return f"Data of {whose}: {splits} samples. {capitalised(audited.protocol)}."


def _page_rows(audited: "AuditedTask") -> list[tuple[str, str, float | None]]:
    """Return the rows of a task on the page, from the lowest value to the highest."""
    rows: list[tuple[str, str, float | None]] = []
    for name, each in audited.scores.scored.items():
        kind = "the floor" if name == audited.scores.floor else "without a network"
        # A predictor that knows the equation enters no floor, which validation chooses.
        if each.validation is None:
            kind = f"knows the equation; {readable(each.seconds)} core-seconds a sample"
        rows.append((name, kind, each.test))
    if audited.frames_floor is not None:
        what = "a perfect predictor of frame 100, tested on frame 99"
        rows.append(("frame", what, audited.frames_floor))
    best = audited.best_published
    for name, value in audited.published.items():
        kind = "published, in another protocol" if name in OTHER_PROTOCOL else "published"
        rows.append((name, f"{kind}, the best" if name == best else kind, value))
    return sorted(rows, key=lambda row: float("inf") if row[2] is None else row[2])


def _drawn(picture: "Picture", predictor: str) -> str:
    """Return a PNG picture of a test sample in base64: input, target, prediction, their error."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sweeper.commands.show_data import draw_one

    parts = {
        "input": picture.x,
        "target": picture.y,
        f"prediction: {predictor}": picture.prediction,
        "error": picture.prediction - picture.y,
    }
    figure = Figure(figsize=(3 * len(parts), 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, field) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        draw_one(axes, field)
        axes.set_title(title, fontsize=8)
        if field.ndim > 2:
            axes.set_xlabel(f"{field.min():.3g} to {field.max():.3g}", fontsize=7)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    return base64.b64encode(written.getvalue()).decode()


def _task(name: str, progress: Progress) -> TaskAudited:
    from trainables.tasks.audit.benchmark import load_audited  # torch
    from trainables.tasks.audit.task import audit_task

    with as_usage_errors():
        where = usable_home()
        found = audit_task(load_audited(task_info(name), where, progress), where)
    return TaskAudited(audit=found)
