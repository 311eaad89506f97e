"""Optuna's samplers on studies with pruned trials, conditions and thousands of trials.

Each draws one trial. What it keeps, it keeps in attributes of trials and of the study, which are in
the ledger.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from sweeper.core.pareto import ranks
from sweeper.search.spaces import distribution_of
from sweeper.spec.samplers import (
    GP_ALL,
    GP_BEST,
    GP_DRAWS,
    GP_LATEST,
    GP_POINTS,
    GP_RUNNING,
    GP_STARTS,
    TPE_ALL,
    TPE_BEST,
    TPE_LATEST,
    Space,
    numeric,
)

EVOLVING = ("_mean", "_sigma", "_c_1d", "_p_sigma", "_pc", "_g")  # what a generation of CMA changes
PAUSED = "sweeper:paused"  # attribute of a trial that has ever paused
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def evaluated(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ended trials that have a value (`values_of`), by their numbers.

    Failed trials, and those pruned before any value, have none.
    """
    ended = study.get_trials(deepcopy=False, states=ENDED)
    return [t for t in ended if t.state is TrialState.COMPLETE or t.intermediate_values]


def values_of(trial: FrozenTrial) -> list[float]:
    """Return the values of an evaluated trial.

    One that is not complete has its best value so far, as if it had ended there: an upper bound of
    what it would have reached.
    """
    if trial.state is not TrialState.COMPLETE:
        return [min(trial.intermediate_values.values())]
    values: list[float] = trial.values
    return values


class Pauses(NopPruner):
    """Pruner of studies whose runner pauses and promotes trials; Optuna knows no pause."""


class Sobol(QMCSampler):
    """Optuna's Sobol points, of parameters that it knows before any trial has them.

    Optuna's own class learns them from the first trial, which it draws at random, and draws all
    others at random, such as those with a condition that the first trial does not meet.
    """

    def __init__(self, space: Space, *, seed: int, study_seed: int) -> None:
        rest = RandomSampler(seed=seed)
        # All draws of a study are points of one sequence, which its seed scrambles.
        super().__init__(scramble=True, seed=study_seed, independent_sampler=rest,
                         warn_independent_sampling=False)  # fmt: skip
        self._space = space

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return drawn_together(self._space)


class CmaEs(CmaEsSampler):
    """Optuna's CMA-ES, of parameters that it knows before any trial has them.

    Optuna's own class takes those that all trials have so far, and draws at random for ever if
    there are fewer later. It also pickles its optimiser into an attribute of a trial; here the
    attribute has the numbers that evolve, for a pickle of a ledger would be executed.
    """

    def __init__(self, space: Space, *, seed: int, startup: int) -> None:
        super().__init__(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        self._numbers = drawn_together(numeric(space))
        self._optimiser: Any = None  # of the only draw of this sampler

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._numbers)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # What is given to some trials alone must not change the dimension of the optimiser.
        drawn = super().sample_relative(study, trial, self._numbers)
        return {name: value for name, value in drawn.items() if name in search_space}

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:
        self._optimiser = super()._init_optimizer(trans, direction)
        return self._optimiser

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        from cmaes import CMA  # an extra

        key, size = self._attr_key_optimizer, len(self._numbers)
        # Only a trial with which a generation begins has the state of the optimiser.
        latest = (t.system_attrs[key] for t in reversed(completed_trials) if key in t.system_attrs)
        if (kept := next(latest, None)) is None:
            return None
        # As Optuna makes it, in coordinates from 0 to 1. What has evolved since
        # replaces mean and sigma.
        bounds = np.tile([0.0, 1.0], (size, 1))
        cma = CMA(mean=np.full(size, 0.5), sigma=1.0, bounds=bounds, n_max_resampling=10 * size)
        numbers = {n: np.array(v) if isinstance(v, list) else v for n, v in kept.items()}
        cma.__setstate__({**cma.__getstate__(), **numbers})
        self._optimiser = cma
        return cma

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, Any]:
        state = self._optimiser.__getstate__()
        kept = {n: np.asarray(state[n]).tolist() for n in EVOLVING}
        return {self._attr_key_optimizer: kept}


def drawn_together(space: Space) -> dict[str, BaseDistribution]:
    """Return the distributions of a space, without those of one value: nothing is drawn there."""
    found = {name: distribution_of(each) for name, each in space.items()}
    return {name: each for name, each in found.items() if not each.single()}


