"""Tables and sentences that show the results of commands to people."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeper.cli.output import cell, drop_columns, folding, print_table, say
from sweeper.console import print_text, stdout
from sweeper.model import trial_name
from sweeper.text import counted, duration, number, printable, written

if TYPE_CHECKING:
    from sweeper.commands.diagnose import Diagnosis
    from sweeper.commands.look import FailedTrials, ShippedFiles, Summary, SweepLine, Sweeps
    from sweeper.commands.plan import Plan, PlannedStage
    from sweeper.commands.reference import Parameter, Reference
    from sweeper.commands.results import BestConfigurations, CompareResult
    from sweeper.commands.upkeep.doctor import Checks
    from sweeper.results.comparison import (
        Answer,
        Comparison,
        Difference,
        Entry,
        Published,
        TaskComparison,
    )
    from sweeper.results.ladder.curves import LadderResult

REASON = 1000  # characters of why a trial failed
SPECIAL = ("rises", "jaggedness", "d_z", "detectable")  # columns of a verbose comparison
SPARED = (*SPECIAL, "lower in", "p", "sd", "device-s", "epochs", "candidates")  # the first first
CONTROL = "control test"
TRIVIAL = {  # the simplest predictors of vectors, fields, classes and labels
    "mean": "predict mean",
    "median": "predict median",
    "identity": "identity",
    "majority": "majority",
    "prior": "prior",
    "ridge": "ridge",
    "knn": "nearest",
}


def show_summary(summary: "Summary") -> None:
    """Print the results of each study, beside its control and its trivial predictors."""
    table = Table(
        title=f"{cell(summary.sweep)}: {summary.state}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("study", overflow="fold")
    table.add_column("trials", justify="right", overflow="fold")
    best_of = [
        {**_larger(each.objective, each.best.validation, each.best.test), **(each.best.cells or {})}
        if each.best
        else {}
        for each in summary.studies
    ]
    further = list(dict.fromkeys(name for cells in best_of for name in cells))
    header = ("best", "validation", "test", "seeds", *further, CONTROL, *TRIVIAL.values())
    for name in header:
        table.add_column(name, justify="right")
    for study, cells in zip(summary.studies, best_of, strict=True):
        best, control = study.best, study.control
        table.add_row(
            cell(study.study),
            _counts(study.trials),
            "" if best is None else f"{best.trial:03d}",
            number(best.validation if best else None),
            number(best.test if best else None),
            "" if best is None else str(best.seeds),
            *(cell(_value(cells.get(name))) for name in further),
            number(control.test if control else None),
            *(number(study.baselines.get(name)) for name in TRIVIAL),
        )
    console = stdout()
    drop_columns(table, (CONTROL, *TRIVIAL.values()), if_empty=True)
    print_table(console, table, [*reversed(TRIVIAL.values())])
    _say_all(console, summary.notes)


def _larger(objective: str, validation: object, test: object) -> dict[str, object]:
    """Return values of which larger ones are better, by name, of a metric that is maximised."""
    from sweeper.results.prose import maximised

    if (name := maximised(objective)) is None:
        return {}
    values = {name: validation, f"test {name}": test}
    # Subtracted, since the negative of 0 would be shown as -0.
    return {key: 0.0 - value for key, value in values.items() if isinstance(value, float)}


def show_sweeps(found: "Sweeps", tags: Sequence[str] = ()) -> None:
    """Print one line for each sweep; `tags` are those that were asked for."""
    if not found.sweeps:
        from sweeper.planning.sweep_folder import hint_above, sweeps_folder

        which = f" tagged {' and '.join(tags)}" if tags else ""
        text = f"no sweeps{which} in {sweeps_folder()}.{'' if tags else hint_above()}"
        print_text(stdout(), text)
        return
    console = stdout()
    print_table(console, _sweeps(found.sweeps), ("studies", "profile"))
    for sweep in found.sweeps:
        if sweep.reason is not None:
            print_text(console, f"{sweep.sweep}: {sweep.reason}")


def show_shipped(found: "ShippedFiles") -> None:
    """Print one line for each shipped sweep file."""
    table = folding("name", "methods", "tasks", "question")
    for each in found.shipped:
        benchmarks = Counter(task.partition("/")[0] for task in each.tasks)
        tasks = ", ".join(f"{count} of {name}" for name, count in benchmarks.items())
        table.add_row(*map(cell, (each.name, ", ".join(each.methods), tasks, each.question or "")))
    print_table(stdout(), table)


def _sweeps(sweeps: Sequence["SweepLine"]) -> Table:
    table = folding("sweep")
    for name in ("state", "profile"):
        table.add_column(name)
    table.add_column("studies", justify="right")
    table.add_column("trials", overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    has_tags = any(sweep.tags for sweep in sweeps)
    if has_tags:
        table.add_column("tags", overflow="fold")
    for sweep in sweeps:
        table.add_row(
            cell(sweep.sweep),
            cell(sweep.state),
            cell(sweep.profile),
            str(sweep.studies),
            _counts(sweep.trials),
            "" if sweep.age_s is None else duration(sweep.age_s),
            *[cell(written(sweep.tags))] * has_tags,
        )
    return table


def show_failed(found: "FailedTrials") -> None:
    """Print the failed trials of a sweep, each with its class and its reason."""
    table = folding("trial")
    table.add_column("class", no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for trial in found.failed:
        reason = printable(trial.reason or "", limit=REASON)
        cells = (trial.trial, trial.failure or "", str(trial.attempts), reason)
        table.add_row(*map(escape, cells))
    console = stdout()
    if found.failed:
        console.print(table)
    for note in found.notes:
        print_text(console, note)


def show_plan(plan: "Plan") -> None:
    """Print what a launch would run and take."""
    table = folding("study", "trials", "stages (epochs of a trial)", "in all, expected / at most")
    table.add_column("rungs")
    table.add_column("data")
    for study in plan.studies:
        kinds = (f"{count} {kind}" for kind, count in study.kinds.items() if count)
        table.add_row(
            cell(study.study),
            ", ".join(kinds),
            ", ".join(f"{stage.stage} {stage.epochs}" for stage in study.stages),
            ", ".join(map(_stage_epochs, study.stages)),
            ", ".join(map(str, study.rungs)) or "none",
            study.data,
        )
    console = stdout()
    console.print(table)
    for note in plan.notes:
        print_text(console, note)


def _stage_epochs(stage: "PlannedStage") -> str:
    """Return the epochs of a stage in all trials, and the number of runs that sharing saves."""
    shared = f" ({stage.shared} runs shared)" if stage.shared else ""
    return f"{stage.stage} {stage.expected_epochs:.0f} / {stage.max_epochs}{shared}"


def show_reference(found: "Reference", *, markdown: bool) -> None:
    """Print the facts about one name, such as a method, and a table of its settings."""
    if markdown:
        print(as_markdown(found))
        return
    console = stdout()
    print_text(console, f"{found.name}: {found.kind}, {found.title}")
    for key, value in found.facts.items():
        print_text(console, f"  {key}: {value}")
    table = folding("parameter", "default", "limits", "meaning")
    for each in found.parameters:
        table.add_row(*map(escape, (each.name, _default(each), each.limits, each.meaning)))
    console.print(table)
    for note in found.notes:
        print_text(console, note)


def _default(parameter: "Parameter") -> str:
    value = parameter.default
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def as_markdown(found: "Reference") -> str:
    """Return a Markdown page of the facts about one name and a table of its settings."""
    rows = [
        ("parameter", "default", "values", "meaning"),
        ("---",) * 4,
        *((f"`{p.name}`", f"`{_default(p)}`", p.limits, p.meaning) for p in found.parameters),
    ]
    # A bar would end its cell, even within code.
    table = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    facts = [f"* {key}: {value}" for key, value in found.facts.items()]
    page = (f"# {found.name}: {found.title}", facts, table, list(found.notes))
    return "\n\n".join(p if isinstance(p, str) else "\n".join(p) for p in page if p)


def show_checks(found: "Checks", *, everything: bool) -> None:
    """Print the checks of `doctor`: a mark, the thing checked, and its state or what to do.

    `everything` shows sources that are not here, too.
    """
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[red]bad[/]"}
    table = Table(box=None, pad_edge=False, show_header=False)
    hidden = [c for c in found.checks if c.state == "note" and c.what.startswith("proxy ")]
    for check in found.checks:
        if everything or check not in hidden:
            table.add_row(marks[check.state], check.what, escape(check.found))
    console = stdout()
    console.print(table)
    if hidden and not everything:
        print_text(console, f"{counted(len(hidden), 'source')} not here: sweeper doctor --all")


def show_diagnosis(diagnosis: "Diagnosis") -> None:
    """Print the results of each diagnostic, and where the files are."""
    table = Table(box=None, pad_edge=False)
    table.add_column("diagnostic")
    table.add_column("rows", justify="right")
    table.add_column("found", overflow="fold")
    for file in diagnosis.files:
        found = ", ".join(f"{name} {_value(value)}" for name, value in file.found.items())
        table.add_row(file.what, str(file.rows), cell(found))
    console = stdout()
    console.print(table)
    print_text(console, f"files: {diagnosis.folder}")
    for note in diagnosis.notes:
        console.print(note, markup=False)


def show_best(found: "BestConfigurations") -> None:
    """Print the best configurations: one sweep file, or else a table."""
    if found.file is not None:
        # The text is to become a file, so no console may wrap or escape it.
        print(found.file, end="")
        return
    from sweeper.spec.goals import shown

    table = _table("trial", ("validation", "test", "sd", "seeds"))
    table.add_column("what was sampled", overflow="fold")
    for study in found.studies:
        for each in study.best:
            cells = (each[name] for name in ("validation", "test", "sd", "seeds"))
            trial = trial_name(study.study, each["trial"])
            values = {name: each["params"][name] for name in each["sampled"]}
            sampled = [f"{k} = {'null' if v is None else _value(v)}" for k, v in values.items()]
            measured = [
                f"{name}: {shown(name, value)}"
                for name, value in each.get("quantities", {}).items()
                if name != study.objective
            ]
            about = ", ".join(sampled) or each["kind"]
            larger = _larger(study.objective, each["validation"], each["test"]).items()
            told = "; ".join([*(f"{k}: {_value(v)}" for k, v in larger), about, *measured])
            table.add_row(cell(trial), *map(_value, cells), cell(told))
        if not study.best:
            table.add_row(cell(study.study), *[""] * 4, cell(study.why_none or ""))
    print_table(stdout(), table, ("sd",))


def show_comparison(found: "CompareResult", *, is_verbose: bool = False) -> None:
    """Print a comparison: the answer first, then a table of each task.

    Args:
        found: The comparison.
        is_verbose: Print the columns of `SPECIAL`, too.
    """
    from sweeper.results.verdicts import (
        distance_answer,
        headline,
        interaction_text,
        trend_text,
    )

    console, comparison = stdout(), found.comparison
    for answered in comparison.answers:
        _show_answer(console, answered)
    say(console, headline(comparison))
    for task in comparison.tasks:
        _show_task(console, task, is_verbose=is_verbose, is_alone=len(comparison.tasks) == 1)
    if len(comparison.tasks) > 1:
        _show_all_tasks(console, comparison)
    if told := [
        *map(trend_text, comparison.trends),
        *map(interaction_text, comparison.interactions),
    ]:
        console.print()
        _say_all(console, told)
    for ladder in comparison.ladders:
        _show_ladder(console, ladder)
    if comparison.distance_correlations:
        console.print()
        say(console, distance_answer(comparison.distance_correlations))
    for claim in found.gate.claims if found.gate else ():
        say(console, f"gate: {claim.claim}: {'met' if claim.is_met else 'not met'}")
    _say_all(console, [f"wrote {path}" for path in (found.html, found.latex) if path])


def _show_ladder(console: Console, ladder: "LadderResult") -> None:
    """Print the error of each curve on each rung, where curves cross, and what is forecast."""
    from sweeper.results.ladder.sentences import ladder_lines, ladder_rows

    (first, *levels), rows = ladder_rows(ladder)
    table = _table(first, levels)
    for row in rows:
        table.add_row(*map(cell, row))
    console.print()
    say(console, f"{ladder.task}: ladder of {ladder.key}")
    print_table(console, table, ())
    _say_all(console, [f"  {line}" for line in ladder_lines(ladder)])


def _show_answer(console: Console, answered: "Answer") -> None:
    """Print a question and the verdict on each claim, the primary one first."""
    from sweeper.results.verdicts import claim_heads, claim_lines, published_finding

    say(console, answered.question.title)
    say(console, f"  published: {published_finding(answered)}")
    for head, each in zip(claim_heads(answered), answered.claims, strict=True):
        say(console, f"  {head}")
        _say_all(console, [f"    {line}" for line in claim_lines(each)])
    console.print()


def _show_all_tasks(console: Console, comparison: "Comparison") -> None:
    from sweeper.results.verdicts import across, gap_text, limits_over_tasks

    console.print()
    say(console, "over all tasks")
    if comparison.ranks:
        ranks = (f"{name} {number(rank)}" for name, rank in comparison.ranks.items())
        count = len(comparison.ranked_tasks)
        say(console, f"  average ranks over {count}: {', '.join(ranks)}")
    sentences = [*map(across, comparison.effects), *limits_over_tasks(comparison.effects)]
    sentences += map(gap_text, comparison.gaps)
    _say_all(console, [f"  {sentence}" for sentence in sentences])


def _show_task(
    console: Console, task: "TaskComparison", *, is_verbose: bool, is_alone: bool
) -> None:
    from sweeper.results.floors import of_solver
    from sweeper.results.prose import data_of
    from sweeper.results.verdicts import answer, has_one_seed, notes

    sizes = f"{task.facts.sizes} samples" if task.facts.sizes else ""
    facts = [task.facts.protocol, data_of(task.facts), sizes]
    console.print()
    say(console, f"{task.task}: {task.metric} ({', '.join(filter(None, facts))})")
    if not is_alone:  # the headline has said it
        say(console, f"  {answer(task)}")
    shown = [_methods(task)]
    families = [*task.differences, *task.from_control]
    # Single seeds have a difference, but neither an interval nor a test.
    if families and not has_one_seed(task):
        shown.append(_differences(families))
    for table in shown:
        if not is_verbose:
            drop_columns(table, SPECIAL)
        print_table(console, table, SPARED)
    solver = filter(None, [of_solver(task.task, task.facts)])
    _say_all(console, [f"  {note}" for note in (*solver, *notes(task))])
    _show_costs(console, task)
    _show_published(console, task.published)


def _show_costs(console: Console, task: "TaskComparison") -> None:
    """Print the cost of each method against its control, and the solves that repay it."""
    from sweeper.results.costs import COST_COLUMNS, cost_cells, solver_note

    if not any(each.training is not None for each in task.costs):
        return
    table = _table("cost", COST_COLUMNS)
    for each in task.costs:
        table.add_row(cell(each.label), *map(_value, cost_cells(each)))
    drop_columns(table, COST_COLUMNS, if_empty=True)
    print_table(console, table, ("the control's, s", "error against it"))
    _say_all(console, [f"  {note}" for note in [solver_note(task.facts, task.costs)] if note])


def _show_published(console: Console, numbers: Sequence["Published"]) -> None:
    """Print the published numbers by protocol, with their data and their sources."""
    from sweeper.results.comparison import by_protocol, remarks

    for protocol, group in by_protocol(numbers).items():
        scores = (f"{e.method} {number(e.value)} ({e.citation})" for e in group)
        size = f", {group[0].samples} samples" if group[0].samples else ""
        say(console, f"  published: {', '.join(scores)}")
        say(console, f"    {group[0].data_source} data{size}; {protocol}; not ranked with ours")
    _say_all(console, [f"    {remark}" for remark in remarks(numbers)])


def _methods(task: "TaskComparison") -> Table:
    names = ("test mean", "95 % interval", "seeds", "sd", "rises", "jaggedness", "of trial",
             "candidates", "epochs", "device-s")  # fmt: skip
    table = _table("method", names)
    for entry in task.entries:
        spent: Sequence[float | None] = (None,) * 3
        if (budget := entry.budget) is not None:
            spent = (budget.trials, budget.epochs, budget.device_seconds)
        table.add_row(cell(entry.label), *_scores(entry), *map(_value, spent))
    for entry in task.distinct_controls:
        table.add_row(f"{cell(entry.label)}: control", *_scores(entry), "", "", "")
    return table


def _scores(entry: "Entry") -> list[str]:
    count, curve = len(entry.values), (entry.upward_rms, entry.roughness)
    return [_value(each) for each in (entry.mean, entry.ci, count, entry.sd, *curve, entry.trial)]


def _differences(differences: Iterable["Difference"]) -> Table:
    names = ("difference", "95 % interval", "pairs", "p", "p, Holm", "d_z", "lower in",
             "detectable", "verdict")  # fmt: skip
    table = _table("compared", names)
    for each in differences:
        numbers = (each.difference, each.ci, each.pairs, each.p_value, each.p_holm, each.d_z)
        table.add_row(
            cell(f"{each.first} - {each.second}"),
            *map(_value, numbers),
            "–" if each.superiority is None else f"{each.superiority:.0%}",
            number(each.shown_size),
            each.verdict,
        )
    return table


def _table(first: str, names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=True)
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def _value(value: object) -> str:
    """Return a number, an interval or a word as a table shows it."""
    if isinstance(value, tuple | list):
        return f"{number(value[0])} to {number(value[1])}"
    return number(value) if isinstance(value, float | None) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)


def _say_all(console: Console, lines: Iterable[str]) -> None:
    for each in lines:
        say(console, each)
