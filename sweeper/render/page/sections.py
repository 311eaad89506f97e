"""The sections of a page as data from tables and comparisons, for the templates."""

from collections.abc import Mapping, Sequence
from itertools import compress

from sweeper.model import TrialState
from sweeper.render.page.curves import epoch_figures, ladder_figure, response_figure
from sweeper.render.page.figures import (
    any_time,
    bars,
    by_stage,
    colours,
    distances,
    gaps,
    history,
    learning,
    learning_curves,
    parallel,
    pareto,
    ratios,
    scores,
)
from sweeper.render.page.html import Link, Table, anchor, table
from sweeper.render.page.plot import Figure
from sweeper.results.comparison import (
    Answer,
    ClaimResult,
    Comparison,
    DistanceCorrelation,
    Effect,
    Entry,
    TaskComparison,
    Trend,
    by_protocol,
    remarks,
)
from sweeper.results.costs import CAVEAT, COST_COLUMNS, cost_cells, solver_note
from sweeper.results.distance_correlation import MIN_POINTS
from sweeper.results.entries import cost_of
from sweeper.results.floors import of_solver
from sweeper.results.importance import MAX_TRIALS, Importances, importances
from sweeper.results.ladder.curves import LadderResult
from sweeper.results.ladder.sentences import ladder_lines, ladder_rows
from sweeper.results.prose import (
    DISTANCES,
    LONG,
    listed,
    method,
    metric,
    search_notes,
    validation_notes,
)
from sweeper.results.schema import StudyResult, SweepResult, TrialRow, rows
from sweeper.results.usage import Usage, compared
from sweeper.results.verdicts import (
    UNTUNED,
    across,
    answer,
    claim_heads,
    claim_lines,
    distance_answer,
    gap_text,
    has_one_seed,
    interval,
    limits_over_tasks,
    name,
    notes,
    published_finding,
    series,
)
from sweeper.spec.goals import COSTS, shown
from sweeper.text import capitalised, counted, readable

SHOWN_FACTS = ("backbone", "pretrained", "proxy", "data_source", "licence", "origin", "protocol",
               "products", "precision")  # fmt: skip
HIDDEN = ("failure", "reason", "seed", "attempts")  # columns of trials
LATE = ("best_epoch",)  # columns after the parameters, which matter more
FEW = 12  # trials that are shown without a click
MIB = 2**20

Palette = Mapping[str, str]  # label of a method -> its colour
Section = dict[str, object]  # what a macro of the templates reads, by name


# A question


def question_section(answered: Answer) -> Section:
    """Return the question of a sweep beside its published answer, and the verdict on each claim."""
    question, heads = answered.question, claim_heads(answered)
    return {
        "title": question.title,
        "published": published_finding(answered),
        "refuted_if": question.refuted_if,
        "claims": [
            (head, claim_lines(each)) for head, each in zip(heads, answered.claims, strict=True)
        ],
        "numbers": claim_numbers(answered.claims),
    }


def claim_numbers(claims: Sequence[ClaimResult]) -> Table:
    """Return the table of claims, the primary one first and marked."""
    header = ["claim", "verdict", "difference", "95 % interval", "n", "p", "p, Holm",
              "detectable", "contrast"]  # fmt: skip
    return table(header, list(map(_claim, claims)), marked=[0])


def _claim(each: ClaimResult) -> list[object]:
    ends: Sequence[float | None] = each.ci or (None, None)
    low, high = (sized(end, each) for end in ends)
    return [
        each.says,
        each.verdict.value,
        sized(each.difference, each),
        None if each.ci is None else f"{low} to {high}",
        each.n,
        each.p_value,
        each.p_holm,
        sized(each.shown_size, each),
        f"{each.subject}, {each.quantity}",
    ]


def sized(value: float | None, each: ClaimResult) -> str:
    """Return a difference of a claim, in percent if it is relative."""
    return readable(value) if value is None or not each.is_relative else f"{100 * value:.3g} %"


