"""Trials and their measurements in a line each, for tests in which nothing is trained."""

from typing import Any

from sweeper.ledger import Ledger, SweepRecord
from sweeper.model import Outcome, Study, Trial, TrialKind, TrialState
from trainables.report import Measurement

COMPLETE = Outcome(state=TrialState.COMPLETE)


def sampled(study: str = "nft/t", number: int = 0, **others: Any) -> Trial:
    """Return a trial, a sampled one unless `others` say what else it is."""
    plain = {"kind": TrialKind.SAMPLED, "params": {}, "seed": 0}
    return Trial(study=study, number=number, **plain | others)


def measured(epoch: int = 1, objective: float | None = None, **others: Any) -> Measurement:
    """Return what the stage `refine` measured, or what `others` say."""
    plain = {"stage": "refine", "num_epochs": 8, "metrics": {}}
    return Measurement(epoch=epoch, objective=objective, **plain | others)


def record(name: str = "s", **others: Any) -> SweepRecord:
    """Return the record of a sweep without settings, or with those of `others`."""
    plain = {"experiment": "e", "resolved": {}, "config_hash": "0", "profile": "paper", "text": ""}
    return SweepRecord(name=name, **plain | others)


def begin(ledger: Ledger, trial: Trial) -> int:
    """Add a trial to a ledger, after its study, and return its first attempt."""
    if trial.study not in [study.name for study in ledger.studies()]:
        method, _, task = trial.study.partition("/")
        ledger.add_study(
            Study(name=trial.study, method=method, task=task, objective="val/nrmse", seed=0)
        )
    ledger.add_trial(trial)
    return ledger.start_attempt(trial.study, trial.number)
