"""Samplers of Optuna that keep nothing: each draw depends on seeds and on the study's trials alone.

Optuna's own samplers for grids, Sobol points, CMA-ES and NSGA-II store their state in attributes of
trials and studies. The ledger has no such attributes, so that a resumed sweep would draw others.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import scipy  # which loads its parts when they are used
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from sweeper.config.search.pareto import ranks
from sweeper.config.search.samplers import (
    CMAES_TRIALS,
    GP_ALL,
    GP_BEST,
    GP_DRAWS,
    GP_LATEST,
    GP_POINTS,
    GP_RUNNING,
    GP_STARTS,
    NSGA2_GENERATIONS,
    TPE_ALL,
    TPE_BEST,
    TPE_LATEST,
    Space,
    grid,
    numeric,
)
from sweeper.model import Params
from sweeper.search.spaces import from_unit, to_unit

FIRST_SIGMA = 0.3  # of CMA-ES, in the unit cube: about that of uniform draws
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
GENERATION = f"{NSGAIISampler.__name__}:generation"  # attribute of trials


def evaluated(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ended trials that have a value (`values_of`), by their numbers.

    Failed trials, and those pruned before any value, have none.
    """
    ended = study.get_trials(deepcopy=False, states=ENDED)
    return [t for t in ended if t.state is TrialState.COMPLETE or t.intermediate_values]


def values_of(trial: FrozenTrial) -> list[float]:
    """Return the values of an evaluated trial.

    A pruned trial has its best value so far, as if it had ended there: an upper bound of what it
    would have reached.
    """
    if trial.state is TrialState.PRUNED:
        return [min(trial.intermediate_values.values())]
    values: list[float] = trial.values
    return values


def _ended_with(trial: FrozenTrial, values: Sequence[float]) -> FrozenTrial:
    """Return a trial as if it had ended with these values."""
    ended = copy.copy(trial)
    ended.state, ended.values = TrialState.COMPLETE, list(values)
    ended.datetime_complete = trial.datetime_complete or trial.datetime_start
    return ended


