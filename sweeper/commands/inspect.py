"""Commands that look at sweeps and files, and start no trial."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from sweeper.address import is_dashboard, is_every_interface, is_loopback
from sweeper.commands import foreground, mlflow_ui
from sweeper.commands.files import write_file
from sweeper.commands.remarks import parse_tag
from sweeper.commands.summary import count_states, summarize
from sweeper.config.faults import shown
from sweeper.config.sweep import Sweep
from sweeper.config.yaml_reader import read_text
from sweeper.errors import CannotSchedule, NotFound, SweeperError, UsageError
from sweeper.ledger import Ledger, SweepRecord
from sweeper.model import TrialState
from sweeper.planning import child, load, resources
from sweeper.planning.catalog import catalog, home
from sweeper.planning.checkpoint_paths import DIAGNOSTICS_FOLDER, CheckpointPaths, folder_of_trial
from sweeper.planning.data import as_usage_errors
from sweeper.planning.refusals import missing
from sweeper.planning.sweep_folder import all_folders, elsewhere, existing, living_state, started
from sweeper.tracking.mlflow_store import has_pages

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
    from sweeper.config.json_schema import json_schema

    return json_schema(catalog())


def sweeps(tags: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return a line for each sweep in ./sweeps; with `tags`, for those that have all of them.

    Raises:
        UsageError: A tag is not written as NAME or NAME=VALUE.
    """
    wanted = [parse_tag(each) for each in tags]
    return [line for line in _lines() if all(_has(line["tags"], *each) for each in wanted)]


def _has(tags: Mapping[str, str], name: str, value: str) -> bool:
    return name in tags and value in ("", tags[name])


def _lines() -> list[dict[str, Any]]:
    lines, remotes = [], []
    for folder in all_folders():
        if (remote := elsewhere(folder)) is not None:
            remotes.append(remote)
            continue
        try:
            with started(folder) as (ledger, record):
                lines.append(_line(ledger, record))
        except NotFound:  # a folder of something else, or of a launch that was refused
            continue
        except SweeperError as error:  # a damaged ledger hides no other sweep
            lines.append(_unreadable(folder.name, error))
    if remotes:
        from sweeper.driver.remote import listed

        lines += listed(remotes)
    return lines


def _unreadable(name: str, error: SweeperError) -> dict[str, Any]:
    unknown = {"profile": "", "studies": 0, "trials": {}, "age_s": None, "tags": {}}
    return {"sweep": name, "state": "unreadable", **unknown, "reason": str(error)}


def _line(ledger: Ledger, record: SweepRecord) -> dict[str, Any]:
    return {
        "sweep": record.name,
        "state": living_state(record, ledger),
        "profile": named_profile(record.text, record.profile),
        "studies": len(ledger.studies()),
        "trials": count_states(ledger.trials()),
        "age_s": time.time() - record.created_at,
        "tags": ledger.tags(),
    }


def status(name: str) -> dict[str, Any]:
    """Returns a sweep's summary as of now. Raises NotFound."""
    folder = existing(name)
    with started(folder) as (ledger, record):
        return {**summarize(ledger, folder), "state": living_state(record, ledger), "exit_code": 0}


def failed(name: str) -> dict[str, Any]:
    """Return the failed trials of a sweep, each with its reason. Raises NotFound."""
    with started(existing(name)) as (ledger, _):
        trials = ledger.trials()
    found = [trial for trial in trials if trial.state is TrialState.FAILED]
    counts = Counter(trial.failure or "unknown" for trial in found)
    classes = ", ".join(f"{count} {failure}" for failure, count in counts.most_common())
    lines = [f"{len(found)} of {len(trials)} trials failed{f': {classes}' * bool(found)}"]
    if found:
        lines.append(f"what one printed: sweeper logs {name} {found[0].name}")
        lines.append(f"to try them again: sweeper retry {name} --failed")
    return {
        "sweep": name,
        "failed": [
            {
                "trial": trial.name,
                "study": trial.study,
                "number": trial.number,
                "kind": trial.kind.value,
                "failure": trial.failure,
                "attempts": trial.attempt,
                "reason": trial.reason,
            }
            for trial in found
        ],
        "notes": lines,
    }


def report(name: str, out: Path | None) -> dict[str, Any]:
    """Writes the sweep's page and returns where it is.

    Raises:
        NotFound: There is no such sweep.
        UsageError: `out` is a folder, or there is none to hold it.
        StorageFull: The page cannot be written.
    """
    from sweeper.analysis.report.report import render_report

    folder = existing(name)
    with started(folder) as (ledger, _):
        path = out or folder / "report.html"
        write_file(path, render_report(ledger))
    path = path.absolute()
    return {"message": f"wrote {path}", "sweep": name, "path": str(path)}


def sync(name: str) -> dict[str, Any]:
    """Ship to MLflow what it has not yet received of a sweep, and put deleted artifacts back.

    Raises:
        NotFound: No such sweep.
        SweepIsHeld: A launch runs it, and ships for itself.
    """
    from sweeper.driver.recorder import make_recorder

    folder = existing(name)
    with started(folder) as (ledger, record), ledger.hold():  # a launch ships for itself
        if record.state == "running":  # its driver died without a word
            ledger.end("interrupted")
        sweep = load.from_record(record)
        recorder = make_recorder(ledger, sweep, CheckpointPaths(folder, sweep.checkpoints.store))
        done = recorder.sync()
        for trial in ledger.trials() if done.restored else ():
            if (diagnostics := folder_of_trial(folder, trial) / DIAGNOSTICS_FOLDER).is_dir():
                recorder.attach(trial.study, trial.number, diagnostics)
        recorder.describe()
    failed = f"; {done.pending} are left: {done.last_error}" if done.pending else ""
    again = f"; artifacts of {done.restored} runs were put back" if done.restored else ""
    return {
        "message": f"shipped {done.shipped} records to {done.page or done.uri}{failed}{again}",
        "sweep": name,
        "shipped": done.shipped,
        "pending": done.pending,
        "restored": done.restored,
    }


def ui(host: str, port: int, *, insecure: bool, say: Callable[[str], None]) -> None:
    """Runs MLflow's UI in the foreground on the store that launches here write to.

    Where that is a server, which has its own UI, says where and returns.

    Args:
        say: Takes lines that say where the runs are, once it answers.

    Raises:
        Interrupted: A signal ended it, and with it all that it had started.
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
    reached = "127.0.0.1" if is_every_interface(host) else host
    server = f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
    Thread(target=mlflow_ui.announce, args=(server, say), daemon=True).start()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # it may hold a password, which arguments would show
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = ["ui", "--host", host, "--port", str(port), "--workers", "1"]
    foreground.run([*child.command("mlflow"), *arguments], child.environment(**settings))