# Methods on a task


def results_section(comparison: Comparison, *, is_linked: bool = False) -> Section:
    """Return the table of all results; a column without any value is left out.

    Args:
        comparison: The comparison.
        is_linked: The page has a section for each study, to which methods are linked.
    """
    header = ["task", "method", "test", "95 % interval", "seeds", "sd", "validation", "trial",
              "preset", "control", "floor", "candidates"]  # fmt: skip
    entries = [entry for task in comparison.tasks for entry in task.entries]
    further = list(dict.fromkeys(each for entry in entries for each in entry.cells))
    header += [each.replace("_", " ") for each in further]
    lines: list[list[object]] = []
    marked: list[int] = []
    for task in comparison.tasks:
        best = lowest_mean(task)
        for entry, control in zip(task.entries, task.controls, strict=True):
            if entry.mean is not None and entry.mean == best:
                marked.append(len(lines))
            called = name(entry.label)
            lines.append(
                [task.task, Link(called, anchor(entry.study)) if is_linked else called,
                 entry.mean, entry.ci and interval(entry.ci), len(entry.values), entry.sd,
                 entry.validation, entry.trial, entry.preset, control.mean, _floor(entry),
                 entry.budget and entry.budget.trials, *map(entry.cells.get, further)]
            )  # fmt: skip
    is_shown = [any(line[i] is not None for line in lines) for i in range(len(header))]
    is_shown[0] = len(comparison.tasks) > 1
    return {
        "numbers": table(
            list(compress(header, is_shown)),
            [list(compress(line, is_shown)) for line in lines],
            marked=marked,
        ),
        "predictors": [
            text
            for task in comparison.tasks
            for text in (_predictors(task), of_solver(task.task, task.facts))
            if text
        ],
        "legend": _legend(comparison),
    }


def _floor(entry: Entry) -> str | None:
    floor = entry.floor
    return None if floor is None else f"{readable(floor.value)} ({floor.predictor})"


def _predictors(task: TaskComparison) -> str:
    """Return the test values of all predictors without a network, if there are several."""
    found = task.facts.baselines
    if len(found) < 2:
        return ""
    # Only predictors that can be the floor have a validation value; some facts have none at all.
    chosen = task.facts.validations or found
    told = (
        f"{name} {readable(value)}{'' if name in chosen else ' (no floor)'}"
        for name, value in found.items()
    )
    return f"Predictors without a network on {task.task}: {', '.join(told)}."


def _legend(comparison: Comparison) -> list[str]:
    """Return sentences on the columns of the results, and on the metrics that occur."""
    names = {task.metric.rpartition("/")[2] for task in comparison.tasks}
    metrics = ", ".join(sorted(map(metric, names)))
    return [
        f"{metrics}: lower is better.",
        *(LONG[each] for each in sorted(names) if each in LONG),
        "Test is the mean over seeds of the configuration that validation chose; sd is their "
        "standard deviation.",
        "Preset is the method with its own settings, control is vanilla fine-tuning for as many "
        "epochs, floor is the best predictor without a network, or a value given by hand: these "
        "are test values, too.",
        *(["NFT is vanilla fine-tuning."] if "nft" in comparison.labels else []),
        *([UNTUNED] if any(task.from_control for task in comparison.tasks) else []),
        "The lowest mean is marked, significant or not.",
    ]


def methods_section(task: TaskComparison, palette: Palette, *, is_alone: bool) -> Section:
    """Return the section about a task.

    Args:
        task: The comparison on the task.
        palette: The colours of the methods.
        is_alone: The page is about this task alone, and starts with its answer.
    """
    drawn = [scores(task, palette), gaps(task)]
    drawn += epoch_figures(task, palette)
    drawn += [any_time(task, what, palette) for what in ("trials", "device_seconds")]
    return {
        "task": task.task,
        "place": f"methods-{anchor(task.task)}",
        "answer": None if is_alone else answer(task),
        "differences": _differences(task),
        "notes": notes(task),
        "costs": _costs(task),
        "solver": solver_note(task.facts, task.costs),
        "caveat": CAVEAT,
        "figures": [figure for figure in drawn if figure is not None],
        "published": published_section(task),
    }


