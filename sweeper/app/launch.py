"""Launches a sweep, or goes on with one: file -> ledger -> Ray Tune -> MLflow, then the summary."""

from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweeper import lease
from sweeper.app import load, resources
from sweeper.app.catalog import home
from sweeper.app.folder import existing, folder_of, open_ledger, started
from sweeper.app.load import Options
from sweeper.app.summary import summarize
from sweeper.app.tracking import make_recorder
from sweeper.execution import cluster as clusters
from sweeper.ledger import Ledger
from sweeper.space.sweep import Sweep

TOKEN = "ray_token"  # in SWEEPER_HOME; what a browser is asked for


def launch(file: Path, options: Options, *, console: Console) -> dict[str, Any]:
    """Runs the sweep of `file`, resumes it if it was begun, extends it if `--trials` grew.

    Returns its summary, with the exit code under `exit_code`.

    Raises:
        SweeperError: Nothing was started, and nothing was overwritten; the text says why.
    """
    sweep = load.read(file, options)
    for note in sweep.notes:
        console.print(escape(note), style="dim")
    folder = folder_of(sweep.name)
    if not folder.exists():
        resources.check_request(sweep, options.address)  # before anything is written
    with lease.hold(folder), closing(open_ledger(folder, options.storage)) as ledger:
        load.match(ledger, sweep, file.read_text())
        return _drive(sweep, ledger, folder, options.address, console)


def resume(name: str, *, address: str, console: Console) -> dict[str, Any]:
    """Goes on with the sweep `name`, as its ledger has it. Raises NotFound."""
    folder = existing(name)
    with lease.hold(folder), started(folder) as (ledger, record):
        return _drive(load.from_record(record), ledger, folder, address, console)


def _drive(
    sweep: Sweep, ledger: Ledger, folder: Path, address: str, console: Console
) -> dict[str, Any]:
    """Runs what the ledger lacks of a sweep."""
    record = ledger.sweep()
    assert record is not None
    planned = len(sweep.studies()) * sweep.search.trials
    done = sum(trial.state.is_finished for trial in ledger.trials())
    if done == planned:
        if record.state != "finished":  # its driver died in the last moment
            ledger.end("finished")
            make_recorder(ledger, sweep).sync()
        console.print(f"{sweep.name} is finished ({done} of {planned} trials); nothing to do.")
        return summarize(ledger, folder)
    if record.state != "new":
        console.print(f"{sweep.name}: resuming, {done} of {planned} trials are done.")
    resources.check_request(sweep, address)
    clusters.set_environment(home() / TOKEN)  # before Ray is imported
    from sweeper.app.drive import drive

    code = drive(sweep, ledger, folder, address=address, planned=planned, console=console)
    return {**summarize(ledger, folder), **({"exit_code": 128 + code} if code else {})}
