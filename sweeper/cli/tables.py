"""Tables that fit a narrow terminal: columns of less weight are left out, and no value is cut."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from sweeper.cli.output import SCHEMA, on_one_line, print_json
from sweeper.console import stdout
from sweeper.model import trial_name
from sweeper.text import duration, number, printable, written

if TYPE_CHECKING:
    from sweeper.commands.reference import Reference

WIDEST = 1000  # characters; wider than any table
FOLDED = 20  # characters that a column which folds is left at least


def print_table(console: Console, table: Table, spared: Sequence[str] = ()) -> None:
    """Print a table; where it does not fit, without columns of `spared`, the first one first."""
    left_out = []
    for name in spared:
        if _width(console, table) <= console.width:
            break
        kept = [column for column in table.columns if column.header != name]
        if len(kept) < len(table.columns):
            table.columns = kept
            left_out.append(name)
    console.print(table)
    if left_out:
        text = f"(left out, {console.width} columns are too few: {', '.join(left_out)})"
        console.print(text, markup=False, soft_wrap=True, style="dim")


def _width(console: Console, table: Table) -> int:
    """Return how wide a table is with whole values; a column that folds may become narrow."""
    options = console.options.update(max_width=WIDEST)
    folding = [column for column in table.columns if column.overflow == "fold"]
    widths = (max(map(cell_len, map(str, column.cells)), default=0) for column in folding)
    spare = sum(max(0, width - FOLDED) for width in widths)
    return Measurement.get(console, options, table).maximum - spare


SPARED = ("jaggedness", "sd", "rises", "device-s", "epochs", "candidates")  # the first one first


def show_comparison(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints a comparison: sentences and tables, or all of it as JSON."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "compare", **found})
        return
    console, found = stdout(), on_one_line(found)
    _say(console, found["answer"])
    for task in found["tasks"]:
        _show_task(console, task)
    if len(found["tasks"]) > 1:
        _say(console, "\nover all tasks")
        if found["average_ranks"]:
            ranks = (f"{name} {number(rank)}" for name, rank in found["average_ranks"].items())
            _say(console, f"  average ranks over {len(found['ranked_tasks'])}: {', '.join(ranks)}")
        for effect in found["effects"]:
            _say(console, f"  {effect['sentence']}")
        for line in found["effect_notes"]:
            _say(console, f"  {line}")
    if found["distance"]:
        _say(console, f"\n{found['distance']['answer']}")
    for claim in (found["gate"] or {"claims": ()})["claims"]:
        _say(console, f"gate: {claim['claim']}: {'met' if claim['is_met'] else 'not met'}")
    for kind in ("html", "latex"):
        if found[kind]:
            _say(console, f"wrote {found[kind]}")


def show_best(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints the best configurations: a sweep file where there is one, else a table."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "best", **found})
        return
    if "file" in found:
        print(found["file"], end="")
        return
    found = on_one_line(found)
    table = _table("trial", ("validation", "test", "sd", "seeds"))
    table.add_column("what was sampled", overflow="fold")
    for study in found["studies"]:
        for each in study["best"]:
            cells = (each[name] for name in ("validation", "test", "sd", "seeds"))
            trial = trial_name(study["study"], each["trial"])
            sampled = (f"{name} = {_cell(each['params'][name])}" for name in each["sampled"])
            told = ", ".join(sampled) or each["kind"]
            table.add_row(escape(trial), *map(_cell, cells), escape(told))
        if not study["best"]:
            table.add_row(escape(study["study"]), *[""] * 4, "no trial is complete")
    print_table(stdout(), table, ("sd",))


def _show_task(console: Console, task: Mapping[str, Any]) -> None:
    facts = [task.get("protocol"), f"{task.get('data_source', 'unknown')} data", _sizes(task)]
    _say(console, f"\n{task['task']}: {task['metric']} ({', '.join(filter(None, facts))})")
    _say(console, f"  {task['answer']}")
    print_table(console, _methods(task), SPARED)
    families = [*task["comparisons"], *task["against_control"]]
    if families:
        print_table(console, _differences(families), ("d_z", "lower in", "p"))
    for line in task["notes"]:
        _say(console, f"  {line}")
    _show_published(console, task["published"])


def _show_published(console: Console, numbers: Sequence[Mapping[str, Any]]) -> None:
    """Prints a line a protocol: what was published by it, on what, and by whom."""
    for protocol in dict.fromkeys(each["protocol"] for each in numbers):
        group = [each for each in numbers if each["protocol"] == protocol]
        scores = (f"{e['method']} {number(e['value'])} ({e['citation']})" for e in group)
        size = f", {group[0]['samples']} samples" if group[0]["samples"] else ""
        _say(console, f"  published: {', '.join(scores)}")
        _say(console, f"    {group[0]['data_source']} data{size}; {protocol}; not ranked with ours")
    for remark in dict.fromkeys(each["remark"] for each in numbers if each["remark"]):
        _say(console, f"    {remark}")


def _methods(task: Mapping[str, Any]) -> Table:
    names = ("test mean", "95 % interval", "seeds", "sd", "rises", "jaggedness", "of trial",
             "candidates", "epochs", "device-s")  # fmt: skip
    table = _table("method", names)
    for entry in task["methods"]:
        budget = entry["budget"] or {}
        spent = (budget.get(what) for what in ("trials", "epochs", "device_seconds"))
        table.add_row(escape(entry["label"]), *_values(entry), *map(_cell, spent))
    for entry in task["controls"]:
        if entry["n"]:
            table.add_row(f"{escape(entry['label'])}: control", *_values(entry), "", "", "")
    return table


def _values(entry: Mapping[str, Any]) -> Sequence[str]:
    shown = ("mean", "ci", "n", "sd", "rises", "jaggedness", "trial")
    return [_cell(entry[name]) for name in shown]


def _differences(differences: Sequence[Mapping[str, Any]]) -> Table:
    names = ("difference", "95 % interval", "pairs", "p", "p, Holm", "d_z", "lower in", "verdict")
    table = _table("compared", names)
    for each in differences:
        lower = each["superiority"]
        table.add_row(
            escape(f"{each['first']} - {each['second']}"),
            *(_cell(each[k]) for k in ("difference", "ci", "pairs", "p_value", "p_holm", "d_z")),
            "–" if lower is None else f"{lower:.0%}",
            each["verdict"],
        )
    return table


def _table(first: str, names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=True)
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def _cell(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{number(value[0])} to {number(value[1])}"
    return number(value) if isinstance(value, float | None) else str(value)


def _sizes(task: Mapping[str, Any]) -> str:
    sizes = task.get("samples") or {}
    return f"{' / '.join(map(str, sizes.values()))} samples" if sizes else ""


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


REASON = 1000  # characters of why a trial failed


def show_summary(summary: Mapping[str, Any], *, as_json: bool, command: str = "launch") -> None:
    """Prints, for every study, what was found and what it has to be compared with."""
    if as_json:
        print_json({"schema": SCHEMA, "command": command, **summary})
        return
    console, summary = stdout(), on_one_line(summary)
    table = Table(
        title=f"{escape(summary['sweep'])}: {summary['state']}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("study", overflow="fold")
    table.add_column("trials", justify="right", overflow="fold")
    trivial = _trivial(summary["studies"])
    for name in ("best", "validation", "test", "seeds", "control test", *trivial.values()):
        table.add_column(name, justify="right")
    for study in summary["studies"]:
        best, control = study["best"] or {}, study["control"] or {}
        table.add_row(
            escape(study["study"]),
            _counts(study["trials"]),
            "" if study["best"] is None else f"{best['trial']:03d}",
            number(best.get("validation")),
            number(best.get("test")),
            "" if study["best"] is None else str(best["seeds"]),
            number(control.get("test")),
            *(number(study["baselines"].get(name)) for name in trivial),
        )
    print_table(console, table, [*reversed(trivial.values())])
    for line in summary["notes"]:
        console.print(line, markup=False, soft_wrap=True)


def _trivial(studies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the trivial predictors that the studies have, each with what its column is called:
    the mean and the input of fields, the most frequent class, how frequent labels are."""
    titles = {"mean": "predict mean", "identity": "identity"}
    known = titles | {"majority": "majority", "prior": "prior"}
    found = {name for study in studies for name in study["baselines"]}
    return {name: title for name, title in known.items() if name in found} or titles


