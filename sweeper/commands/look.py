"""Commands that look at sweeps and files, and start no trial."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.analysis.prose import validation_notes
from sweeper.analysis.table import StudyTable, read_table
from sweeper.analysis.usage import Usage, as_json, compared, read_usage
from sweeper.commands.remarks import parse_tag
from sweeper.core.policies import FailureBudget
from sweeper.errors import NotFound, SweeperError
from sweeper.ledger import EventKind, Ledger, SweepRecord
from sweeper.model import Trial, TrialState, trial_name
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.sweep_folder import all_folders, elsewhere, existing, living_state, started
from sweeper.text import printable, written


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


SHOWN = 5  # failed trials that are named
REASON = 1000  # characters of why one did


def summarize(ledger: Ledger, folder: Path) -> dict[str, Any]:
    """Returns the sweep's state and its studies, the same facts for people and machines."""
    table, usage = read_table(ledger), read_usage(ledger)
    record = table.record
    places = CheckpointPaths.recorded(folder, record.resolved)
    trials = [trial for study in table.studies for trial in study.trials]
    budget = FailureBudget(max_fraction=record.resolved["failures"]["max_failed_fraction"])
    without = [s.study.name for s in table.studies if s.best is None]
    failed = [t for t in trials if t.state is TrialState.FAILED]
    notes = [f"no complete trial: {name}" for name in without]
    notes += [printable(f"failed: {t.name}: {t.reason}", limit=REASON) for t in failed[:SHOWN]]
    if len(failed) > SHOWN:
        more = len(failed) - SHOWN
        notes.append(f"{more} more failed: sweeper status {record.name} --failed")
    notes += _noted(ledger)
    notes += [note for study in table.studies for note in validation_notes(study)]
    if any(s.best is not None and s.reached(s.best).is_replicated for s in table.studies):
        notes.append("validation and test of what has replicates are means over their seeds")
    notes += _cost(usage)
    tags, remarks = ledger.tags(), ledger.remarks()
    notes += [f"tags: {written(tags)}"] * bool(tags)
    notes += [f"note: {line}" for each in remarks for line in str(each).splitlines()]
    notes.append(f"all of it: {folder}; page: sweeper report {record.name}")
    return {
        "sweep": record.name,
        "state": record.state,
        "exit_code": 3 if without or not budget.is_within(trials) else 0,
        "profile": record.profile,
        "experiment": record.experiment,
        "folder": str(folder),
        "trials": count_states(trials),
        "studies": [_study(study, places) for study in table.studies],
        "cost": as_json(usage),
        "tags": tags,
        "remarks": [vars(each) for each in remarks],
        "notes": notes,
    }


def _noted(ledger: Ledger) -> list[str]:
    """Return the latest notes on trials: a checkpoint that was damaged, say."""
    noted = [
        f"{trial_name(event.study, event.number)}: {event.payload['text']}"
        for event in ledger.events(kinds=[EventKind.NOTED])
        if event.study is not None and event.number is not None
    ]
    lines = [printable(line, limit=REASON) for line in noted[-SHOWN:]]
    if len(noted) > SHOWN:
        lines.insert(
            0, f"{len(noted)} notes on trials (all: sweeper logs {ledger.name}), the last:"
        )
    return lines


def _cost(usage: Usage) -> list[str]:
    """Says what it took beside what had been predicted, and how full the slots were."""
    told = [
        f"{each.actual:.3g} {each.title} ({each.low:.3g} to {each.high:.3g})"
        for each in compared(usage)
    ]
    lines = [f"took, of what was predicted: {', '.join(told)}"] if told else []
    if usage.taken_over:
        lines.append(
            f"{usage.taken_over} epochs were taken over from trials that computed the same"
        )
    if usage.utilisation is not None:
        lines.append(f"trials ran in {usage.utilisation:.0%} of the time of its slots")
    return lines


def count_states(trials: Iterable[Trial]) -> dict[str, int]:
    """Returns how many trials are in each state, every state named."""
    states = [trial.state for trial in trials]
    return {state.value: states.count(state) for state in TrialState}


def _study(table: StudyTable, places: CheckpointPaths) -> dict[str, Any]:
    facts = ("data_source", "protocol", "backbone", "pretrained", "proxy")
    led = {"best": table.best, "control": table.control, "preset": table.preset}
    return {
        "study": table.study.name,
        "method": table.study.method,
        "task": table.study.task,
        "objective": table.study.objective,
        "trials": count_states(table.trials),
        **{name: _trial(table, trial, places) for name, trial in led.items()},
        "baselines": table.baselines,
        **{name: table.facts.get(name) for name in facts},
    }


def _trial(
    table: StudyTable, trial: Trial | None, places: CheckpointPaths
) -> dict[str, Any] | None:
    if trial is None:
        return None
    reached = table.reached(trial)
    return {
        "trial": trial.number,
        "kind": trial.kind.value,
        "state": trial.state.value,
        "value": trial.value,
        "epoch": trial.best_epoch,
        "validation": reached.validation,
        "test": reached.test,
        "seeds": len(reached.tests),
        "params": dict(trial.params),
        "checkpoint": places.checkpoint(trial),
    }


PROFILES = re.compile(r"""(^|[{,\s])["']?profiles["']?\s*:""")  # in a sweep file


def named_profile(text: str, profile: str) -> str:
    """Return the profile that a sweep file was read with, or nothing if the file has none."""
    return profile if PROFILES.search(text) else ""
