"""`sweeper data`: the data that trials read."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from sweeper.cli import output
from sweeper.cli.options import AsJson, Include, new_group
from sweeper.cli.output import progress
from sweeper.console import print_text, stderr, stdout
from sweeper.errors import UsageError
from sweeper.text import format_bytes

if TYPE_CHECKING:
    from sweeper.commands.data import DataList, SourceData, TaskData
    from sweeper.commands.show_data import DataShown

data = new_group()

TaskOrSource = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="A task or a source, as in a sweep file; or the task file of an own task.",
    ),
]

# Variants of a task that has a generator: as published; two of ours, the second of which can rank
# methods; as published, with the target frames of ORCA's released loader.
Variant = Literal["compat", "hard", "rank", "orca"]


@data.command("list")
def list_data(include: Include = None, as_json: AsJson = False) -> None:
    """List all tasks and sources: what they are, whether they are here, and how to get them."""
    from sweeper.commands import data as app

    found = app.everything(tuple(include or ()))
    output.present(found, _show, command="data list", as_json=as_json)


@data.command("import")
def import_data(
    task: TaskOrSource,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="The published files, or folders that hold them; none for an own task, whose "
            "task file names them."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the validation split.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files that were imported before.")
    ] = False,
    include: Include = None,
    as_json: AsJson = False,
) -> None:
    """Read the published FILES of a TASK, or of a source, into the folder that trials read.

    sweeper data import nasbench360/ecg challenge2017.pkl
    sweeper data import wafer.task.yaml
    """
    from sweeper.commands import data as app

    included, console = tuple(include or ()), stderr()
    say = partial(print_text, console)
    with progress("importing", console, tenths=False) as report:
        done = app.import_files(
            task, files or (), seed, report, replace=replace, include=included, say=say
        )
    output.show(done, command="data import", as_json=as_json)


@data.command("init")
def init_task(
    path: Annotated[Path, typer.Argument(help="A file or folder of data.")], as_json: AsJson = False
) -> None:
    """Look at the data in PATH, and write a task file beside them to start from."""
    from sweeper.commands import data as app

    output.show(app.propose_task(path), command="data init", as_json=as_json)


@data.command()
def generate(
    task: Annotated[str, typer.Argument(help="A task, as in a sweep file.")],
    samples: Annotated[
        int | None, typer.Option(min=8, help="Training samples; default: as published.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Grid points a side; default: as in the papers.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 0,
    variant: Annotated[
        Variant | None,
        typer.Option(
            help="compat: as published; hard: harder; rank: made to rank methods; orca: with "
            "ORCA's target frames. Default: the variant in the name of TASK."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Generate the data of a TASK before a launch does.

    The same command continues a generation that was interrupted.
    """
    from sweeper.commands import data as app

    sizes = {"samples": samples, "resolution": resolution, "seed": seed}
    with progress("generating", stderr()) as report:
        done = app.generate(task, variant, sizes, workers, report)
    output.show(done, command="data generate", as_json=as_json)


@data.command()
def verify(task: TaskOrSource, include: Include = None, as_json: AsJson = False) -> None:
    """Read every byte of the data of a TASK, or of a source: hashes, numbers, labels, splits."""
    from sweeper.commands import data as app

    output.show(app.verify(task, tuple(include or ())), command="data verify", as_json=as_json)


@data.command()
def show(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task, or the task file of an own task.")
    ],
    picture: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png", help="A picture of training samples."),
    ] = None,
    include: Include = None,
    as_json: AsJson = False,
) -> None:
    """Show the data of a TASK: shapes, classes, ranges, trivial baselines; with -o a picture."""
    from sweeper.commands import show_data as app

    shown = app.show(task, picture, tuple(include or ()))
    output.present(shown, _show_data, command="data show", as_json=as_json)


@data.command()
def delete(
    task: TaskOrSource,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    include: Include = None,
    as_json: AsJson = False,
) -> None:
    """Delete the data of a TASK, or of a source, both imported and generated.

    Shows first what that frees and which sweeps read the data, and asks.
    """
    from sweeper.commands import data as app

    planned = app.deletion(task, tuple(include or ()))
    if not yes:
        if not output.can_ask(as_json=as_json):
            raise UsageError(f"{planned.consequences}\nNobody can be asked here: add --yes.")
        if not typer.confirm(f"{planned.consequences}\nDelete it?", err=True):
            output.line("Nothing was deleted.")
            return
    output.show(app.delete(planned), command="data delete", as_json=as_json)