def show_plan(plan: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints what a launch would run."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "plan", **plan})
        return
    console = stdout()
    table = Table(box=None, pad_edge=False)
    table.add_column("study", overflow="fold")
    table.add_column("trials", overflow="fold")
    table.add_column("stages (epochs of a trial)", overflow="fold")
    table.add_column("in all, expected / at most", overflow="fold")
    table.add_column("rungs")
    table.add_column("data")
    for study in plan["studies"]:
        kinds = (f"{count} {kind}" for kind, count in study["kinds"].items() if count)
        table.add_row(
            study["study"],
            ", ".join(kinds),
            ", ".join(f"{s['stage']} {s['epochs']}" for s in study["stages"]),
            ", ".join(map(_stage_epochs, study["stages"])),
            ", ".join(map(str, study["rungs"])) or "none",
            study["data"],
        )
    console.print(table)
    for line in plan["notes"]:
        console.print(line, markup=False, soft_wrap=True)


def _stage_epochs(stage: Mapping[str, Any]) -> str:
    """Says what a stage takes, and what it saves that trials share its runs."""
    shared = f" ({stage['shared']} runs shared)" if stage["shared"] else ""
    return f"{stage['stage']} {stage['expected_epochs']:.0f} / {stage['max_epochs']}{shared}"


def show_reference(found: "Reference", *, as_json: bool) -> None:
    """Print what a name stands for, and a table of its parameters."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "describe", **found.to_json()})
        return
    console = stdout()
    console.print(f"{found.name}: {found.kind}, {found.title}", markup=False, soft_wrap=True)
    for key, value in found.facts.items():
        console.print(f"  {key}: {value}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("parameter", "default", "limits", "meaning"):
        table.add_column(name, overflow="fold")
    for each in found.parameters:
        value = each.default
        default = f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
        table.add_row(*map(escape, (each.name, default, each.limits, each.meaning)))
    console.print(table)
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def show_sweeps(
    sweeps: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    command: str = "ls",
    tags: Sequence[str] = (),
) -> None:
    """Prints one line a sweep; `tags` are those that were asked for."""
    if as_json:
        print_json({"schema": SCHEMA, "command": command, "sweeps": list(sweeps)})
        return
    if not sweeps:
        from sweeper.planning.sweep_folder import hint_above, sweeps_folder

        which = f" tagged {' and '.join(tags)}" if tags else ""
        text = f"no sweeps{which} in {sweeps_folder()}.{'' if tags else hint_above()}"
        stdout().print(text, markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("sweep", overflow="fold")
    for name in ("state", "profile"):
        table.add_column(name)
    table.add_column("studies", justify="right")
    table.add_column("trials", overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    has_tags = any(sweep["tags"] for sweep in sweeps)
    if has_tags:
        table.add_column("tags", overflow="fold")
    for sweep in on_one_line(sweeps):
        table.add_row(
            sweep["sweep"],
            sweep["state"],
            escape(sweep["profile"]),
            str(sweep["studies"]),
            _counts(sweep["trials"]),
            "" if sweep["age_s"] is None else duration(sweep["age_s"]),
            *[escape(written(sweep["tags"]))] * has_tags,
        )
    console = stdout()
    print_table(console, table, ("studies", "profile"))
    for sweep in sweeps:
        if "reason" in sweep:
            console.print(f"{sweep['sweep']}: {sweep['reason']}", markup=False, soft_wrap=True)


def show_failed(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints the failed trials of a sweep, each with its class and its reason."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "status", **found})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", overflow="fold")
    table.add_column("class", no_wrap=True)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=1)
    for trial in found["failed"]:
        reason = printable(trial["reason"] or "", limit=REASON)
        cells = (trial["trial"], trial["failure"] or "", str(trial["attempts"]), reason)
        table.add_row(*map(escape, cells))
    console = stdout()
    if found["failed"]:
        console.print(table)
    for line in found["notes"]:
        console.print(line, markup=False, soft_wrap=True)


def show_checks(checks: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Prints what `doctor` found: a mark, what, and what to do."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "doctor", "checks": list(checks)})
        return
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[red]bad[/]"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        table.add_row(marks[check["state"]], check["what"], escape(check["found"]))
    stdout().print(table)


def show_diagnosis(diagnosis: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints what each file comes to that was written, and where they are."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "diagnose", **diagnosis})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("diagnostic")
    table.add_column("rows", justify="right")
    table.add_column("found", overflow="fold")
    for file in diagnosis["files"]:
        found = ", ".join(f"{name} {_plain(value)}" for name, value in file["found"].items())
        table.add_row(file["what"], str(file["rows"]), found)
    console = stdout()
    console.print(table)
    console.print(f"files: {diagnosis['folder']}", markup=False, soft_wrap=True)
    for line in diagnosis["notes"]:
        console.print(line, markup=False)


def show_data(found: Mapping[str, Sequence[Mapping[str, Any]]], *, as_json: bool) -> None:
    """Prints a table of tasks, where their files come from, and a table of sources."""
    if as_json:
        print_json({"schema": SCHEMA, "command": "data list", **found})
        return
    tasks, proxies = (Table(box=None, pad_edge=False) for _ in range(2))
    for name in ("task", "samples", "input", "output", "size", "metric", "here", "licence"):
        tasks.add_column(name, overflow="fold")
    for name in ("source", "for", "classes", "contents", "here", "licence"):
        proxies.add_column(name, overflow="fold")
    for task in found["tasks"]:
        shapes = (" x ".join(map(str, task[side])) or "label" for side in ("shape", "output_shape"))
        size, here = _size(task["bytes"]), _here(task["here"])
        row = (task["name"], task["samples"], *shapes, size, task["metric"], here, task["licence"])
        tasks.add_row(*map(str, row))
    for proxy in found["proxies"]:
        kind = f"{proxy['dimension']}{', masks' * proxy['dense']}"
        here = "yes" if proxy["present"] else "no"
        what = (proxy["classes"], proxy["contents"])
        row = (proxy["name"], kind, *what, here, proxy["licence"])
        proxies.add_row(*map(str, row))
    console = stdout()
    console.print(tasks, "")
    for task in found["tasks"]:
        console.print(_ways(task), markup=False, soft_wrap=True)
    console.print("", proxies, "")
    for proxy in found["proxies"]:
        then = f"\n  and then: {proxy['import']}" if proxy["import"] else ""
        text = f"{proxy['name']}:\n  {proxy['obtain']}{then}"
        console.print(text, markup=False, soft_wrap=True)


def _ways(task: Mapping[str, Any]) -> str:
    """Says how to have a task's data: commands to copy, and where its files are."""
    ways = [task["obtain"]] if task["obtain"] != task["import"] else []
    if published := task["published"]:
        size = _size(10**6 * published["megabytes"])
        ways.append(f"fetch {published['address']} ({size}, {published['licence']})")
        ways.append(f"  and then: {task['import']}")
    return "\n  ".join([f"{task['name']}:", *ways])


def _here(sets: Mapping[str, Any]) -> str:
    generated = len(sets["generated"])
    parts = ["official"] * sets["official"] + [f"{generated} generated"] * bool(generated)
    return ", ".join(parts) or "no"


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _size(count: int) -> str:
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.0f} MB"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)
