"""What `sweeper compare` and `sweeper best` print: the answer, then tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeper.cli.output import SCHEMA, on_one_line, print_json
from sweeper.cli.tables import print_table
from sweeper.console import stdout
from sweeper.model import trial_name
from sweeper.text import number

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
