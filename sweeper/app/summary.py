"""What a sweep has found so far, read off its ledger: the same facts for people and machines."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeper.ledger import Ledger
from sweeper.policies import FailureBudget
from sweeper.study import Study, Trial, TrialKind, TrialState


def summarize(ledger: Ledger, folder: Path) -> dict[str, Any]:
    """Returns the sweep's state, its studies, and the exit code that says how it went."""
    record = ledger.sweep()
    assert record is not None
    trials = ledger.trials()
    studies = [_study(study, ledger) for study in ledger.studies()]
    budget = FailureBudget(max_fraction=record.resolved["failures"]["max_failed_fraction"])
    without = [s["study"] for s in studies if s["best"] is None]
    notes = [f"no complete trial: {name}" for name in without]
    failed = [t for t in trials if t.state is TrialState.FAILED]
    notes += [f"failed: {t.study} {t.number:03d}: {t.reason}" for t in failed[:5]]
    notes.append(f"all of it: {folder}; page: sweeper report {record.name}")
    return {
        "sweep": record.name,
        "state": record.state,
        "exit_code": 3 if without or not budget.is_within(trials) else 0,
        "profile": record.profile,
        "experiment": record.experiment,
        "folder": str(folder),
        "trials": count_states(trials),
        "studies": studies,
        "notes": notes,
    }


def count_states(trials: Iterable[Trial]) -> dict[str, int]:
    """Returns how many trials are in each state, every state named."""
    counts = Counter(trial.state for trial in trials)
    return {state.value: counts.get(state, 0) for state in TrialState}


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Returns the complete trial with the lowest validation value; the control is no candidate."""
    complete = [
        t for t in trials if t.state is TrialState.COMPLETE and t.kind is not TrialKind.CONTROL
    ]
    return min(complete, key=lambda t: (t.value is None, t.value), default=None)


def _study(study: Study, ledger: Ledger) -> dict[str, Any]:
    trials, facts = ledger.trials(study.name), ledger.facts(study.name)
    control = next((t for t in trials if t.kind is TrialKind.CONTROL), None)
    preset = next((t for t in trials if t.kind is TrialKind.PRESET), None)
    return {
        "study": study.name,
        "method": study.method,
        "task": study.task,
        "objective": study.objective,
        "trials": count_states(trials),
        "best": _trial(best_of(trials), study),
        "control": _trial(control, study),
        "preset": _trial(preset, study),
        "baselines": facts["baselines"],
        "data_source": facts["data_source"],
        "protocol": facts["protocol"],
        "backbone": facts["backbone"],
        "pretrained": facts["pretrained"],
    }


def _trial(trial: Trial | None, study: Study) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "trial": trial.number,
        "kind": trial.kind.value,
        "state": trial.state.value,
        "value": trial.value,
        "epoch": trial.best_epoch,
        "test": trial.test.get(study.objective.replace("val/", "test/")),
        "params": dict(trial.params),
        "checkpoint": trial.checkpoint,
    }
