"""What commands print: tables for people, one JSON object for machines. Computes nothing."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from sweeper.cli.tables import print_table
from sweeper.console import pass_on, stderr, stdout
from sweeper.errors import FileFaults
from sweeper.text import duration, number, printable, visible, without_secrets, written

if TYPE_CHECKING:
    from sweeper.commands.reference import Reference

SCHEMA = 1
REASON = 1000  # characters of why a trial failed


def print_json(payload: Mapping[str, Any]) -> None:
    """Prints one JSON object; a number that is not finite becomes null."""
    pass_on(json.dumps(_finite(payload), indent=2, default=str) + "\n", sys.stdout)


def show(payload: Mapping[str, Any], *, command: str, as_json: bool) -> None:
    """Prints a result: its `message`, of a line or several, or all its facts as JSON."""
    if as_json:
        print_json({"schema": SCHEMA, "command": command, **payload})
    else:
        stdout().print(payload["message"], markup=False, soft_wrap=True)


def on_one_line(value: Any) -> Any:
    """Return plain data in which every text is on one line, its line breaks and changes of
    direction escaped: what comes from a ledger may be of others."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {name: on_one_line(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [on_one_line(each) for each in value]
    return value


def line(text: str) -> None:
    """Prints one line as it is, at once: it may be one of many that others wait for."""
    pass_on(printable(text, limit=2000) + "\n", sys.stdout)


def show_error(command: str, error: Exception, code: int, *, as_json: bool) -> None:
    """Prints a deliberate error, each fault on its own line, without passwords of URLs."""
    message = without_secrets(str(error))
    if as_json:
        found = error.faults if isinstance(error, FileFaults) else ()
        faults = [
            vars(fault)
            | {key: without_secrets(getattr(fault, key)) for key in ("where", "message")}
            for fault in found
        ]
        details = {"type": type(error).__name__, "message": message, "faults": faults}
        print_json({"schema": SCHEMA, "command": command, "exit_code": code, "error": details})
    for line in message.splitlines():
        stderr().print(f"sweeper: {line}", markup=False, soft_wrap=True)


def show_usage_error(command: str, error: typer.TyperException, *, as_json: bool) -> None:
    """Prints what is wrong with the command line itself."""
    message = without_secrets(error.format_message())
    if as_json:
        details = {"type": "UsageError", "message": message, "faults": []}
        print_json({"schema": SCHEMA, "command": command, "exit_code": 2, "error": details})
    if message:  # without one, the help has been printed
        context = getattr(error, "ctx", None)
        asked = context.command_path if context is not None else "sweeper"
        text = f"sweeper: {message} See: {asked} --help"
        stderr().print(text, markup=False, soft_wrap=True)


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


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