def lowest_mean(task: TaskComparison) -> float | None:
    """Return the lowest of several comparable means, or None."""
    if task.incomparable or len(task.entries) < 2:
        return None
    return min((e.mean for e in task.entries if e.mean is not None), default=None)


def _differences(task: TaskComparison) -> Table | None:
    families = (*task.differences, *task.from_control)
    if not families or has_one_seed(task):
        return None
    header = ["first", "second", "difference", "95 % interval", "pairs", "p", "p, Holm",
              "d_z", "first lower in", "detectable", "verdict"]  # fmt: skip
    lines = [
        [name(d.first), name(d.second), d.difference, interval(d.ci), d.pairs, d.p_value,
         d.p_holm, d.d_z, d.superiority, d.shown_size, d.verdict.value]
        for d in families
    ]  # fmt: skip
    return table(header, lines)


def _costs(task: TaskComparison) -> Table | None:
    if not any(each.training is not None for each in task.costs):
        return None
    lines = [[name(each.label), *cost_cells(each)] for each in task.costs]
    return table(["method", *COST_COLUMNS], lines)


def published_section(task: TaskComparison) -> Section | None:
    """Return the section on published numbers of a task; None without a number."""
    if not task.published:
        return None
    facts = task.facts
    ours = [
        [name(e.label), e.mean, None, metric(task.metric), facts.protocol,
         facts.data_source, facts.sizes or None, "this sweep"]
        for e in task.entries
        if e.mean is not None
    ]  # fmt: skip
    theirs = [
        [method(each.method), each.value, each.floor, metric(each.metric), protocol,
         each.data_source, str(each.samples or "–"), each.citation]
        for protocol, numbers in by_protocol(task.published).items()
        for each in numbers
    ]  # fmt: skip
    header = [
        "method",
        "test",
        "floor of protocol",
        "metric",
        "protocol",
        "data",
        "samples",
        "source",
    ]
    lines: list[Sequence[object]] = [*ours, *theirs]
    if not any(each.floor for each in task.published):  # the column would have dashes only
        header, lines = header[:2] + header[3:], [[*line[:2], *line[3:]] for line in lines]
    return {
        "task": task.task,
        "count": len(theirs),
        "numbers": table(header, lines),
        "remarks": remarks(task.published),
    }


# All tasks


def all_tasks_section(comparison: Comparison) -> Section:
    """Return the section on all tasks."""
    ranks = [[name(label), rank] for label, rank in comparison.ranks.items()]
    header = ["method", f"average rank over {len(comparison.ranked_tasks)}"]
    return {
        "ranks": table(header, ranks) if ranks else None,
        "effects": [across(effect) for effect in comparison.effects],
        "limits": limits_over_tasks(comparison.effects),
        "gaps": list(map(gap_text, comparison.gaps)),
        "figure": ratios(comparison),
        "by_group": _by_group(comparison.effects) if comparison.effects else None,
    }


def _by_group(effects: Sequence[Effect]) -> Table:
    header = ["first", "second", "over", "ratio of errors", "tasks", "first lower on",
              "p", "p, Holm"]  # fmt: skip
    lines: list[list[object]] = []
    for effect in effects:
        two = [name(effect.first), name(effect.second)]
        # Groups are parts of the same tasks: only the effect over all of them is tested.
        tested = {"all": (effect.p_value, effect.p_holm)}
        shares = [("all", effect.overall), *effect.groups.items()]
        lines += [
            [*two, over, s.ratio, len(s.tasks), s.lower, *tested.get(over, (None, None))]
            for over, s in shares
        ]
        lines += [
            [*two, f"all but {task}", ratio, len(effect.ratios) - 1, None, None, None]
            for task, ratio in effect.without.items()
        ]
    return table(header, lines)


