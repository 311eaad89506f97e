"""Commands that look at sweeps and files, and start no trial."""

import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sweeper.address import is_dashboard, is_loopback
from sweeper.app import load, resources
from sweeper.app.catalog import catalog, home
from sweeper.app.data import as_usage_errors
from sweeper.app.folder import all_folders, elsewhere, existing, open_ledger, started
from sweeper.app.refusals import missing
from sweeper.app.summary import count_states, summarize
from sweeper.app.written import write_file
from sweeper.errors import CannotSchedule, SweeperError, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.space.faults import shown
from sweeper.space.sweep import Sweep
from sweeper.space.yaml_reader import read_text

PROFILES = re.compile(r"""(^|[{,\s])["']?profiles["']?\s*:""")  # in a sweep file


def validate(file: Path, options: load.Options) -> dict[str, Any]:
    """Checks a sweep file. Raises FileFaults with every fault."""
    sweep = load.read(file, options)
    studies = sweep.studies()
    profile = named_profile(read_text(file), sweep.profile)
    text = f"{file}: valid; {len(studies)} studies of {sweep.search.trials} trials"
    notes = [*sweep.notes, *_missing_here(sweep, options), *_unschedulable_here(sweep, options)]
    return {
        "message": "\n".join([*notes, f"{text}{f', profile {profile}' if profile else ''}"]),
        "sweep": sweep.name,
        "profile": profile,
        "notes": notes,
        "studies": [study.name for study in studies],
        "resolved": sweep.resolved,
    }


def _missing_here(sweep: Sweep, options: load.Options) -> list[str]:
    """Return one line about what a launch of the sweep on this machine would lack."""
    if is_dashboard(options.address):
        return []
    with as_usage_errors():
        every = (line for study in sweep.studies() for line in missing(study, home()))
        lacking = list(dict.fromkeys(line.partition(": ")[0] for line in every))
    if not lacking:
        return []
    return [
        f"not ready on this machine: {', '.join(lacking)}; `sweeper plan` says what is to be done."
    ]


def _unschedulable_here(sweep: Sweep, options: load.Options) -> list[str]:
    """Return why no trial of the sweep can run on this machine."""
    try:
        resources.check_request(sweep, options.address)
    except CannotSchedule as error:
        return [f"on this machine: {error}"]
    return []


def named_profile(text: str, profile: str) -> str:
    """Return the profile that a sweep file was read with, or nothing if the file has none."""
    return profile if PROFILES.search(text) else ""


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a sweep file."""
    from sweeper.space.json_schema import json_schema

    return json_schema(catalog())


def sweeps() -> list[dict[str, Any]]:
    """Returns a line for each sweep in ./sweeps."""
    lines, remotes = [], []
    for folder in all_folders():
        if (remote := elsewhere(folder)) is not None:
            remotes.append(remote)
            continue
        try:
            with closing(open_ledger(folder)) as ledger:
                if (record := ledger.sweep()) is not None:
                    lines.append(_line(ledger, record))
        except SweeperError as error:  # a damaged ledger hides no other sweep
            lines.append(_unreadable(folder.name, error))
    if remotes:
        from sweeper.app.remote import listed

        lines += listed(remotes)
    return lines


def _unreadable(name: str, error: SweeperError) -> dict[str, Any]:
    unknown = {"profile": "", "studies": 0, "trials": {}, "age_s": None}
    return {"sweep": name, "state": "unreadable", **unknown, "reason": str(error)}


def _line(ledger: Ledger, record: SweepRecord) -> dict[str, Any]:
    return {
        "sweep": record.name,
        "state": state_of(record, ledger),
        "profile": named_profile(record.text, record.profile),
        "studies": len(ledger.studies()),
        "trials": count_states(ledger.trials()),
        "age_s": time.time() - record.created_at,
    }


def state_of(record: SweepRecord, ledger: Ledger) -> str:
    """Returns the sweep's state: one that says `running` but has no living driver has crashed."""
    crashed = record.state == "running" and ledger.holder() is None
    return "crashed" if crashed else record.state


def status(name: str) -> dict[str, Any]:
    """Returns a sweep's summary as of now. Raises NotFound."""
    folder = existing(name)
    with started(folder) as (ledger, record):
        return {**summarize(ledger, folder), "state": state_of(record, ledger), "exit_code": 0}


def report(name: str, out: Path | None) -> dict[str, Any]:
    """Writes the sweep's page and returns where it is.

    Raises:
        NotFound: There is no such sweep.
        UsageError: `out` is a folder, or there is none to hold it.
        StorageFull: The page cannot be written.
    """
    from sweeper.analysis.report import render_report

    folder = existing(name)
    with started(folder) as (ledger, _):
        path = out or folder / "report.html"
        write_file(path, render_report(ledger))
    return {"message": f"wrote {path}", "sweep": name, "path": str(path)}


def sync(name: str) -> dict[str, Any]:
    """Ship to MLflow what it has not yet received of a sweep, and put deleted artifacts back.

    Raises:
        NotFound: No such sweep.
        SweepIsHeld: A launch runs it, and ships for itself.
    """
    from sweeper.app.places import DIAGNOSTICS_FOLDER, folder_of_trial
    from sweeper.app.tracking import make_recorder

    folder = existing(name)
    with started(folder) as (ledger, record), ledger.hold():  # a launch ships for itself
        if record.state == "running":  # its driver died without a word
            ledger.end("interrupted")
        recorder = make_recorder(ledger, load.from_record(record))
        done = recorder.sync()
        for trial in ledger.trials() if done.restored else ():
            if (diagnostics := folder_of_trial(folder, trial) / DIAGNOSTICS_FOLDER).is_dir():
                recorder.attach(trial.study, trial.number, diagnostics)
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    again = f"; artifacts of {done.restored} runs were put back" if done.restored else ""
    return {
        "message": f"shipped {done.shipped} records to {done.uri}{failed}{again}",
        "sweep": name,
        "shipped": done.shipped,
        "pending": done.pending,
        "restored": done.restored,
    }


def ui(host: str, port: int, *, insecure: bool) -> None:
    """Runs MLflow's UI in the foreground on the store that launches here write to.

    Raises:
        UsageError: Others on the network could reach it, and `insecure` does not allow that.
    """
    if not (insecure or is_loopback(host)):
        raise UsageError(
            f"--host {shown(host)}: others on the network could read and change all that MLflow "
            "holds. Leave it out (127.0.0.1), or add --insecure."
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # it may hold a password, which arguments would show
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    subprocess.run([*command, "--workers", "1"], env={**os.environ, **settings}, check=False)