def _show_data(shown: "DataShown") -> None:
    """Print the content of a task's data."""
    console = stdout()
    sides = (
        " x ".join(map(str, each)) or "label" for each in (shown.input_shape, shown.output_shape)
    )
    splits = ", ".join(f"{count} {split}" for split, count in shown.splits.items())
    baselines = ", ".join(f"{name} {value:.4g}" for name, value in shown.baselines.items())
    lines = [
        f"{shown.task}: {shown.title}, {shown.kind}",
        f"  data: {shown.folder}, {_size(shown.bytes)}",
        f"  samples: {splits}",
        f"  shapes: {' -> '.join(sides)}, stored as {shown.stored}",
        f"  trivial baselines: {baselines} ({shown.metric}, lower is better)",
        f"  protocol: {shown.protocol}",
        *(f"  note: {note}" for note in shown.notes),
    ]
    print_text(console, "\n".join(lines))
    if shown.classes:
        console.print("", _classes(shown))
    console.print("", _ranges(shown))
    picture = shown.picture or "-o FILE.png draws a few samples"
    print_text(console, f"ranges of {shown.looked_at} training samples\npicture: {picture}")


def _classes(shown: "DataShown") -> Table:
    rows = ([escape(each.name), *map(str, each.samples.values())] for each in shown.classes)
    return _table(("class", *shown.splits), rows)


def _ranges(shown: "DataShown") -> Table:
    rows = (
        [f"{side} {escape(each.name)}"]
        + [f"{value:.4g}" for value in (each.least, each.greatest, each.mean, each.std)]
        for side, ranges in (("input", shown.inputs), ("output", shown.outputs))
        for each in ranges
    )
    return _table(("channel", "least", "greatest", "mean", "deviation"), rows)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = output.folding(*columns)
    for row in rows:
        table.add_row(*row)
    return table


def _show(found: "DataList") -> None:
    """Print a table of tasks with the ways to get their data, and the same of sources."""
    console = stdout()
    console.print(_tasks(found.tasks), "")
    for task in found.tasks:
        print_text(console, _ways(task))
    console.print("", _sources(found.proxies), "")
    for source in found.proxies:
        then = f"\n  and then: {source.import_}" if source.import_ else ""
        text = f"{source.name}:\n  {source.obtain}{then}"
        print_text(console, text)


def _tasks(tasks: Iterable["TaskData"]) -> Table:
    columns = ("task", "samples", "input", "output", "size", "metric", "here", "licence")
    return _table(columns, map(_cells, tasks))


def _cells(task: "TaskData") -> list[str]:
    numbers = ["-"] * 4  # what an own task has is known once its data are imported
    if task.samples > 0:
        shapes = [" x ".join(map(str, side)) or "label" for side in (task.shape, task.output_shape)]
        numbers = [str(task.samples), *shapes, _size(task.bytes)]
    return [task.name, *numbers, task.metric, _here(task), task.licence]


def _sources(sources: Iterable["SourceData"]) -> Table:
    rows = (
        [
            *(source.name, f"{source.dimension}{', masks' * source.dense}", str(source.classes)),
            *(source.contents, "yes" if source.present else "no", source.licence),
        ]
        for source in sources
    )
    return _table(("source", "for", "classes", "contents", "here", "licence"), rows)


def _ways(task: "TaskData") -> str:
    """Return the ways to get a task's data: commands to copy, and where its files are."""
    ways = [task.obtain] if task.obtain and task.obtain != task.import_ else []
    if published := task.published:
        size = _size(10**6 * published.megabytes)
        ways.append(f"fetch {published.address} ({size}, {published.licence})")
        ways.append(f"  and then: {task.import_}")
    return "\n  ".join([f"{task.name}:", *ways])


def _here(task: "TaskData") -> str:
    sets, imported = task.here, "official" if task.published else "imported"
    generated = len(sets.generated)
    parts = [imported] * sets.official + [f"{generated} generated"] * bool(generated)
    return ", ".join(parts) or "no"


def _size(count: int) -> str:
    return format_bytes(count, digits=int(count >= 10**9))