def response_figures(comparison: Comparison, palette: Palette) -> list[Figure]:
    """Return a figure for each numeric factor with a trend, and each task."""
    metrics = {task.task: task.metric for task in comparison.tasks}
    groups: dict[tuple[str, str], list[Trend]] = {}
    for each in comparison.responses:
        groups.setdefault((each.task, each.factor), []).append(each)
    return [response_figure(trends, palette, metrics[task]) for (task, _), trends in groups.items()]


def ladder_section(ladder: LadderResult) -> Section:
    """Return the section on a ladder: errors by rung, crossings and forecasts."""
    header, lines = ladder_rows(ladder)
    return {
        "title": f"{ladder.task}: ladder of {ladder.key}",
        "numbers": table(header, lines),
        "lines": ladder_lines(ladder),
        "figure": ladder_figure(ladder, colours([curve.label for curve in ladder.curves])),
    }


# A study


def title_of(study: StudyResult) -> str:
    """Return the title of a study: `MoNA on pdebench/advection_1d`."""
    return f"{method(study.study.method)} on {study.study.task}"


def study_section(study: StudyResult, *, most: int = MAX_TRIALS) -> Section:
    """Return the section about a study; importances are of at most so many trials."""
    parameters = study.record.resolved.get("parameters") or {}
    found = importances(study, parameters, most)
    curves = learning_curves(study)
    drawn = [history(study), learning(study, curves)] if curves else []
    if study.front:
        drawn += [pareto(study, name) for name in study.goals.objectives[1:]]
    if (lines := parallel(study, parameters)) is not None:
        drawn.append(lines)
    if isinstance(found, Importances):
        drawn.append(bars(found.shares))
    ended = [f"{count} {state}" for state, count in study.counts().items()]
    varied = _varied(study)
    # A setting that does not vary is in every trial, so that the first one has them all.
    fixed = {k: v for t in study.trials[:1] for k, v in t.params.items() if k not in varied}
    return {
        "title": title_of(study),
        "place": anchor(study.study.name),
        "counts": f"{len(study.trials)} trials: {listed(ended) or 'not begun'}.",
        "facts": " · ".join(
            f"{fact.replace('_', ' ')}: {value}"
            for fact in SHOWN_FACTS
            if (value := getattr(study.facts, fact)) is not None
        ),
        "notes": [*search_notes(study), *validation_notes(study)],
        "figures": drawn,
        "goals": goals_text(study),
        "front": _front(study) if study.goals.has_several else None,
        "importance": (
            explained(found)
            if isinstance(found, Importances)
            else f"Importance of parameters: {found}"
        ),
        "num_trials": len(study.trials),
        "trials": _trials(study, varied),
        "best": None if study.best is None else _marked(study, study.best),
        "same": ", ".join(f"{key} = {value}" for key, value in fixed.items()),
        "is_open": len(study.trials) <= FEW,
    }


def goals_text(study: StudyResult) -> str:
    """Return sentences on the objectives and constraints of a study, or "" if it has none."""
    goals, complete = study.goals, study.complete
    if goals.are_plain:
        return ""
    texts = []
    if goals.has_several:
        texts.append(
            f"Minimised: {listed(goals.objectives)}. The best trial is that with the lowest "
            f"{goals.objectives[0]}. The front has {len(study.front)} trials: no other one is "
            "better in one objective and as good in the others."
        )
    if goals.constraints:
        kept = sum(trial.is_feasible for trial in complete)
        texts.append(
            f"Constraints: {listed(list(map(str, goals.constraints)))}. {kept} of {len(complete)} "
            "complete trials keep them; the others are never the best."
        )
        if complete and not kept:
            texts.append(f"{capitalised(study.why_no_best)}.")
    return " ".join(texts)


