"""Adds to a sweep that has begun, and goes on with it: more trials, failed ones, one once more."""

from typing import Any

from rich.console import Console

from sweeper.commands.launch import Where, run
from sweeper.core.replication import next_number, repeat
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import Trial, TrialKind, TrialState
from sweeper.planning import load
from sweeper.planning.sweep_folder import existing, started
from sweeper.planning.trials import find_trial


def extend(name: str, trials: int, where: Where, *, console: Console) -> dict[str, Any]:
    """Goes on with a sweep until each study has `trials` trials.

    Raises:
        NotFound, SweepIsHeld: As for `resume`.
        UsageError: It has more already.
    """
    folder = existing(name, to_drive=True)
    with started(folder) as (ledger, record), ledger.hold() as lease:
        had = record.resolved["search"]["trials"]
        if trials < had:
            raise UsageError(f"--trials {trials}: sweep `{name}` has {had} a study already.")
        resolved = {**record.resolved, "search": {**record.resolved["search"], "trials": trials}}
        ledger.extend(resolved)
        extended = ledger.sweep()
        assert extended is not None
        return run(load.from_record(extended), ledger, lease, folder, where, console)


def retry(name: str, where: Where, *, console: Console) -> dict[str, Any]:
    """Tries the failed trials of a sweep again, from their last checkpoints.

    Raises:
        NotFound, SweepIsHeld: As for `resume`.
    """
    folder = existing(name, to_drive=True)
    with started(folder) as (ledger, record), ledger.hold() as lease:
        failed = [t for t in ledger.trials() if t.state is TrialState.FAILED]
        for trial in failed:
            ledger.reopen(trial.study, trial.number)
        console.print(f"{name}: {len(failed)} failed trials are tried again.")
        return run(load.from_record(record), ledger, lease, folder, where, console)


def rerun(
    name: str, trial: str, seed: int | None, where: Where, *, console: Console
) -> dict[str, Any]:
    """Runs one trial's configuration once more, from the start, as a trial beside the search.

    Args:
        seed: None takes the trial's own, and so gives the same numbers on the same CPU.

    Raises:
        NotFound, SweepIsHeld: As for `resume`; or there is no such trial.
    """
    folder = existing(name, to_drive=True)
    with started(folder) as (ledger, record), ledger.hold() as lease:
        origin = find_trial(ledger, trial)
        added = add_extra(ledger, origin, TrialKind.RERUN, origin.seed if seed is None else seed)
        summary = run(load.from_record(record), ledger, lease, folder, where, console)
        again = ledger.trial(added.study, added.number)
        summary["rerun"] = {
            "study": origin.study,
            "trial": again.number,
            "origin": origin.number,
            "seed": again.seed,
            "state": again.state.value,
            "value": again.value,
            "origin_value": origin.value,
        }
        summary["notes"] = [
            f"rerun of {origin.name}: {again.name} is {again.state.value}, "
            f"{again.value} where the first had {origin.value}",
            *summary["notes"],
        ]
        return summary


def add_extra(ledger: Ledger, origin: Trial, kind: TrialKind, seed: int) -> Trial:
    """Plans a trial with the configuration of `origin`, outside the search."""
    trial = repeat(origin, kind, next_number(ledger.trials(origin.study)), seed)
    ledger.add_trial(trial)
    return trial
