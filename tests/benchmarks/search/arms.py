"""The compared searches: ours as shipped, and the loops and schedulers of other libraries."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler

from sweeper.core.expected_epochs import rungs
from sweeper.core.promotion import PromotionRule
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.ledger import Ledger
from sweeper.model import Decision, Study, Trial
from sweeper.search import factories
from sweeper.search.factories import Context, ContextFactory, PrunerFactory, SamplerFactory
from sweeper.search.spaces import distribution_of
from sweeper.spec.distributions import Choice, Distribution, Int, is_active
from sweeper.spec.node import Scalar
from sweeper.spec.samplers import Space
from sweeper.spec.schema import PROMOTE
from tests.benchmarks.search.simulation import Run
from tests.benchmarks.search.tasks import Task
from tests.support.fakes import new_ledger
from tests.support.searches import search_of
from trainables.report import Measurement

ETA, FIRST_RUNG, STARTUP = 3, 3, 10  # of all arms that halve; random draws before a model
MOST = 100_000  # trials: the budget of epochs ends a search
SHIPPED = 64  # trials of a study in the shipped files, whose budget they are


class Arm(Protocol):
    """A maker of a search on a task."""

    def __call__(self, task: Task, seed: int) -> Any: ...


class Service:
    """Our runner with a ledger on disk, sampler and pruner, as a driver makes them."""

    def __init__(
        self,
        task: Task,
        ledger: Ledger,
        sampler: SamplerFactory,
        pruner: PrunerFactory,
        seed: int,
        trials: int,
    ) -> None:
        self._task = task
        self._trials: dict[Hashable, Trial] = {}
        self._first: dict[Hashable, int] = {}  # the next epoch of each trial
        rule = PromotionRule()
        if pruner is factories.promote:
            steps = rungs(PROMOTE, min_epochs=FIRST_RUNG, eta=ETA, epochs=task.num_epochs)
            rule = PromotionRule(rungs=steps, eta=ETA)
        options = {"least": FIRST_RUNG, "eta": ETA, "seed": seed, "startup_trials": STARTUP}
        study = Study(name="s/t", method="s", task="t", objective="val/error", seed=seed)
        plan = StudyPlan(
            study=study,
            leading=(),
            num_trials=trials,
            sampler=search_of(task.parameters, sampler, pruner, **options),
            complete=lambda params: params,
            trial_seed=lambda number: number,
            promotion=rule,
        )
        self._runner = SweepRunner([plan], ledger)

    def next(self) -> Run | None:
        trial = self._runner.next_trial()
        if trial is None:
            return None
        self._trials[trial.number] = trial
        return Run(trial.number, trial.params, self._first.setdefault(trial.number, 1))

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        self._first[trial] = epoch + 1
        measurement = Measurement(
            stage="refine",
            epoch=epoch,
            num_epochs=self._task.num_epochs,
            metrics={"val/error": error},
            objective=error,
            is_final=epoch == self._task.num_epochs,
            checkpoint=f"refine-{epoch:04d}",
        )
        return self._runner.on_report(self._trials[trial], measurement) is Decision.CONTINUE


@contextmanager
def service(
    task: Task,
    seed: int,
    *,
    sampler: SamplerFactory | ContextFactory,
    pruner: PrunerFactory,
    trials: int = MOST,
) -> Iterator[Service]:
    """Yield our search with a new ledger, for a number of trials."""
    with tempfile.TemporaryDirectory() as folder, closing(new_ledger(Path(folder))) as ledger:
        yield Service(task, ledger, sampler, pruner, seed, trials)


def _suggested(trial: Any, task: Task) -> dict[str, Any]:
    """Return the values that a trial of Optuna suggests for the parameters that it has."""
    params: dict[str, Any] = {}
    for name, each in task.parameters.items():
        if not is_active(each, params):
            continue
        if isinstance(each, Choice):
            params[name] = trial.suggest_categorical(name, each.values)
        else:
            suggest = trial.suggest_int if isinstance(each, Int) else trial.suggest_float
            params[name] = suggest(name, each.low, each.high, log=each.log)
    return params


class OptunaLoop:
    """Optuna's own loop by ask and tell: a trial is pruned where the pruner says so."""

    def __init__(self, task: Task, make_sampler: Callable[[], Any], pruner: Any, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._task, self._optuna = task, optuna
        self._study = optuna.create_study(
            sampler=make_sampler(), pruner=pruner, study_name=str(seed)
        )
        self._trials: dict[Hashable, Any] = {}
        self._best: dict[Hashable, float] = {}

    def next(self) -> Run | None:
        trial = self._study.ask()
        params = _suggested(trial, self._task)
        self._trials[trial.number] = trial
        return Run(trial.number, params)

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        ours = self._trials[trial]
        self._best[trial] = min(error, self._best.get(trial, error))
        ours.report(error, epoch)
        if epoch == self._task.num_epochs:
            self._study.tell(ours, self._best[trial])
            return False
        if ours.should_prune():
            self._study.tell(ours, state=self._optuna.trial.TrialState.PRUNED)
            return False
        return True


@contextmanager
def optuna_loop(task: Task, seed: int, *, hyperband: bool = False) -> Iterator[OptunaLoop]:
    """Yield TPE as Optuna makes it, with its successive halving or its Hyperband."""
    from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
    from optuna.samplers import TPESampler

    pruner = (
        HyperbandPruner(min_resource=FIRST_RUNG, max_resource=task.num_epochs, reduction_factor=ETA)
        if hyperband
        else SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=ETA)
    )
    yield OptunaLoop(task, partial(TPESampler, seed=seed, n_startup_trials=STARTUP), pruner, seed)