def _front(study: StudyResult) -> Table:
    """Return the table of the trials on the front, with all quantities of the goals."""
    names, best = study.goals.quantities, study.best
    lines = [
        [trial.number, trial.kind.value,
         *(_cell(name, study.quantities[trial.number].get(name)) for name in names),
         study.test_value(trial)]
        for trial in study.front
    ]  # fmt: skip
    marked = [i for i, t in enumerate(study.front) if best is not None and t.number == best.number]
    header = ["trial", "kind", *(name.replace("_", " ") for name in names), study.test_metric]
    return table(header, lines, marked=marked)


def _cell(quantity: str, value: float | None) -> object:
    """Return the cell of a quantity: a metric as a number, a cost with its unit."""
    return shown(quantity, value) if quantity in COSTS else value


def explained(found: Importances) -> str:
    """Return a text on the variance that parameters explain alone, by stage, and on the rest."""
    sums = [f"{stage} {share:.0%}" for stage, share in by_stage(found.shares).items()]
    alone = (
        f"Importance by stage: {listed(sums)} of the variance. Single parameters explain "
        f"{sum(found.shares.values()):.0%} of it; the rest is their interactions, or noise."
    ).replace("%", " %")
    if found.num_trials < found.num_complete:
        alone += f" From {found.num_trials:,} of {found.num_complete:,} complete trials."
    if not found.left_out:
        return alone
    return f"{alone} Left out, since not every trial has them: {', '.join(found.left_out)}."


def _varied(study: StudyResult) -> set[str]:
    """Return the parameters that differ between trials."""
    # Texts are compared, since true and 1 are equal but other settings.
    return {
        parameter
        for parameter in {n for t in study.trials for n in t.params}
        if len({repr(t.params.get(parameter)) for t in study.trials}) > 1
    }


def _trials(study: StudyResult, varied: set[str]) -> Table:
    """Return a line for each trial: outcome, searched parameters, other varied parameters."""
    lines = [{k: v for k, v in row.items() if k not in HIDDEN} for row in rows(study)]
    names = dict.fromkeys(n for line in lines for n in line)
    sampled = {n for t in study.trials for n in t.sampled}
    keep = [
        *(n for n in names if n not in LATE and all(n not in t.params for t in study.trials)),
        *(n for n in names if n in varied and n in sampled),
        *(n for n in names if n in varied and n not in sampled),
        *(n for n in names if n in LATE),
    ]
    best = study.best
    marked = [i for i, t in enumerate(study.trials) if best is not None and t.number == best.number]
    return table(
        [n.replace("_", " ") if n in LATE else n for n in keep],
        [[line.get(n) for n in keep] for line in lines],
        marked=marked,
    )


def _marked(study: StudyResult, best: TrialRow) -> str:
    """Return the reason why a trial is the study's best, with the deciding number."""
    reached = study.reached(best)
    if not reached.is_replicated:
        return f"Marked: trial {best.number}, the lowest by validation."
    return (
        f"Marked: trial {best.number}, which is called best for its replicates. Over "
        f"{counted(len(reached.tests), 'seed')} the mean of validation is "
        f"{readable(reached.validation)}, of test {readable(reached.test)}; the line shows what it "
        "reached in the search."
    )


# Distance and error


def distance_section(found: Sequence[DistanceCorrelation], palette: Palette) -> Section | None:
    """Return the section, or None if no study measured a distance."""
    if not found:
        return None
    shown = [each for each in found if each.distance == found[0].distance]
    tasks = dict.fromkeys(each.task for each in shown)
    lines = [
        [each.task, series(each), DISTANCES[each.distance], each.stage, len(each.trials),
         each.correlation and each.correlation.rho, each.correlation and each.correlation.p_value,
         each.p_holm]
        for each in found
    ]  # fmt: skip
    header = ["task", "method", "distance", "after", "trials", "ρ", "p", "p, Holm"]
    return {
        "answer": distance_answer(found),
        "figures": [distances([e for e in shown if e.task == task], palette) for task in tasks],
        "series": table(header, lines),
        "fewest": MIN_POINTS,
    }


