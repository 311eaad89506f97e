"""Commands that look at sweeps and files, and start no trial."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sweeper import lease
from sweeper.app import load
from sweeper.app.catalog import catalog
from sweeper.app.folder import all_folders, existing, open_ledger, started
from sweeper.app.summary import count_states, summarize
from sweeper.ledger import Ledger, SweepRecord


def validate(file: Path, options: load.Options) -> dict[str, Any]:
    """Checks a sweep file. Raises FileFaults with every fault."""
    sweep = load.read(file, options)
    studies = sweep.studies()
    text = f"{file}: valid; {len(studies)} studies of {sweep.search.trials} trials"
    return {
        "message": "\n".join([*sweep.notes, f"{text}, profile {sweep.profile}"]),
        "sweep": sweep.name,
        "profile": sweep.profile,
        "studies": [study.name for study in studies],
        "resolved": sweep.resolved,
    }


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a sweep file."""
    from sweeper.space.json_schema import json_schema

    return json_schema(catalog())


def sweeps() -> list[dict[str, Any]]:
    """Returns a line for each sweep in ./sweeps."""
    lines = []
    for folder in all_folders():
        ledger = open_ledger(folder)
        record = ledger.sweep()
        if record is not None:
            lines.append(_line(ledger, record, folder))
        ledger.close()
    return lines


def _line(ledger: Ledger, record: SweepRecord, folder: Path) -> dict[str, Any]:
    return {
        "sweep": record.name,
        "state": state_of(record, folder),
        "profile": record.profile,
        "studies": len(ledger.studies()),
        "trials": count_states(ledger.trials()),
        "age_s": time.time() - record.created_at,
    }


def state_of(record: SweepRecord, folder: Path) -> str:
    """Returns the sweep's state: one that says `running` but has no living driver has crashed."""
    crashed = record.state == "running" and not lease.is_held(folder)
    return "crashed" if crashed else record.state


def status(name: str) -> dict[str, Any]:
    """Returns a sweep's summary as of now. Raises NotFound."""
    folder = existing(name)
    with started(folder) as (ledger, record):
        return {**summarize(ledger, folder), "state": state_of(record, folder), "exit_code": 0}


def report(name: str, out: Path | None) -> dict[str, Any]:
    """Writes the sweep's page and returns where it is. Raises NotFound."""
    from sweeper.analysis.report import render_report

    folder = existing(name)
    with started(folder) as (ledger, _):
        path = out or folder / "report.html"
        path.write_text(render_report(ledger))
    return {"message": f"wrote {path}", "sweep": name, "path": str(path)}


def sync(name: str) -> dict[str, Any]:
    """Ships to MLflow what it has not yet received of a sweep. Raises NotFound, SweepIsHeld."""
    from sweeper.app.tracking import make_recorder

    folder = existing(name)
    with lease.hold(folder), started(folder) as (ledger, record):  # a launch ships for itself
        if record.state == "running":  # its driver died without a word
            ledger.end("interrupted")
        done = make_recorder(ledger, load.from_record(record)).sync()
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    text = f"shipped {done.shipped} records to {done.uri}{failed}"
    return {"message": text, "sweep": name, "shipped": done.shipped, "pending": done.pending}


def ui(port: int) -> None:
    """Runs MLflow's UI in the foreground on the store that launches here write to."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    subprocess.run(command, env={**os.environ, **quiet}, check=False)
