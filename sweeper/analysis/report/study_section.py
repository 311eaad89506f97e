"""The part of a page about one study: how its trials went, what mattered, and all of them."""

from collections.abc import Mapping
from typing import Any

from sweeper.analysis.comparison.entries import TunedStudy
from sweeper.analysis.importance import Importances, importances
from sweeper.analysis.prose import listed, method, number, validation_notes
from sweeper.analysis.report.curves import learning_curves
from sweeper.analysis.report.figures import bars, by_stage, history, learning, parallel
from sweeper.analysis.report.page import Figures, Markup, anchor, element, join, table
from sweeper.analysis.table import StudyTable, rows
from sweeper.model import Trial

SHOWN = ("backbone", "pretrained", "proxy", "data_source", "protocol")  # of the facts
LATE = ("best_epoch",)  # columns behind the parameters, for which a reader looks first
MOST_NARROW = 6  # axes of parallel coordinates beside another figure
FEW = 12  # trials that are shown unasked


def title_of(study: StudyTable) -> str:
    """Returns what a study is called: `MoNA on pdebench/advection_1d`."""
    return f"{method(study.study.method)} on {study.study.task}"


def study_section(tuned: TunedStudy, figures: Figures) -> Markup:
    """Returns the section about a study."""
    study = tuned.study
    ended = [f"{count} {state}" for state, count in study.counts().items()]
    facts = [f"{name.replace('_', ' ')}: {study.facts[name]}" for name in SHOWN
             if study.facts.get(name) is not None]  # fmt: skip
    parts = [
        element("h2", title_of(study), id=anchor(study.study.name)),
        element("p", f"{len(study.trials)} trials: {listed(ended) or 'not begun'}."),
    ]
    parts += [element("p", " · ".join(facts), class_="soft")] if facts else []
    parts += [element("p", note, class_="soft") for note in validation_notes(study)]
    parts += _plots(tuned, figures)
    parts.append(_trials(study))
    return element("section", join(parts))


def _plots(tuned: TunedStudy, figures: Figures) -> list[Markup]:
    study = tuned.study
    parameters: Mapping[str, Any] = tuned.sweep.record.resolved.get("parameters") or {}
    plots = []
    if curves := learning_curves(tuned):
        caption = "Validation value of each trial of the search, and the lowest so far"
        plots.append(figures.place(history(study), caption))
        plots.append(figures.place(learning(study, curves), "Validation value by epoch"))
    lines = parallel(study, parameters)
    if lines is not None:
        caption = "Complete sampled trials: the bluer, the better; the study's best is thick"
        is_wide = len(lines.layout.xaxis.tickvals) > MOST_NARROW
        plots.append(figures.place(lines, caption, is_wide=is_wide))
    found = importances(study, parameters)
    if isinstance(found, str):
        note = f"Importance of parameters: {found}"
    else:
        caption = "Importance of each parameter alone (fANOVA), by stage: a hint, not a proof"
        plots.append(figures.place(bars(found.shares), caption))
        note = explained(found)
    placed = [element("div", join(plots), class_="plots")] if plots else []
    return [*placed, element("p", note, class_="soft")]


def explained(found: Importances) -> str:
    """Says what parameters explain alone, stage by stage, and what that leaves out."""
    sums = [f"{stage} {share:.0%}" for stage, share in by_stage(found.shares).items()]
    alone = (
        f"Importance by stage: {listed(sums)} of the variance. Single parameters explain "
        f"{sum(found.shares.values()):.0%} of it; the rest is their interactions, or noise."
    ).replace("%", " %")
    if not found.left_out:
        return alone
    return f"{alone} Left out, since not every trial has them: {', '.join(found.left_out)}."


def _trials(study: StudyTable) -> Markup:
    hidden = {"failure", "reason", "seed", "attempts"}
    lines = [{k: v for k, v in row.items() if k not in hidden} for row in rows(study)]
    varied = {
        name
        for name in {n for t in study.trials for n in t.params}
        if len({repr(t.params.get(name)) for t in study.trials}) > 1
    }
    names = dict.fromkeys(n for line in lines for n in line)
    sampled = {name for t in study.trials for name in t.sampled}
    keep = [
        *(n for n in names if n not in LATE and all(n not in t.params for t in study.trials)),
        *(n for n in names if n in varied and n in sampled),
        *(n for n in names if n in varied and n not in sampled),
        *(n for n in names if n in LATE),
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
    if best is not None:
        parts.append(element("p", _marked(study, best), class_="soft"))
    if fixed:
        same = ", ".join(f"{name} = {value}" for name, value in fixed.items())
        parts.append(element("p", f"The same in all: {same}.", class_="soft"))
    return element("details", join(parts), open="open" if len(lines) <= FEW else None)


def _marked(study: StudyTable, best: Trial) -> str:
    """Say why a trial is the study's best, and by which number."""
    reached = study.reached(best)
    if not reached.is_replicated:
        return f"Marked: trial {best.number}, the lowest by validation."
    return (
        f"Marked: trial {best.number}, which is called best for its replicates. Over their "
        f"{len(reached.tests)} seeds the mean of validation is {number(reached.validation)}, of "
        f"test {number(reached.test)}; the line shows what it reached in the search."
    )