class OnView(BaseSampler):
    """A sampler of Optuna that sees other trials than those of the study that it draws for.

    Its attributes are those of the study itself.

    Args:
        sampler: The sampler, for one draw.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._seen: optuna.Study | None = None

    @abstractmethod
    def seen(self, study: optuna.Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        """Return the trials that the sampler sees when it draws `trial`."""

    def _view(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        if self._seen is None:
            # The space and the values of one draw have to follow from the same
            # trials, so it is made once.
            self._seen = optuna.create_study(
                storage=Shown(self.seen(study, trial), study),
                directions=study.directions,
                study_name=study.study_name,
            )
        return self._seen

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._view(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._view(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        view = self._view(study, trial)
        return self._sampler.sample_independent(view, trial, param_name, param_distribution)


class OnEvaluated(OnView):
    """A sampler that sees pruned and paused trials as complete ones: it would ignore them."""

    def seen(self, study: optuna.Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        return [_as_complete(each) for each in study.get_trials(deepcopy=False)]


class OnPart(OnView):
    """A sampler that sees part of a study of many ended trials, for a draw in time.

    It sees the best and the latest ended trials (`TPE_BEST`, `TPE_LATEST`), and the running ones.
    Of a study of no more ended trials it sees all.
    """

    def seen(self, study: optuna.Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        ended = study.get_trials(deepcopy=False, states=ENDED)
        if len(ended) <= TPE_ALL:
            return study.get_trials(deepcopy=False)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [*best_and_latest(ended, TPE_BEST, TPE_LATEST, order=_progress), *running]


class Shown(InMemoryStorage):
    """A storage of given trials, as they are, with the attributes of a study.

    What a sampler adds to them, it adds to those of the study.
    """

    def __init__(self, trials: Sequence[FrozenTrial], study: optuna.Study) -> None:
        super().__init__()
        self._shown, self._behind, self._id = trials, study._storage, study._study_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        shown = [each for each in self._shown if states is None or each.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._behind.get_study_system_attrs(self._id)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._behind.set_study_system_attr(self._id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._behind.set_trial_system_attr(trial_id, key, value)


class GaussianProcess(OnView):
    """Optuna's Gaussian process on one core: trials have the others, for which it would wait.

    In a study of over `GP_ALL` ended trials it climbs from `GP_STARTS` points to the best
    suggestion, and not from Optuna's ten: that is most of the time of a draw. With several
    objectives, each with a process of its own, it climbs from half as many, which are chosen from
    `GP_POINTS` and not 2,048, and an expectation is a mean over `GP_DRAWS` draws and not 128.
    Optuna has no arguments for these.
    """

    def __init__(self, *, seed: int, startup: int) -> None:
        sampler = GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        super().__init__(sampler)
        self.process = sampler

    def seen(self, study: optuna.Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        """Return the trials that the process is fitted to, and set how long it searches."""
        ended, states = evaluated(study), (TrialState.RUNNING,)
        running = study.get_trials(deepcopy=False, states=states)
        # The trial that is being drawn is a running one, too, but has no parameters yet.
        others = [each for each in running if each.number != trial.number]
        if len(ended) > GP_ALL:
            self.process._n_local_search = GP_STARTS
            if has_several(ended):
                self.process._n_local_search = GP_STARTS // 2
                self.process._n_preliminary_samples = GP_POINTS
                self.process._n_qmc_samples_ehvi = GP_DRAWS
            # It counts the trials that it sees, which are fewer.
            if len(ended) >= self.process._n_startup_trials:
                self.process._n_startup_trials = 1
        found = informative(ended, others)
        return [each if each.state in states else _as_complete(each) for each in found]

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        import torch  # slow to import, and loaded for this sampler alone

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):  # NumPy's and SciPy's
                return super().sample_relative(study, trial, search_space)
        finally:
            torch.set_num_threads(threads)


def informative(ended: Sequence[FrozenTrial], running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials to which a Gaussian process is fitted in time.

    Up to `GP_ALL` ended trials are all seen, and the running ones as what they are. Beyond, the
    best and the latest ones are seen, of several objectives half as many, and the latest running
    ones as if they had ended with the medians of these: a constant lie (Ginsbourger et al., 2010),
    which needs no integration.
    """
    if len(ended) <= GP_ALL:
        return [*ended, *running]
    part = 2 if has_several(ended) else 1
    seen = best_and_latest(ended, GP_BEST // part, GP_LATEST // part, order=order_of)
    values = np.median([values_of(trial) for trial in seen], axis=0).tolist()
    constraints = {
        name: float(np.median([trial.constraints[name] for trial in seen]))
        for name in seen[0].constraints
    }
    return [*seen, *(_complete(trial, values, constraints) for trial in running[-GP_RUNNING:])]


def best_and_latest(
    trials: Sequence[FrozenTrial],
    best: int,
    latest: int,
    *,
    order: Callable[[FrozenTrial], tuple[float, ...]],
) -> list[FrozenTrial]:
    """Return the `latest` trials and the `best` earlier ones, in their own order.

    Args:
        trials: The ended trials, by their numbers.
        best: The number of the best earlier ones.
        latest: The number of the latest ones.
        order: A function from a trial to its sort key if there is one objective (`best_first`).
    """
    earlier = trials[:-latest]
    # The latest are seen anyway, so that the best are looked for among the others.
    found = best_first(earlier, best, order)[:best]
    return [*(earlier[i] for i in sorted(found)), *trials[-latest:]]


def best_first(
    trials: Sequence[FrozenTrial], enough: int, order: Callable[[FrozenTrial], tuple[float, ...]]
) -> list[int]:
    """Return the indices of ended trials by `order`, or by fronts if there are several objectives.

    Args:
        trials: The ended trials.
        enough: The number of best trials that are to be told apart.
        order: A function from a trial to its sort key if there is one objective.
    """
    keys = by_fronts(trials, enough) if has_several(trials) else [order(each) for each in trials]
    return sorted(range(len(trials)), key=keys.__getitem__)


def has_several(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether ended trials have several objectives; such trials are never pruned."""
    return any(len(trial.values or ()) > 1 for trial in trials[:1])


def by_fronts(trials: Sequence[FrozenTrial], enough: int) -> list[tuple[float, ...]]:
    """Return the places of trials with several objectives: feasible ones first, by their fronts.

    The trials of a front are equally good, so that the later ones come first.
    """
    violations = [_violation(trial) for trial in trials]
    feasible = [index for index, violation in enumerate(violations) if not violation]
    # All infeasible trials come after all feasible ones, those with the least violation first.
    found = [(1, violation, -index) for index, violation in enumerate(violations)]
    if feasible:
        values = np.array([values_of(trials[index]) for index in feasible])
        for index, rank in zip(feasible, ranks(values, enough).tolist(), strict=True):
            found[index] = 0, rank, -index
    return list(found)


def _as_complete(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as one that ended with its best value, if it was pruned or has ever paused.

    A trial that has paused stays an evaluated one when it goes on: others may descend from it.
    """
    is_evaluated = trial.state is TrialState.PRUNED or PAUSED in trial.system_attrs
    if trial.state is TrialState.COMPLETE or not (is_evaluated and trial.intermediate_values):
        return trial
    ended = copy.copy(trial)
    ended.state, ended.values = TrialState.COMPLETE, values_of(trial)
    ended.datetime_complete = trial.datetime_complete or trial.datetime_start
    return ended


def _complete(
    trial: FrozenTrial, values: Sequence[float], constraints: dict[str, float]
) -> FrozenTrial:
    """Return a complete trial with the parameters of another one."""
    return optuna.trial.create_trial(
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        constraints=constraints,
    )


def order_of(trial: FrozenTrial) -> tuple[float, float]:
    """Return the place of a trial: those that break no constraint first, by their first value."""
    return _violation(trial), values_of(trial)[0]


def _violation(trial: FrozenTrial) -> float:
    return sum(each for each in trial.constraints.values() if each > 0)


def _progress(trial: FrozenTrial) -> tuple[float, ...]:
    """Return the place of a trial as TPE has it: complete ones, those that came far, infeasible."""
    violation, step = _violation(trial), trial.last_step
    if violation:
        return 3, violation
    if trial.state is TrialState.COMPLETE:
        return 0, trial.values[0]
    if step is None:
        return 2, 0
    return 1, -step, trial.intermediate_values[step]
