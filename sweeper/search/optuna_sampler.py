"""Samplers and pruners of Optuna behind the protocol `Sampler`, by ask and tell, in memory.

The Optuna study is not stored: `restore` rebuilds it from the ledger, with the attributes in which
samplers and pruners keep their state. The seed of each suggestion depends on the study's seed and
the trial's number, so that a resumed sweep neither repeats nor skips a draw. Only this module and
`samplers` use private attributes of Optuna.
"""

import copy
import json
import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import InMemoryStorage

from sweeper.errors import SweeperError
from sweeper.model import Params, SamplerState, Trial, TrialState
from sweeper.search.factories import Context, SamplerFactory, experimental, takes_context
from sweeper.search.priors import Centre, values_around
from sweeper.search.samplers import PAUSED
from sweeper.search.spaces import distribution_of
from sweeper.spec.distributions import Choice, Distribution, Float, Int, is_active
from sweeper.spec.goals import Goals
from sweeper.spec.node import Scalar
from sweeper.text import JsonObject
from trainables.report import Measurement

optuna.logging.set_verbosity(optuna.logging.ERROR)

STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.PAUSED: optuna.trial.TrialState.PRUNED,  # a sampler learns from how far it came
}
SYSTEM, USER = "system", "user"  # attributes of a `SamplerState`
PLAIN = Goals()  # the objective of the study alone


class Kept(InMemoryStorage):
    """Optuna's storage in memory, which holds attributes as a ledger gives them back: as JSON.

    A tuple becomes a list at once, and not only when a sweep is resumed.

    Raises (from its setters):
        TypeError: A value is not JSON.
    """

    study_has_changed = False  # since `OptunaSampler.state` was called

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, _as_json(value))
        self.study_has_changed = True

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, _as_json(value))
        self.study_has_changed = True

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, _as_json(value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, _as_json(value))


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


class OptunaSampler:
    """The search of one study. A parameter comes after the ones that its condition names.

    Args:
        pruner: A plain NopPruner promises all trials all of their epochs, without a pause.
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
        seed: int,
        startup_trials: int,
        centres: Sequence[Centre] = (),
        goals: Goals = PLAIN,
    ) -> None:
        self._parameters, self._centres, self._goals = parameters, centres, goals
        self._factory, self._seed, self._startup = sampler, seed, startup_trials
        self._prunes = type(pruner) is not NopPruner
        # Optuna's pruners may draw by the study's name, which would be random.
        self._storage = Kept()
        self.study = optuna.create_study(
            storage=self._storage,
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
            # A sampler for this draw alone: its seed follows from the number, so
            # that a resume draws alike.
            self.study.sampler = self._make_sampler(number, len(self._trials), given or {})
            trial = self.study.ask()
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
        # A trial that is about to be restored gets its attributes from the ledger.
        if number in self._trials:
            attributes = constraint_attributes(self._goals.violations(quantities))
            for key, value in attributes.items():  # those of an earlier pause are replaced
                self._storage.set_trial_system_attr(self._trials[number]._trial_id, key, value)

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
        self._storage.set_trial_system_attr(self._trials[number]._trial_id, PAUSED, True)
        self._set_state(number, optuna.trial.TrialState.PRUNED)

    def resume(self, number: int) -> None:
        """Let a paused trial run again."""
        self._set_state(number, optuna.trial.TrialState.RUNNING)

    def _set_state(self, number: int, state: optuna.trial.TrialState) -> None:
        """Set the state of an unfinished trial. Optuna's own call refuses the way back to RUNNING.

        TPE counts running trials among the bad ones, and pruned ones by how far they came.
        """
        # A copy, because Optuna hands out the object of its memory, which a sampler may hold.
        frozen = copy.copy(self._frozen(self._trials[number]))
        frozen.state = state
        frozen.datetime_complete = datetime.now() if state.is_finished() else None
        self._storage._set_trial(self._trials[number]._trial_id, frozen)

    def tell(self, trial: Trial) -> None:
        """Record the end of a trial, with its values if it is complete."""
        (values, state), told = self._end(trial), self._trials[trial.number]
        with _told(f"the sampler of trial {trial.number}"):
            # The sampler that hears of the end is the same one in a resumed sweep.
            self.study.sampler = self._make_sampler(trial.number, told.number)
            self.study._thread_local.in_optimize_loop = True  # it may stop; we end by `trials`
            self.study.tell(told, values, state=state)

    def state(self, number: int) -> SamplerState:
        """Return the attributes of a trial, and those of the study if they have changed."""
        trial, study, storage = self._frozen(self._trials[number]), None, self._storage
        if storage.study_has_changed:
            system = storage.get_study_system_attrs(self.study._study_id)
            study = _attributes(system, self.study.user_attrs)
            storage.study_has_changed = False
        return SamplerState(trial=_attributes(trial.system_attrs, trial.user_attrs), study=study)

    def restore_study(self, state: JsonObject) -> None:
        """Set the attributes of the study."""
        for key, value in state.get(SYSTEM, {}).items():
            self._storage.set_study_system_attr(self.study._study_id, key, value)
        for key, value in state.get(USER, {}).items():
            self._storage.set_study_user_attr(self.study._study_id, key, value)
        self._storage.study_has_changed = False

    def restore(self, trial: Trial, measurements: tuple[Measurement, ...]) -> None:
        """Add a trial of an earlier run, with its attributes."""
        sampled = {name: trial.params[name] for name in trial.sampled}
        values = {m.epoch: m.objective for m in measurements if m.objective is not None}
        # Optuna has no reports in a study with several objectives, where nothing is pruned.
        ended, state = self._end(trial)
        frozen = optuna.trial.create_trial(
            state=state,
            values=ended,
            params=sampled,
            distributions={name: distribution_of(self._parameters[name]) for name in sampled},
            intermediate_values={} if self._goals.has_several else values,
            system_attrs=trial.sampler_state.get(SYSTEM),
            user_attrs=trial.sampler_state.get(USER),
        )
        # `Study.add_trial` does not return the trial's id.
        stored = self._storage.create_new_trial(self.study._study_id, template_trial=frozen)
        self._trials[trial.number] = optuna.Trial(self.study, stored)

    def _frozen(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        return self._storage.get_trial(trial._trial_id)

    def _make_sampler(self, number: int, index: int, given: Params | None = None) -> BaseSampler:
        """Return the sampler that draws a trial; without `given`, that which hears of its end.

        Args:
            number: The number of the trial.
            index: The number of sampled trials before it.
            given: The values that it need not draw.
        """
        # The factor is odd, so that no two numbers of a study have one seed. NumPy takes 32 bits.
        seed = (self._seed + 1_000_003 * (number + 1)) % 2**32
        factory, startup = self._factory, self._startup
        if self._centres and given is not None:
            around = values_around(
                self._centres, self._parameters, self.study, seed=seed, startup=startup
            )
            # Values of a shared stage or of a warm start win over those around a centre.
            given = {**around, **given}
        with experimental():
            if takes_context(factory):
                context = Context(
                    space=self._parameters, prunes=self._prunes, index=index, given=given or {}
                )
                sampler = factory(
                    seed=seed, study_seed=self._seed, startup_trials=startup, context=context
                )
            else:
                sampler = factory(seed=seed, study_seed=self._seed, startup_trials=startup)
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


def _attributes(system: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    both = {SYSTEM: dict(system), USER: dict(user)}
    return {name: attributes for name, attributes in both.items() if attributes}


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
