"""The page about a sweep: what was asked, what came out, how, and from what.

Reads the ledger and nothing else, so it can be written at any time, while a sweep runs included.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from sweeper.analysis.curves import learning_curves
from sweeper.analysis.figures import bars, history, learning, parallel
from sweeper.analysis.optuna_importance import importances
from sweeper.analysis.page import Figures, Markup, document, element, join, table
from sweeper.analysis.table import StudyTable, SweepTable, read_study, read_table, rows
from sweeper.analysis.words import answer, listed, method, metric
from sweeper.ledger import Ledger, SweepRecord
from sweeper.study import TrialState


def render_report(ledger: Ledger) -> str:
    """Returns the page about a whole sweep.

    Raises:
        NotFound: The sweep was never started.
    """
    sweep, figures = read_table(ledger), Figures([])
    record = sweep.record
    body = [
        _head(sweep),
        _question(sweep),
        element("h2", "Results"),
        _results(sweep),
        *_published(sweep),
        *(_study(ledger, s, record, figures) for s in sweep.studies),
        element("h2", "Trials that did not complete"),
        _unfinished(sweep),
        element("h2", "Configuration"),
        _configuration(record),
        element("h2", "Provenance"),
        _provenance(sweep),
    ]
    return document(f"{record.name}: sweep report", join(body), figures)


def render_study(ledger: Ledger, name: str) -> str:
    """Returns the page about one study. Raises NotFound."""
    study, figures = read_study(ledger, name), Figures([])
    record = ledger.sweep()
    assert record is not None, "a study has a sweep"
    body = [
        element("h1", _title(study)),
        element("ul", element("li", answer(study.study.task, [study])), class_="answers"),
        _study(ledger, study, record, figures),
    ]
    return document(_title(study), join(body), figures)


def _title(study: StudyTable) -> str:
    return f"{method(study.study.method)} on {study.study.task}"


def _head(sweep: SweepTable) -> Markup:
    record = sweep.record
    trials = [t for s in sweep.studies for t in s.trials]
    done = sum(t.state.is_finished for t in trials)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.created_at))
    line = (
        f"{record.experiment} · {record.state} · {done} of {len(trials)} planned trials ended · "
        f"launched {when} UTC · profile {record.profile}"
    )
    links = [element("a", _title(s), href=f"#{_anchor(s)}") for s in sweep.studies]
    parts = [element("h1", record.name), element("p", line, class_="soft")]
    return join([*parts, element("nav", join(links))] if len(links) > 1 else parts)


def _anchor(study: StudyTable) -> str:
    return study.study.name.replace("/", "-").replace("@", "-")


def _question(sweep: SweepTable) -> Markup:
    methods = list(dict.fromkeys(method(s.study.method) for s in sweep.studies))
    tasks = sweep.by_task()
    if len(methods) > 1:
        asked = f"Which of {listed(methods)} solves {_few(list(tasks))} best, each tuned alike?"
    else:
        asked = (
            f"How well does {listed(methods) or 'it'} solve {_few(list(tasks))} once tuned, "
            "and does it beat vanilla fine-tuning for as many epochs?"
        )
    answers = [element("li", answer(task, studies)) for task, studies in tasks.items()]
    caveat = (
        "Each number is one run with one seed: a small difference may be chance. Settings are "
        "chosen by validation; the test split is read once a trial, for its best epoch."
    )
    return join(
        [
            element("p", asked, class_="question"),
            element("ul", join(answers), class_="answers"),
            element("p", caveat, class_="soft"),
        ]
    )


def _few(tasks: list[str]) -> str:
    return listed(tasks) if 0 < len(tasks) <= 3 else f"{len(tasks)} tasks"


def _results(sweep: SweepTable) -> Markup:
    names = list(dict.fromkeys(n for s in sweep.studies for n in s.baselines))
    header = ["task", "method", "best trial", "validation", "test", "preset", "control"]
    header += names
    lines: list[list[Any]] = []
    marked: list[int] = []
    for task, studies in sweep.by_task().items():
        tests = [s.test_value(s.best) for s in studies]
        best = min((v for v in tests if v is not None), default=None)
        for study, test in zip(studies, tests, strict=True):
            if test is not None and test == best and len(studies) > 1:
                marked.append(len(lines))
            lines.append(
                [
                    task,
                    method(study.study.method),
                    study.best and study.best.number,
                    study.best and study.best.value,
                    test,
                    study.test_value(study.preset),
                    study.test_value(study.control),
                    *(study.baselines.get(name) for name in names),
                ]
            )
    metrics = dict.fromkeys(metric(s.study.objective) for s in sweep.studies)
    note = (
        f"{', '.join(metrics)}: lower is better. Preset: the method's own settings. Control: "
        "vanilla fine-tuning for as many epochs. These and the trivial predictors "
        f"({', '.join(names) or 'none'}) are test values."
    )
    return join([table(header, lines, marked=marked), element("p", note, class_="soft")])


def _published(sweep: SweepTable) -> list[Markup]:
    """Says what was published on the same tasks, by which protocol, and that it is no contest."""
    known = {
        task: studies[0].facts.get("published") or [] for task, studies in sweep.by_task().items()
    }
    lines = [
        [task, method(n["method"]), n["value"], metric(n["metric"]), n["protocol"], n["citation"]]
        for task, numbers in known.items()
        for n in sorted(numbers, key=lambda n: float(n["value"]))
    ]
    if not lines:
        return []
    header = ["task", "method", "test", "metric", "protocol", "source"]
    note = (
        "Other backbones, data or protocols than this sweep's may stand behind them: compare only "
        "where all of these are the same."
    )
    summary = element("summary", f"{len(lines)} published numbers on these tasks")
    caveat = element("p", note, class_="soft")
    return [element("details", join([summary, table(header, lines), caveat]))]


def _study(ledger: Ledger, study: StudyTable, record: SweepRecord, figures: Figures) -> Markup:
    parameters: Mapping[str, Any] = record.resolved.get("parameters") or {}
    curves = learning_curves(ledger, study.study.name)
    parts = [element("h2", _title(study), id=_anchor(study))]
    ended = [f"{count} {state}" for state, count in study.counts().items()]
    parts.append(element("p", f"{len(study.trials)} trials: {listed(ended) or 'not begun'}."))
    facts = [
        f"{name.replace('_', ' ')}: {study.facts[name]}" for name in _SHOWN if name in study.facts
    ]
    parts += [element("p", " · ".join(facts), class_="soft")] if facts else []
    plots = []
    if curves:
        plots.append(figures.place(history(study), "Best validation value of each trial"))
        plots.append(figures.place(learning(study, curves), "Validation value by epoch"))
    lines = parallel(study, parameters)
    if lines is not None:
        caption = "Complete sampled trials: the bluer, the better; the best is thick"
        plots.append(figures.place(lines, caption))
    shares = importances(study, parameters)
    if not isinstance(shares, str):
        caption = "Importance of each parameter (fANOVA): a hint, not a proof"
        plots.append(figures.place(bars(shares), caption))
    parts += [element("div", join(plots), class_="plots")] if plots else []
    if isinstance(shares, str):
        parts.append(element("p", f"Importance of parameters: {shares}", class_="soft"))
    parts.append(_trials(study))
    return element("section", join(parts))


_SHOWN = ("backbone", "pretrained", "proxy", "data_source", "protocol")


def _trials(study: StudyTable) -> Markup:
    hidden = {"failure", "reason", "seed", "attempts"}
    lines = [{k: v for k, v in row.items() if k not in hidden} for row in rows(study)]
    varied = {
        name
        for name in {n for t in study.trials for n in t.params}
        if len({repr(t.params.get(name)) for t in study.trials}) > 1
    }
    keep = [
        name
        for name in dict.fromkeys(n for line in lines for n in line)
        if name in varied or all(name not in t.params for t in study.trials)
    ]
    best = study.best
    marked = [i for i, t in enumerate(study.trials) if best is not None and t.number == best.number]
    fixed = {k: v for t in study.trials[:1] for k, v in t.params.items() if k not in varied}
    parts = [
        element("summary", f"All {len(lines)} trials"),
        table(
            [name.replace("_", " ") if name == "best_epoch" else name for name in keep],
            [[line.get(name) for name in keep] for line in lines],
            marked=marked,
        ),
    ]
    if fixed:
        same = ", ".join(f"{name} = {value}" for name, value in fixed.items())
        parts.append(element("p", f"The same in all: {same}.", class_="soft"))
    return element("details", join(parts), open="open" if len(lines) <= 12 else None)


def _unfinished(sweep: SweepTable) -> Markup:
    """Lists trials by why they ended, or have not: one line a reason."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for study in sweep.studies:
        for t in study.trials:
            if t.state is not TrialState.COMPLETE:
                why = (study.study.name, t.state.value, t.failure or "–", t.reason or "–")
                grouped.setdefault(why, []).append(str(t.number))
    if not grouped:
        return element("p", "None: every trial is complete.")
    lines = [[*why, ", ".join(numbers)] for why, numbers in grouped.items()]
    return table(["study", "state", "class", "reason", "trials"], lines)


def _configuration(record: SweepRecord) -> Markup:
    resolved = json.dumps(record.resolved, indent=2, ensure_ascii=False, default=str)
    return join(
        [
            element("p", "The file as written:", class_="soft"),
            element("pre", record.text),
            element(
                "details",
                element("summary", "With profile and options applied"),
                element("pre", resolved),
            ),
        ]
    )


def _provenance(sweep: SweepTable) -> Markup:
    record = sweep.record
    lines: list[list[Any]] = [["configuration", Markup(f"<code>{record.config_hash}</code>")]]
    for name, value in record.provenance.items():
        shown = value
        if isinstance(value, Mapping):
            shown = ", ".join(f"{key} {version}" for key, version in value.items() if version)
        lines.append([name.replace("_", " "), "unknown" if shown is None else str(shown)])
    for study in sweep.studies:
        for name in ("content_hash", "weights_hash"):
            if study.facts.get(name):
                label = f"{name.replace('_', ' ')}, {study.study.name}"
                lines.append([label, str(study.facts[name])])
    return table(["what", "value"], lines)
