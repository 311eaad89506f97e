"""What a sweep has found so far, and the exit code that says how it went."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeper.analysis.prose import validation_notes
from sweeper.analysis.table import StudyTable, read_table
from sweeper.analysis.usage import Usage, as_json, compared, read_usage
from sweeper.core.policies import FailureBudget
from sweeper.ledger import EventKind, Ledger
from sweeper.model import Trial, TrialState, trial_name
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.text import printable, written

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