class PointSampler(BaseSampler):
    """Base class of samplers that draw all parameters of a trial at once.

    A parameter that is not in the point, such as one that CMA-ES cannot draw, is drawn at random.
    """

    def __init__(self, space: Space, *, seed: int, study_seed: int) -> None:
        self._space, self._seed, self._study_seed = space, seed, study_seed
        self._random = RandomSampler(seed=seed)
        self._drawn: Params | None = None  # of the only trial of this sampler

    @abstractmethod
    def draw(self, study: optuna.Study, index: int) -> Params:
        """Return values for the trial after `index` other ones."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if self._drawn is None:
            self._drawn = self.draw(study, trial.number)
        if param_name in self._drawn:
            return self._drawn[param_name]
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class Sobol(PointSampler):
    """Points of a scrambled Sobol sequence, which fill the space evenly (Owen, 1998)."""

    def draw(self, study: optuna.Study, index: int) -> Params:
        if not self._space:
            return {}
        sequence = scipy.stats.qmc.Sobol(
            len(self._space), scramble=True, seed=np.random.default_rng(self._study_seed)
        )
        if index:
            sequence.fast_forward(index)
        (point,) = sequence.random(1)
        pairs = zip(self._space.items(), point, strict=True)
        return {name: from_unit(parameter, float(unit)) for (name, parameter), unit in pairs}


class Grid(PointSampler):
    """The points of a grid in a random order.

    Raises (when it draws):
        IndexError: All points were drawn.
    """

    def draw(self, study: optuna.Study, index: int) -> Params:
        points = grid(self._space)
        if index >= len(points):
            raise IndexError(f"the grid has {len(points)} points, and all are tried")
        order = np.random.default_rng(self._study_seed).permutation(len(points))
        return points[int(order[index])]


class CmaEs(PointSampler):
    """CMA-ES over the numeric parameters (Hansen and Ostermeier, 2001), with restarts (IPOP).

    A generation is the next trials in the order of their numbers, once they have ended. Its
    optimiser is computed anew for each draw from all generations since its start: the search
    begins anew after every `CMAES_TRIALS` trials.
    """

    def __init__(self, space: Space, *, seed: int, study_seed: int, startup: int) -> None:
        super().__init__(space, seed=seed, study_seed=study_seed)
        self._numeric, self._startup = numeric(space), startup

    def draw(self, study: optuna.Study, index: int) -> Params:
        from cmaes import CMA  # an extra

        trials = evaluated(study)
        if len(trials) < max(1, self._startup):
            return {}
        trials = trials[len(trials) // CMAES_TRIALS * CMAES_TRIALS :]
        dimension, rng = len(self._numeric), np.random.default_rng(self._study_seed)
        bounds = np.tile([0.0, 1.0], (dimension, 1))

        def optimiser(mean: np.ndarray, population: int | None) -> CMA:
            return CMA(mean=mean, sigma=FIRST_SIGMA, bounds=bounds, seed=self._seed,
                       population_size=population)  # fmt: skip

        cma, done = optimiser(np.full(dimension, 0.5), None), 0
        # A restart has a random start and twice the population.
        while len(trials) - done >= cma.population_size:
            generation = trials[done : done + cma.population_size]
            cma.tell([(self._position(trial), values_of(trial)[0]) for trial in generation])
            done += cma.population_size
            if cma.should_stop():
                cma = optimiser(rng.random(dimension), 2 * cma.population_size)
        pairs = zip(self._numeric.items(), cma.ask(), strict=True)
        return {name: from_unit(parameter, float(unit)) for (name, parameter), unit in pairs}

    def _position(self, trial: FrozenTrial) -> np.ndarray:
        return np.array([to_unit(each, trial.params[n]) for n, each in self._numeric.items()])


class OnView(BaseSampler):
    """A sampler of Optuna that sees another study than the one that it draws a trial for.

    Args:
        sampler: The sampler, for one draw.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._seen: tuple[optuna.Study, FrozenTrial] | None = None

    @abstractmethod
    def make_view(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[optuna.Study, FrozenTrial]:
        """Return the study that the sampler sees, and the trial in it."""

    def _view(self, study: optuna.Study, trial: FrozenTrial) -> tuple[optuna.Study, FrozenTrial]:
        if self._seen is None:
            self._seen = self.make_view(study, trial)
        return self._seen

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(*self._view(study, trial))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(*self._view(study, trial), search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        view, now = self._view(study, trial)
        return self._sampler.sample_independent(view, now, param_name, param_distribution)


Select = Callable[[Sequence[FrozenTrial], Sequence[FrozenTrial]], Sequence[FrozenTrial]]


class OnEvaluated(OnView):
    """A sampler of Optuna that sees a study of selected trials.

    It sees pruned trials as complete ones (`values_of`), which it would ignore otherwise.

    Args:
        sampler: The sampler, for one draw.
        select: A function from the ended trials, by their numbers, and from the running ones to
            those that it sees.
    """

    def __init__(self, sampler: BaseSampler, select: Select) -> None:
        super().__init__(sampler)
        self._select = select

    def make_view(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[optuna.Study, FrozenTrial]:
        view = optuna.create_study(directions=study.directions, study_name=study.study_name)
        running = [
            each
            for each in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if each.number != trial.number
        ]
        now = optuna.trial.create_trial(state=TrialState.RUNNING)
        selected = self._select(evaluated(study), running)
        view.add_trials([*map(_as_complete, selected), now])
        return view, view.get_trials(deepcopy=False)[-1]


class OnPart(OnView):
    """A sampler of Optuna that sees part of a study of many ended trials, for a draw in time.

    It sees the best and the latest ended trials (`TPE_BEST`, `TPE_LATEST`), and the running ones.
    A study of no more ended trials is seen as it is.
    """

    def make_view(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[optuna.Study, FrozenTrial]:
        ended = study.get_trials(deepcopy=False, states=ENDED)
        if len(ended) <= TPE_ALL:
            return study, trial
        part = best_and_latest(ended, TPE_BEST, TPE_LATEST, order=_progress)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        view = optuna.create_study(
            storage=Shown([*part, *running]),
            directions=study.directions,
            study_name=study.study_name,
        )
        return view, trial


class AtCommonEpoch(OnPart):
    """A sampler of Optuna that sees trials as they were at the last epoch that enough have reached.

    A trial that came as far counts as complete, with its best value until then. Others that ended
    before are as they are: pruned. Of many trials it sees a part, as its base does.

    Args:
        sampler: The sampler, for one draw.
        least: The number of trials that are enough.
    """

    def __init__(self, sampler: BaseSampler, least: int) -> None:
        super().__init__(sampler)
        self._least = least

    def make_view(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[optuna.Study, FrozenTrial]:
        part, _ = super().make_view(study, trial)
        trials = part.get_trials(deepcopy=False, states=(*ENDED, TrialState.RUNNING))
        reached = sorted((max(t.intermediate_values, default=0) for t in trials), reverse=True)
        epoch = reached[self._least - 1] if len(reached) >= self._least else 0
        if epoch == 0:
            return part, trial
        view = optuna.create_study(
            storage=Shown([_until(epoch, each) for each in trials]), study_name=study.study_name
        )
        return view, trial


def _until(epoch: int, trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as if it had ended at an epoch, or itself if it did not come so far."""
    values = trial.intermediate_values
    if max(values, default=0) < epoch:
        return trial
    return _ended_with(trial, [min(value for at, value in values.items() if at <= epoch)])


class Shown(InMemoryStorage):
    """A storage of given trials, as they are. Attributes that a sampler adds are not kept."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        shown = [each for each in self._shown if states is None or each.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        pass


class GaussianProcess(OnEvaluated):
    """Optuna's Gaussian process on one core: trials have the others, for which it would wait.

    In a study of over `GP_ALL` ended trials it climbs from `GP_STARTS` points to the best
    suggestion, and not from Optuna's ten: that is most of the time of a draw. With several
    objectives, each with a process of its own, it climbs from half as many, which are chosen from
    `GP_POINTS` and not 2,048, and an expectation is a mean over `GP_DRAWS` draws and not 128.
    Optuna has no arguments for these.
    """

    def __init__(self, *, seed: int, startup: int) -> None:
        sampler = GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        super().__init__(sampler, self._prepare)
        self._process = sampler

    def _prepare(
        self, ended: Sequence[FrozenTrial], running: Sequence[FrozenTrial]
    ) -> Sequence[FrozenTrial]:
        """Return the trials that the process is fitted to, and set how long it searches."""
        if len(ended) > GP_ALL:
            self._process._n_local_search = GP_STARTS
            if has_several(ended):
                self._process._n_local_search = GP_STARTS // 2
                self._process._n_preliminary_samples = GP_POINTS
                self._process._n_qmc_samples_ehvi = GP_DRAWS
            # It counts the trials that it sees, which are fewer.
            if len(ended) >= self._process._n_startup_trials:
                self._process._n_startup_trials = 1
        return informative(ended, running)

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
    found = [(1, violation, -index) for index, violation in enumerate(violations)]
    if feasible:
        values = np.array([values_of(trials[index]) for index in feasible])
        for index, rank in zip(feasible, ranks(values, enough).tolist(), strict=True):
            found[index] = 0, rank, -index
    return list(found)


def parents(trials: Sequence[FrozenTrial], population: int) -> list[FrozenTrial]:
    """Return the parents of the next generation of NSGA-II, chosen from all whole generations.

    Each generation is the next `population` ended trials. With one objective the elite of parents
    and children is the best of all trials so far. With several, Optuna chooses the elite of one
    generation after the other. Before the latest `NSGA2_GENERATIONS` generations, the best trials
    are seen as one generation, since each draw chooses all elites anew.
    """
    whole = trials[: len(trials) - len(trials) % population]
    if has_several(whole):
        latest = NSGA2_GENERATIONS * population
        seen = best_and_latest(whole, population, latest, order=order_of)
        return [
            _complete(trial, values_of(trial), trial.constraints, generation=index // population)
            for index, trial in enumerate(seen)
        ]
    elite = sorted(whole, key=order_of)[:population]
    return [_complete(trial, values_of(trial), trial.constraints, generation=0) for trial in elite]


def _as_complete(trial: FrozenTrial) -> FrozenTrial:
    """Return a pruned trial as one that ended with its best value, and any other as it is."""
    return _ended_with(trial, values_of(trial)) if trial.state is TrialState.PRUNED else trial


def _complete(
    trial: FrozenTrial,
    values: Sequence[float],
    constraints: dict[str, float],
    generation: int | None = None,
) -> FrozenTrial:
    """Return a complete trial with the parameters of another one, of a generation of NSGA-II."""
    return optuna.trial.create_trial(
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=None if generation is None else {GENERATION: generation},
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
