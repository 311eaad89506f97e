"""Commands that look at sweeps and files, and start no trial."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

from sweeper.address import is_loopback
from sweeper.app import load, mlflow_ui
from sweeper.app.catalog import catalog
from sweeper.app.folder import all_folders, elsewhere, existing, open_ledger, started
from sweeper.app.summary import count_states, summarize
from sweeper.errors import SweeperError, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.recording.mlflow_pages import has_pages
from sweeper.space.faults import shown


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
        "profile": record.profile,
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
    with started(folder) as (ledger, record), ledger.hold():  # a launch ships for itself
        if record.state == "running":  # its driver died without a word
            ledger.end("interrupted")
        done = make_recorder(ledger, load.from_record(record)).sync()
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    text = f"shipped {done.shipped} records to {done.page or done.uri}{failed}"
    return {"message": text, "sweep": name, "shipped": done.shipped, "pending": done.pending}


def ui(host: str, port: int, *, insecure: bool, say: Callable[[str], None]) -> None:
    """Runs MLflow's UI in the foreground on the store that launches here write to.

    Where that is a server, which has its own UI, says where and returns.

    Args:
        say: Takes lines that say where the runs are, once it answers.

    Raises:
        UsageError: Others on the network could reach it, and `insecure` does not allow that.
    """
    if not (insecure or is_loopback(host)):
        raise UsageError(
            f"--host {shown(host)}: others on the network could read and change all that MLflow "
            "holds. Leave it out (127.0.0.1), or add --insecure."
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    if has_pages(uri):
        for line in mlflow_ui.lines(uri):
            say(line)
        return
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    server = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    Thread(target=mlflow_ui.announce, args=(server, say), daemon=True).start()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # it may hold a password, which arguments would show
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    subprocess.run([*command, "--workers", "1"], env={**os.environ, **settings}, check=False)
