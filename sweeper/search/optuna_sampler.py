"""Samplers and pruners of Optuna behind the protocol `Sampler`, by ask and tell, in memory.

The Optuna study is not stored: `restore` rebuilds it from the ledger. The seed of each suggestion
depends on the study's seed and the trial's number, so that a resumed sweep neither repeats nor
skips a draw. Only this module, and `samplers.GaussianProcess`, use private attributes of Optuna.
"""

import copy
import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import optuna
from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import InMemoryStorage

from sweeper.config.distributions import Choice, Distribution, Float, Int, is_active
from sweeper.config.node import Scalar
from sweeper.config.search.goals import Goals
from sweeper.errors import SweeperError
from sweeper.model import Measurement, Params, Trial, TrialState
from sweeper.search.factories import Context, SamplerFactory, experimental, takes_context
from sweeper.search.priors import Centre, sampler_around
from sweeper.search.spaces import distribution_of

optuna.logging.set_verbosity(optuna.logging.ERROR)

STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.PAUSED: optuna.trial.TrialState.PRUNED,  # a sampler learns from how far it came
}
PLAIN = Goals()  # the objective of the study alone


class OptunaSampler:
    """The search of one study. A parameter comes after the ones that its condition names.

    Args:
        prunes: Trials may be pruned or paused, not only by `pruner`.
        centres: Good values around which some trials are drawn; empty: the sampler draws all.
        goals: The objectives and constraints, with the objective of the study first. With several
            objectives nothing is pruned: no pruner compares trials by more than one.
    """

    def __init__(
        self,
        parameters: Mapping[str, Distribution],
        *,
        sampler: SamplerFactory,
        pruner: BasePruner,
        prunes: bool,
        seed: int,
        startup_trials: int,
        centres: Sequence[Centre] = (),
        goals: Goals = PLAIN,
    ) -> None:
        self._parameters, self._centres, self._goals = parameters, centres, goals
        self._factory, self._seed, self._startup = sampler, seed, startup_trials
        self._pruner, self._prunes = pruner, prunes
        # Optuna's pruners may draw by the study's name, which would be random.
        self._study = optuna.create_study(
            directions=["minimize"] * max(1, len(goals.objectives)),
            pruner=pruner,
            study_name=str(seed),
        )
        self._quantities: dict[int, Mapping[str, float]] = {}  # if there are goals
        self._trials: dict[int, optuna.Trial] = {}  # trial number -> trial of Optuna

    def ask(self, number: int, given: Params | None = None) -> Params:
        """Return values of the active parameters of trial `number`, including the `given` ones."""
        chosen: dict[str, Scalar] = {}
        with _told(f"the sampler of trial {number}"):
            self._study.sampler = self._make_sampler(number, given or {})
            trial = self._study.ask()
            self._trials[number] = trial
            for name, parameter in self._parameters.items():
                if is_active(parameter, chosen):
                    chosen[name] = _suggest(trial, name, parameter)
                    if not _is_in_range(parameter, chosen[name]):
                        raise ValueError(f"{name}: {chosen[name]!r} is outside of its range")
        return chosen

    def should_prune(self, number: int, measurement: Measurement) -> bool:
        """Report the objective of an epoch, and return the pruner's decision."""
        if self._goals.has_several:
            return False
        trial, value = self._trials[number], measurement.objective
        assert value is not None
        if measurement.epoch in self._frozen(trial).intermediate_values:
            return False  # a new attempt has repeated the epoch
        with _told(f"the pruner of trial {number}"):
            trial.report(value, measurement.epoch)
            return trial.should_prune()

    def observe(self, number: int, quantities: Mapping[str, float]) -> None:
        """Record the quantities of a trial for the goals, before it pauses, ends or is restored."""
        self._quantities[number] = quantities
        if number in self._trials:
            attributes = constraint_attributes(self._goals.violations(quantities))
            for key, value in attributes.items():  # those of an earlier pause are replaced
                self._study._storage.set_trial_system_attr(
                    self._trials[number]._trial_id, key, value
                )

    def _end(self, trial: Trial) -> tuple[list[float] | None, optuna.trial.TrialState]:
        """Return the values and the state with which Optuna records the end of a trial.

        A trial without one of several values counts as failed, also if it is pruned: its settings
        contradict each other.
        """
        state = STATES.get(trial.state, optuna.trial.TrialState.RUNNING)
        if not self._goals.has_several:
            is_complete, value = trial.state is TrialState.COMPLETE, trial.value
            return ([value] if is_complete and value is not None else None), state
        if not state.is_finished():
            return None, state
        known = self._quantities.get(trial.number, {})
        values = [known[name] for name in self._goals.objectives if name in known]
        if trial.state is TrialState.COMPLETE and len(values) == len(self._goals.objectives):
            return values, state
        return None, optuna.trial.TrialState.FAIL

    def pause(self, number: int) -> None:
        """Let samplers learn from the values of a paused trial, as from those of a pruned one."""
        self._set_state(number, optuna.trial.TrialState.PRUNED)

    def resume(self, number: int) -> None:
        """Let a paused trial run again."""
        self._set_state(number, optuna.trial.TrialState.RUNNING)

    def _set_state(self, number: int, state: optuna.trial.TrialState) -> None:
        """Set the state of an unfinished trial. Optuna's own call refuses the way back to RUNNING.

        TPE counts running trials among the bad ones, and pruned ones by how far they came.
        """
        frozen = copy.copy(self._frozen(self._trials[number]))
        frozen.state = state
        frozen.datetime_complete = datetime.now() if state.is_finished() else None
        storage = self._study._storage
        assert isinstance(storage, InMemoryStorage)
        storage._set_trial(self._trials[number]._trial_id, frozen)

    def tell(self, trial: Trial) -> None:
        """Record the end of a trial, with its values if it is complete."""
        values, state = self._end(trial)
        self._study.tell(self._trials[trial.number], values, state=state)

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        """Add a trial of an earlier run, with the rungs that it has reached.

        SuccessiveHalvingPruner stores rungs in system attributes. Without them it would ignore this
        trial when it judges later ones.
        """
        sampled = {name: trial.params[name] for name in trial.sampled}
        values = {m.epoch: m.objective for m in measurements if m.objective is not None}
        ended, state = self._end(trial)
        known = self._quantities.get(trial.number)
        frozen = optuna.trial.create_trial(
            state=state,
            values=ended,
            params=sampled,
            distributions={name: distribution_of(self._parameters[name]) for name in sampled},
            intermediate_values={} if self._goals.has_several else values,
            system_attrs=rungs(self._pruner, values),
            constraints=None if known is None else self._goals.violations(known),
        )
        # `Study.add_trial` does not return the trial's id.
        storage, study_id = self._study._storage, self._study._study_id
        stored = storage.create_new_trial(study_id, template_trial=frozen)
        self._trials[trial.number] = optuna.Trial(self._study, stored)

    def _frozen(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        return self._study._storage.get_trial(trial._trial_id)

    def _make_sampler(self, number: int, given: Params) -> BaseSampler:
        seed = (self._seed + 1_000_003 * (number + 1)) % 2**32
        factory, startup = self._factory, self._startup
        with experimental():
            if takes_context(factory):
                index = len(self._trials)
                sampler = factory(
                    seed=seed,
                    study_seed=self._seed,
                    startup_trials=startup,
                    context=Context(space=self._parameters, prunes=self._prunes, index=index),
                )
            else:
                sampler = factory(seed=seed, study_seed=self._seed, startup_trials=startup)
            if self._centres:
                around = sampler_around(
                    self._centres, self._parameters, self._study, seed=seed, startup=startup
                )
                sampler = around or sampler
            return PartialFixedSampler(dict(given), sampler) if given else sampler


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Print a traceback for the author of a plugin, and raise one error for users.

    Raises:
        SweeperError: There was an exception. Another try would have the same one.
    """
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        raise SweeperError(
            f"{what} failed: {type(error).__name__}: {error}. Correct it; `sweeper resume` goes on."
        ) from error


def constraint_attributes(violations: Mapping[str, float]) -> dict[str, Any]:
    """Return the system attributes in which Optuna has the constraints of a trial."""
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, constraints=dict(violations)
    )
    return trial.system_attrs


def rungs(pruner: BasePruner, values: Mapping[int, float]) -> dict[str, float]:
    """Return the attributes `completed_rung_k` that successive halving adds to a trial.

    At rung k the pruner judges a trial after min_resource * eta^k epochs.
    """
    if not isinstance(pruner, SuccessiveHalvingPruner):
        return {}
    attributes: dict[str, float] = {}
    rung, step = 0, int(pruner._min_resource or 1)
    while any(epoch >= step for epoch in values):
        attributes[f"completed_rung_{rung}"] = values[min(e for e in values if e >= step)]
        rung, step = rung + 1, step * pruner._reduction_factor
    return attributes


def _suggest(trial: optuna.Trial, name: str, parameter: Distribution) -> Scalar:
    match parameter:
        case Float(low=low, high=high, log=log, step=step):
            return trial.suggest_float(name, low, high, log=log, step=step)
        case Int(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=step)
        case Choice(values=values):
            return trial.suggest_categorical(name, values)


def _is_in_range(parameter: Distribution, value: Scalar) -> bool:
    if isinstance(parameter, Float) and isinstance(value, float):
        ends = (parameter.low, parameter.high)  # a logarithm and its inverse round
        return parameter.contains(value) or any(math.isclose(value, end) for end in ends)
    return parameter.contains(value)
