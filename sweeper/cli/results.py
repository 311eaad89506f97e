"""Commands that show the state and the results of sweeps."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeper.cli import completion, output, tables
from sweeper.cli.options import AsJson, SweepName, Trial, sweep_name
from sweeper.cli.output import progress
from sweeper.console import stderr
from sweeper.errors import GateNotMet, UsageError
from sweeper.model import trial_name


class PaperRow(StrEnum):
    """Further rows of a table for a paper."""

    control = "control"
    baselines = "baselines"
    published = "published"


Format = Literal["csv", "parquet", "latex"]  # of an export


def list_sweeps(
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]",
            help="Only sweeps with this tag; repeatable: sweeps with all of them.",
        ),
    ] = None,
    shipped: Annotated[
        bool,
        typer.Option("--shipped", help="The sweep files that `launch` knows by name, instead."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the sweeps in ./sweeps, or in the folder that SWEEPER_SWEEPS names."""
    from sweeper.commands import look

    if shipped:
        if tag:
            raise UsageError("--shipped lists files, which have no tags: leave out --tag.")
        output.present(look.shipped(), tables.show_shipped, command="ls", as_json=as_json)
        return
    by = partial(tables.show_sweeps, tags=tag or ())
    output.present(look.sweeps(tag or ()), by, command="ls", as_json=as_json)


