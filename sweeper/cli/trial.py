"""`sweeper trial`: requests about one trial of a sweep, which runs or will go on."""

from typing import Annotated

import typer

from sweeper.cli import completion, output
from sweeper.cli.options import AsJson, SweepName, Trial, new_group

trial = new_group()


@trial.command("stop")
def stop_trial(sweep: SweepName, trial: Trial, as_json: AsJson = False) -> None:
    """Let a running trial end after its next epoch; its value stays, as that of a pruned one."""
    _ask("stop", sweep, trial, as_json)


@trial.command("skip")
def skip_trial(sweep: SweepName, trial: Trial, as_json: AsJson = False) -> None:
    """Let a trial that waits, or whose turn is yet to come, never begin."""
    _ask("skip", sweep, trial, as_json)


@trial.command("retry")
def retry_trial(sweep: SweepName, trial: Trial, as_json: AsJson = False) -> None:
    """Let one failed trial begin again, from its last checkpoint, while others run."""
    _ask("retry", sweep, trial, as_json)


@trial.command("add")
def add_trial(
    sweep: SweepName,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value of the trial, such as refine.lr=1e-3; all else is the preset. "
            "Repeatable.",
        ),
    ],
    study: Annotated[
        str | None,
        typer.Option(
            help="Only for this study, so that no comparison counts the trial; default: for each "
            "study that has all of these parameters.",
            autocompletion=completion.studies,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a trial with values of yours, outside the search.

    sweeper trial add mona_pdebench --set refine.lr=1e-3
    """
    from sweeper.commands import control
    from sweeper.planning.sweep_folder import existing

    answers = control.add_trial(existing(sweep), sets, study=study)
    output.show(answers, command="trial add", as_json=as_json)


def _ask(verb: str, sweep: str, trial: str, as_json: bool) -> None:
    from sweeper.commands import control
    from sweeper.ledger import RequestKind
    from sweeper.planning.sweep_folder import existing

    answers = control.ask(existing(sweep), RequestKind(f"{verb}_trial"), trial)
    output.show(answers, command=f"trial {verb}", as_json=as_json)
