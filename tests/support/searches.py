"""Trials of a search as a ledger has them, by which another process rebuilds it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sweeper.ledger.rows import dump_json, load_json
from sweeper.model import Params, Trial, TrialState
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.search.factories import PrunerFactory, SamplerFactory
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.spec.distributions import Distribution
from sweeper.text import JsonObject
from tests.support.trials import measured, sampled
from trainables.report import Measurement


def search_of(
    space: Mapping[str, Distribution],
    draw: str | SamplerFactory = "tpe",
    prune: str | PrunerFactory = "none",
    *,
    least: int = 1,
    eta: int = 2,
    **options: Any,
) -> OptunaSampler:
    """Return a search by a sampler and a pruner, each of which is a factory or named."""
    sampler = SAMPLERS[draw] if isinstance(draw, str) else draw
    pruner = (PRUNERS[prune] if isinstance(prune, str) else prune)(min_epochs=least, eta=eta)
    usual = {"seed": 0, "startup_trials": 4}
    return OptunaSampler(space, sampler=sampler, pruner=pruner, **usual | options)


class Ran(NamedTuple):
    """A trial with what the sampler keeps of it, and of the study if that has changed."""

    trial: Trial
    history: tuple[Measurement, ...]
    study: JsonObject | None


def drawn(
    number: int, params: Params, state: TrialState = TrialState.COMPLETE, value: float | None = None
) -> Trial:
    """Return a trial for which a search has drawn all parameters."""
    return sampled("s", number, params=params, sampled=tuple(params), state=state, value=value)


def run_curve(
    it: OptunaSampler, number: int, params: Params, level: float, *, fixed: Params | None = None
) -> Ran:
    """Run a trial of drawn parameters on the curve `level` + 1 / epoch, unless it is pruned."""
    history, state = list[Measurement](), TrialState.COMPLETE
    for epoch in range(1, 9):
        history.append(measured(epoch, level + 1 / epoch))
        if it.should_prune(number, history[-1]) and epoch < 8:
            state = TrialState.PRUNED
            break
    trial = drawn(number, params, state, level + 1 / len(history))
    it.tell(trial)
    return ran(it, replace(trial, params={**params, **(fixed or {})}), history)


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