def status(
    sweep: Annotated[
        str | None,
        typer.Argument(
            help="A sweep: its name in ./sweeps, or its folder; default: a line for each sweep.",
            callback=sweep_name,
            autocompletion=completion.sweeps,
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the failed trials, each with its reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a sweep, and its best trials so far."""
    from sweeper.commands import look

    if failed:
        if sweep is None:
            raise UsageError("--failed: of which sweep? Write: sweeper status SWEEP --failed")
        output.present(look.failed(sweep), tables.show_failed, command="status", as_json=as_json)
    elif sweep is None:
        output.present(look.sweeps(), tables.show_sweeps, command="status", as_json=as_json)
    else:
        output.present(look.status(sweep), tables.show_summary, command="status", as_json=as_json)


def report(
    sweep: SweepName,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write; default: report.html of the sweep."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a sweep."""
    from sweeper.commands import results
    from sweeper.planning.sweep_folder import existing

    output.show(results.report(existing(sweep), out), as_json=as_json, command="report")


def watch(
    sweep: SweepName,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the page; 0: a free one.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Serve the page of a sweep to this machine, and update it while trials run, until Ctrl-C.

    The page asks for the token in the file that is printed, as Ray's dashboard does. Nothing is
    written, and nothing is done while nobody looks at it.
    """
    from sweeper.commands import watch as app

    app.watch(sweep, port, say=partial(output.announce, command="watch", as_json=as_json))


def compare(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            help="Sweeps: their names in ./sweeps, or their folders.",
            metavar="SWEEP...",
            autocompletion=completion.sweeps,
        ),
    ],
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Compare each method with this one only, or with its own `control` (vanilla "
            "fine-tuning, not tuned); default: every pair.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page about the comparison, too.")
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a table for a paper (booktabs): tasks as rows, methods as columns.",
        ),
    ] = None,
    rows: Annotated[
        list[PaperRow] | None,
        typer.Option("--with", help="Further rows of the table of --latex; repeatable."),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            metavar="CLAIM",
            help="Exit with 9 unless it holds: 'pare < mona on pdebench/advection_1d', several "
            "joined by `and`. < holds if the mean is lower and p, corrected, is below 0.05; "
            "<= if the mean is not higher, whatever p. Where the better one does not beat the "
            "floor, it fails unless it ends in `below floor`. A method may be `control`, which is "
            "not tuned, or an arm: 'orca < orca align.epochs=0 on ...'.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR",
            help="Compare the levels of this factor of an ablation (`compare_by`), such as "
            "refine.freeze, over all other factors; default: all arms.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="Print the columns of specialists, too: how far validation rises, its jaggedness, "
            "d_z and the detectable difference.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which method has the lower error on each task, and which cannot be told apart.

    Methods are compared over paired seeds. Differences are tested by sign-flips of the pairs (exact
    up to 20), and corrected by Holm for all comparisons of a task. Fewer than 6 replicates
    (`replicate: {seeds: 6}` in the sweep file) show nothing.
    """
    from sweeper.commands import results
    from sweeper.planning.sweep_folder import name_of

    if rows and latex is None:
        raise UsageError("--with adds rows to the table of --latex FILE: give that option, too.")
    if html is not None and html == latex:
        raise UsageError(f"--html and --latex both write {html}: name two files.")
    found = results.compare(
        [name_of(each) for each in sweeps],
        tasks=task or (),
        baseline=baseline,
        by=by,
        gate=gate,
        html=html,
        latex=None if latex is None else results.PaperTable(path=latex, rows=tuple(rows or ())),
    )
    in_tables = partial(tables.show_comparison, is_verbose=verbose)
    output.present(found, in_tables, command="compare", as_json=as_json)
    # The JSON object, which has the gate, is printed by now: the reasons go to stderr alone.
    if found.gate is not None and not found.gate.met:
        failed = [f"{each.claim}: {each.why}" for each in found.gate.claims if not each.is_met]
        error = GateNotMet("\n".join(f"gate not met: {line}" for line in failed))
        output.show_error("compare", error, error.exit_code, as_json=False)
        raise typer.Exit(error.exit_code)


def best(
    sweep: SweepName,
    study: Annotated[
        str | None,
        typer.Option(
            help="Print the best configuration of this study as a sweep file to launch.",
            autocompletion=completion.studies,
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="List this many trials of each study, the best first.")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Take the best by this one of `search.objectives`, such as seconds; default: the "
            "first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the best settings of each study, or print those of one study as a sweep file.

    The best trial has the best validation value: the mean over the seeds of its replicates, if it
    has any. A trial that breaks one of `search.constraints` is never the best.

        sweeper best mona_pdebench --study mona/pdebench/advection_1d > best.yaml
    """
    from sweeper.commands import results

    found = results.best(sweep, study, top, objective)
    output.present(found, tables.show_best, command="best", as_json=as_json)


def export(
    sweep: SweepName,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="csv and parquet: every trial; latex: a table of the methods. Default: by the "
            "suffix of the file (.csv, .parquet, .tex), or else csv.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write; default: print to the terminal."),
    ] = None,
    optuna: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Write each study, with its ended trials, into a database of Optuna, such as "
            "sqlite:///optuna.db, for optuna-dashboard. A second time it adds what is missing.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the trained model of one trial into a new folder instead: weights, "
            "configuration, normalisation and a model card.",
        ),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the evidence of a finished sweep into a folder instead, from which "
            "`sweeper reproduce` makes its page: the numbers of each seed, their key and a figure.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            help="With --model: the best trial of this study; default: of the only study.",
            autocompletion=completion.studies,
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            help="With --model: this trial, as STUDY/NUMBER.", autocompletion=completion.trials
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write every trial with all its parameters, metrics and states, or a table for a paper.

    With --model, write a trained model that can be loaded without the sweep, its data and its
    pretrained weights:

        sweeper export mona_pdebench --study mona/pdebench/advection_1d --model advection
        sweeper predict advection waves.npy -o predicted.npy
    """
    from sweeper.commands import results

    others = {"--optuna": optuna, "--model": model, "--evidence": evidence}
    if len(given := [option for option, value in others.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(given)} each write something else: give one of them.")
    if evidence is not None:
        if form is not None or out is not None or study is not None or trial is not None:
            raise UsageError("--evidence writes files about the whole sweep: give no other option.")
        output.show(results.export_evidence(sweep, evidence), command="export", as_json=as_json)
        return
    if optuna is not None:
        from sweeper.commands.optuna import export as export_optuna

        if form is not None or out is not None:
            raise UsageError("--optuna writes into a database: leave --format and --out out.")
        output.show(export_optuna(sweep, optuna), command="export", as_json=as_json)
        return
    if model is not None:
        from sweeper.commands import models

        if form is not None or out is not None:
            raise UsageError("--model writes a folder, without --format and --out: leave them out.")
        written = models.export_model(sweep, model, study=study, trial=trial)
        output.show(written, command="export", as_json=as_json)
        return
    if study is not None or trial is not None:
        raise UsageError("--study and --trial choose the trial of --model DIR: add that option.")
    _export_trials(sweep, form, out, as_json=as_json)


def _export_trials(sweep: str, form: Format | None, out: Path | None, *, as_json: bool) -> None:
    from sweeper.commands import results

    if as_json and out is None:
        if form is not None:
            raise UsageError("--json prints trials: leave --format out, or name a file with -o.")
        output.print_result(results.trials(sweep), "export")
        return
    found = results.export(sweep, form, out)
    # The text may be redirected into a file, so no console may wrap or escape it.
    if isinstance(found, str):
        print(found, end="")
    else:
        output.show(found, command="export", as_json=as_json)


def predict(
    model: Annotated[
        list[str],
        typer.Argument(
            help="A sweep, one of its trials (STUDY/NUMBER), and a file of inputs; or a folder of "
            "`sweeper export --model` (or an MLflow address, runs:/RUN_ID/model), and a file of "
            "inputs: .npz, .npy, .h5, .parquet, .arrow, .csv, .wav or a folder of .wav.",
            metavar="SWEEP TRIAL INPUT | DIR INPUT",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The file to write: .npz, .npy, .h5, .parquet or .csv."),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="The array of the file that holds the inputs (default: the only one, or x); of a "
            "table, a column or a glob over columns (default: all); repeatable."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Samples to compute at once; default: as in the evaluation of a trial."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict the samples of a file by a trained model, and write the predictions.

    Inputs are raw: samples first, then channels, then the grid, as the task's data have them before
    any normalisation. Classes give probabilities and labels; fields and numbers have the unit of
    the data.

        sweeper predict mona_pdebench mona/pdebench/advection_1d/7 waves.npz -o predicted.npz
    """
    from sweeper.commands import models
    from sweeper.planning.sweep_folder import name_of

    if len(model) not in (2, 3):
        raise UsageError("name a model and a file: SWEEP TRIAL INPUT, or DIR INPUT.")
    *words, inputs = model
    if len(words) == 2:
        words[0] = name_of(words[0])
    found = models.predict(words, Path(inputs), out, keys=key or (), batch_size=batch_size)
    output.show(found, command="predict", as_json=as_json)


def diagnose(
    sweep: SweepName,
    trial: Trial,
    number: Annotated[
        int | None, typer.Argument(min=0, help="The trial's number, if TRIAL names a study.")
    ] = None,
    what: Annotated[
        str | None,
        typer.Option(
            help="Some of landscape,intermediate,scatter,otdd; default: all that the trial allows."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=6, help="The most samples of each modality; fewer are faster.")
    ] = 512,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="cpu|cuda[:N]",
            help="Where to compute; default: as trials do, but on the CPU while a sweep runs here.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examine the best weights of a trial, and write the results as Parquet files to plot."""
    from sweeper.commands import diagnose as app

    chosen = None if what is None else [each.strip() for each in what.split(",")]
    with progress("diagnose", stderr()) as listener:
        name = trial if number is None else trial_name(trial, number)
        found = app.diagnose(
            sweep, name, what=chosen, samples=samples, progress=listener, device=device
        )
    output.present(found, tables.show_diagnosis, command="diagnose", as_json=as_json)
