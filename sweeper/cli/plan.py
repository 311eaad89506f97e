"""Commands about a sweep file: its plan, its faults, its schema, and the names it may use."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sweeper.address import is_dashboard
from sweeper.cli import output, tables
from sweeper.cli.options import (
    Address,
    AsJson,
    File,
    Include,
    Insecure,
    MaxArms,
    Name,
    Profile,
    Sets,
    Trials,
    all_sets,
)
from sweeper.cli.output import progress
from sweeper.console import stderr
from sweeper.errors import CannotSchedule, UsageError

METHODS = "orca,pare,mona,nft"  # that a new file has, unless others are named


Exploratory = Annotated[
    bool,
    typer.Option(
        "--exploratory",
        help="Accept too few seeds for the primary claim of its question (plan), or for a margin.",
    ),
]


def init(
    file: Annotated[
        Path | None,
        typer.Argument(help="The file to write, NAME.yaml; default: named after the tasks."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods, separated by commas: orca, pare, mona, nft, ...")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks by name, separated by commas; `sweeper data list` lists them."),
    ] = None,
    task_file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="A task file (*.task.yaml) of an own task that the sweep has; repeatable.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="What a trial of the profile `laptop` may take on a CPU core, about; default: 1."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Copy this shipped sweep file instead; `sweeper ls --shipped` lists them.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the file if it exists, and lose its changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented sweep file to start from; ask for what the options leave open.

    sweeper init wafer.yaml --methods orca,nft --task-file wafer.task.yaml
    """
    from sweeper.commands import init as app

    if source is not None:
        if methods or tasks or task_file or minutes is not None:
            options = "--methods, --tasks, --task-file and --minutes"
            raise UsageError(f"--from copies a file as it is: change the copy, without {options}.")
        output.show(app.copy(source, file, replace=replace), as_json=as_json, command="init")
        return
    asks = output.can_ask(as_json=as_json)
    names, files = _words(tasks), list(task_file or ())
    if not names and not files:
        if not asks:
            raise UsageError("which tasks? Say --tasks NAME,... or --task-file FILE.task.yaml.")
        for word in _words(typer.prompt("Tasks (names or *.task.yaml files, by commas)", err=True)):
            files.append(Path(word)) if word.endswith((".yaml", ".yml")) else names.append(word)
    if methods is None:
        if not asks:
            raise UsageError(f"which methods? Say --methods {METHODS}, or some of them.")
        methods = typer.prompt("Methods (by commas)", default=METHODS, err=True)
    if minutes is None:
        minutes = 1.0
        if asks:
            text = "Minutes that a trial may take on this machine"
            minutes = typer.prompt(text, default=1.0, type=float, err=True)
    written = app.init(
        file,
        methods=_words(methods),
        tasks=names,
        task_files=files,
        minutes=minutes,
        replace=replace,
    )
    output.show(written, as_json=as_json, command="init")


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def plan(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    max_arms: MaxArms = None,
    name: Name = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure first: train a few epochs of each study.")
    ] = False,
    address: Address = "local",
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NODES",
            help="Plan for a cluster of this description: '4 nodes x 8 GPUs, 96 CPUs'.",
        ),
    ] = None,
    include: Include = None,
    insecure: Insecure = False,
    exploratory: Exploratory = False,
    as_json: AsJson = False,
) -> None:
    """Show what a launch would run and take: studies, trials, epochs, data, hours and disk.

    The plan is for this machine, or for the cluster that --address or --cluster names. Exits with 7
    if no trial can run there, and with 2 if the primary claim of its question can never be
    significant with its seeds, or a margin is below what they can show.
    """
    from sweeper.commands import plan as app
    from sweeper.driver import remote
    from sweeper.planning.load import Options

    # A described cluster is not connected to, even where SWEEPER_ADDRESS names one.
    options = Options(
        profile=profile, sets=all_sets(sets, max_arms), trials=trials, name=name,
        address="local" if cluster else address, insecure=insecure, include=tuple(include or ()),
    )  # fmt: skip
    if is_dashboard(options.address):
        how = {"calibrate": calibrate, "exploratory": exploratory, "as_json": as_json}
        raise typer.Exit(remote.plan(file, options, **how))
    with progress("calibrate", stderr()) if calibrate else nullcontext() as listener:
        planned = app.plan(
            file, options, cluster=cluster, calibrate=listener, exploratory=exploratory
        )
    output.present(planned, tables.show_plan, command="plan", as_json=as_json)
    # The plan is printed by now, so the reasons go to stderr and in no second JSON object.
    if planned.unschedulable:
        error = CannotSchedule("\n".join(planned.unschedulable))
        output.show_error("plan", error, error.exit_code, as_json=False)
        raise typer.Exit(error.exit_code)


def validate(
    file: File,
    profile: Profile = "auto",
    sets: Sets = None,
    trials: Trials = None,
    max_arms: MaxArms = None,
    include: Include = None,
    exploratory: Exploratory = False,
    as_json: AsJson = False,
) -> None:
    """Check a sweep file, and list all its faults at once.

    Exits with 2 if it has any, or if a margin is below what its seeds can show.
    """
    from sweeper.commands import validate as app
    from sweeper.planning.load import Options

    options = Options(
        profile=profile, sets=all_sets(sets, max_arms), trials=trials, include=tuple(include or ())
    )
    found = app.validate(file, options, exploratory=exploratory)
    output.show(found, as_json=as_json, command="validate")


def schema(
    task: Annotated[bool, typer.Option("--task", help="Print that of task files.")] = False,
    of: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Print that of what this command prints with --json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of sweep files, for editors.

    sweeper schema --of "data list"     # for programs that run this command
    """
    from sweeper.commands import validate as app

    if of is not None and task:
        raise UsageError("--task and --of each name another schema: give one of them.")
    if of is None:
        found = app.schema(of_task=task)
    else:
        from sweeper.cli.json_schema import schema_of

        found = app.Schema(json_schema=schema_of(of))
    if as_json:
        output.print_result(found, "schema")
    else:
        output.print_json(found.json_schema)


def describe(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A method, task, backbone, distance, sampler or pruner; else: a sweep file."
        ),
    ] = None,
    include: Include = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown page.")] = False,
    as_json: AsJson = False,
) -> None:
    """Describe a method, task, backbone, distance, sampler or pruner, with all settings.

    sweeper describe --markdown     # the keys of a sweep file
    sweeper describe orca
    sweeper describe nasbench360/ecg
    sweeper describe dinov2_small
    sweeper describe tpe
    sweeper describe mine/wafer --include wafer.task.yaml
    """
    from sweeper.commands import reference as app

    found = app.reference(name, tuple(include or ()))
    by = partial(tables.show_reference, markdown=markdown)
    output.present(found, by, command="describe", as_json=as_json)