class RayTune:
    """Ray Tune's OptunaSearch and ASHAScheduler: their decisions, without Ray's actors."""

    def __init__(self, task: Task, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler, TrialScheduler
        from ray.tune.search.optuna import OptunaSearch

        logging.getLogger("ray").setLevel(logging.ERROR)
        self._task = task
        self._stop = TrialScheduler.STOP

        def space(trial: Any) -> None:
            _suggested(trial, task)

        self._search = OptunaSearch(space, metric="error", mode="min", seed=seed)
        self._scheduler: Any = ASHAScheduler(
            time_attr="epoch",
            metric="error",
            mode="min",
            max_t=task.num_epochs,
            grace_period=FIRST_RUNG,
            reduction_factor=ETA,
        )
        self._trials: dict[Hashable, Any] = {}

    def next(self) -> Run | None:
        name = f"t{len(self._trials)}"
        params = self._search.suggest(name)
        assert isinstance(params, dict)
        trial = SimpleNamespace(trial_id=name)
        self._trials[name] = trial
        self._scheduler.on_trial_add(None, trial)
        return Run(name, params)

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        name, result = str(trial), {"error": error, "epoch": epoch, "training_iteration": epoch}
        self._search.on_trial_result(name, result)
        decision = self._scheduler.on_trial_result(None, self._trials[name], result)
        if decision != self._stop and epoch < self._task.num_epochs:
            return True
        self._scheduler.on_trial_complete(None, self._trials[name], result)
        self._search.on_trial_complete(name, result)
        return False


@contextmanager
def ray_tune(task: Task, seed: int) -> Iterator[RayTune]:
    """Yield Ray Tune's search and scheduler with the settings of the other arms."""
    yield RayTune(task, seed)


def _their_space(parameters: Space) -> dict[str, Any]:
    """Return a space as Syne Tune has it: without conditions."""
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    space = {}
    for name, each in parameters.items():
        if isinstance(each, Choice):
            space[name] = choice(list(each.values))
        else:
            ints, floats = (lograndint, loguniform) if each.log else (randint, uniform)
            space[name] = (ints if isinstance(each, Int) else floats)(each.low, each.high)
    return space


def _active(config: Mapping[str, Any], parameters: Space) -> dict[str, Any]:
    """Return the values of a configuration whose conditions hold."""
    params: dict[str, Any] = {}
    for name, each in parameters.items():
        if is_active(each, params):
            params[name] = config[name]
    return params


class SyneTune:
    """Syne Tune's conformal quantile regression with asynchronous successive halving."""

    def __init__(self, task: Task, seed: int) -> None:
        from syne_tune.backend.trial_status import Trial as Told
        from syne_tune.optimizer.baselines import ASHACQR

        self._task, self._told = task, Told
        # It draws from NumPy's global generator, too.
        np.random.seed(seed)
        self._scheduler: Any = ASHACQR(
            config_space=_their_space(task.parameters),
            metric="error",
            time_attr="epoch",
            max_t=task.num_epochs,
            random_seed=seed,
            grace_period=FIRST_RUNG,
            reduction_factor=ETA,
        )
        self._trials: dict[Hashable, Any] = {}

    def next(self) -> Run | None:
        import datetime

        suggestion = self._scheduler.suggest()
        number = len(self._trials)
        trial = self._told(
            trial_id=number, config=suggestion.config, creation_time=datetime.datetime.now()
        )
        self._trials[number] = trial
        self._scheduler.on_trial_add(trial)
        return Run(number, _active(suggestion.config, self._task.parameters))

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        told, result = self._trials[trial], {"error": error, "epoch": epoch}
        if epoch == self._task.num_epochs:
            self._scheduler.on_trial_complete(told, result)
            return False
        if self._scheduler.on_trial_result(told, result) == "CONTINUE":
            return True
        self._scheduler.on_trial_remove(told)
        return False


@contextmanager
def syne_tune(task: Task, seed: int) -> Iterator[SyneTune]:
    """Yield Syne Tune's CQR with its successive halving of the stopping type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield SyneTune(task, seed)


class TheirQuantiles(BaseSampler):
    """Syne Tune's conformal quantile regression as a sampler, to run it with another scheduler.

    As in their `ASHACQR`, a trial counts with its latest value.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed, self._random = space, seed, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {name: distribution_of(each) for name, each in self._space.items()}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        from syne_tune.optimizer.schedulers.searchers.conformal import (
            conformal_quantile_regression_searcher as theirs,
        )

        np.random.seed(self._seed)
        search = theirs.ConformalQuantileRegression(
            _their_space(self._space), random_seed=self._seed
        )
        for each in study.get_trials(deepcopy=False):
            if each.intermediate_values:
                # Their table has a value for each parameter; an inactive one has its lowest.
                config = {n: each.params.get(n, _lowest(p)) for n, p in self._space.items()}
                latest = each.intermediate_values[each.last_step]
                search.on_trial_complete(each.number, config, latest)
        return _active(search.suggest(), self._space)

    def sample_independent(self, *given: Any) -> Any:
        return self._random.sample_independent(*given)


def _lowest(parameter: Distribution) -> Scalar:
    return parameter.values[0] if isinstance(parameter, Choice) else parameter.low


def their_quantiles(
    *, seed: int, study_seed: int, startup_trials: int, context: Context
) -> BaseSampler:
    """Return Syne Tune's conformal quantile regression."""
    return TheirQuantiles(context.space, seed)


OURS: Mapping[str, Any] = {
    "TPE + halving": partial(service, sampler=factories.tpe, pruner=factories.asha),
    "random + halving": partial(service, sampler=factories.random, pruner=factories.asha),
    "TPE + promotion": partial(service, sampler=factories.tpe, pruner=factories.promote),
    "random + promotion": partial(service, sampler=factories.random, pruner=factories.promote),
    "CQR + promotion": partial(service, sampler=factories.cqr, pruner=factories.promote),
}
BY_TRIALS: Mapping[str, Any] = {  # these end by themselves, whatever they spend
    f"{name}, {SHIPPED} trials": partial(arm, trials=SHIPPED) for name, arm in OURS.items()
}
ARMS: Mapping[str, Any] = {
    **OURS,
    **BY_TRIALS,
    "random": partial(service, sampler=factories.random, pruner=factories.none),
    "TPE": partial(service, sampler=factories.tpe, pruner=factories.none),
    "Optuna": optuna_loop,
    "Optuna, Hyperband": partial(optuna_loop, hyperband=True),
    "Ray Tune": ray_tune,
    "Syne Tune": syne_tune,
    "Syne Tune's CQR + promotion": partial(
        service, sampler=their_quantiles, pruner=factories.promote
    ),
}