# Failures, cost and provenance


def unfinished_trials(sweep: SweepResult[StudyResult]) -> Table | None:
    """Return the table of incomplete trials, with a line for each reason; None without any."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for study in sweep.studies:
        for t in study.trials:
            if t.state is not TrialState.COMPLETE:
                why = (study.study.name, t.state.value, t.failure or "–", t.reason or "–")
                grouped.setdefault(why, []).append(str(t.number))
    if not grouped:
        return None
    lines = [[*why, len(numbers), ", ".join(numbers)] for why, numbers in grouped.items()]
    lines.sort(key=lambda line: line[1] != TrialState.FAILED)
    return table(["study", "state", "class", "reason", "count", "trials"], lines)


def cost_section(tuned_studies: Sequence[StudyResult], usage: Usage) -> Section:
    """Return the section on the cost of a sweep."""
    costs = [cost_of(tuned) for tuned in tuned_studies]
    lines = [
        [c.study, c.trials, c.epochs, c.searched, c.repeated, c.pruned, c.failed,
         c.epoch_seconds, c.peak_memory_bytes and round(c.peak_memory_bytes / MIB)]
        for c in costs
    ]  # fmt: skip
    header = ["study", "trials begun", "epochs", "search, s", "replicates, s", "of pruned, s",
              "of failed, s", "s an epoch", "peak MiB"]  # fmt: skip
    by_device: dict[str, float] = {}
    for each in costs:
        by_device[each.device] = by_device.get(each.device, 0.0) + each.total
    told = [f"{_hours(seconds)} of {device.upper()}" for device, seconds in by_device.items()]
    trials, epochs = sum(c.trials for c in costs), sum(c.epochs for c in costs)
    run = f"{counted(trials, 'trial')} and {counted(epochs, 'epoch')}"
    return {
        "total": f"{listed(told) or 'Nothing'} for {run}.",
        "studies": table(header, lines),
        "use": _use(usage),
        "predicted": _predicted(usage),
    }


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.1f} hours"


def _use(usage: Usage) -> str:
    """Return a text on the utilisation of slots, and on stages from other trials."""
    share = usage.utilisation
    full = "How full its slots were is not known: its start did not record them."
    if share is not None:
        full = f"Trials ran in {share:.0%} of the time of its slots.".replace("%", " %")
    if usage.taken_over:
        full += (
            f" {usage.taken_over} epochs were taken over from trials that had computed the same; "
            "they count among those of studies, and took no time."
        )
    return full


def _predicted(usage: Usage) -> Table | None:
    if usage.prediction is None:
        return None
    header = ["predicted", "low", "expected", "high", "actual", "which is"]
    lines = [
        [each.title, each.low, each.expected, each.high, each.actual, each.verdict]
        for each in compared(usage)
    ]
    return table(header, lines)


def provenance(sweep: SweepResult[StudyResult]) -> Table:
    """Return the code, packages, data and weights of a sweep."""
    record = sweep.record
    lines: list[list[object]] = [["configuration", record.config_hash]]
    for key, value in record.provenance.items():
        shown = value
        if isinstance(value, Mapping):
            shown = ", ".join(f"{what} {version}" for what, version in value.items() if version)
        elif key == "plugins":
            shown = ", ".join(record.plugins)
        lines.append([key.replace("_", " "), "unknown" if shown is None else str(shown)])
    for fact in ("content_hash", "weights_hash"):
        owners: dict[str, list[str]] = {}
        for study in sweep.studies:
            if value := getattr(study.facts, fact):
                owners.setdefault(value, []).append(study.study.name)
        lines += [[f"{fact.replace('_', ' ')}, {', '.join(who)}", h] for h, who in owners.items()]
    return table(["what", "value"], lines)
