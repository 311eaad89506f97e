"""Trials of a search as a ledger has them, by which another process rebuilds it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sweeper.ledger.rows import dump_json, load_json
from sweeper.model import Trial
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.text import JsonObject
from trainables.report import Measurement


class Ran(NamedTuple):
    """A trial with what the sampler keeps of it, and of the study if that has changed."""

    trial: Trial
    history: tuple[Measurement, ...]
    study: JsonObject | None


def ran(it: OptunaSampler, trial: Trial, history: Sequence[Measurement]) -> Ran:
    """Return a trial with the sampler's state, written as JSON and read again."""
    state = it.state(trial.number)
    kept, study = load_json(dump_json([state.trial, state.study]))
    return Ran(replace(trial, sampler_state=kept), tuple(history), study)


def restore(it: OptunaSampler, runs: Sequence[Ran]) -> None:
    """Rebuild a search from its trials."""
    it.restore_study(next((run.study for run in reversed(runs) if run.study is not None), {}))
    for run in runs:
        it.restore(run.trial, run.history)
