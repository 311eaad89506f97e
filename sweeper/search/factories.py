"""Factories of samplers and pruners: their protocols, and the built-in ones, which are Optuna's.

They are entry points of the groups `sweeper.samplers` and `sweeper.pruners`. This module does not
import Optuna, so that a sweep file is checked without it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Protocol, TypeGuard

from sweeper.model import Params
from sweeper.spec.samplers import GP, RANDOM_EACH, Space, choose

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


@dataclass(frozen=True, kw_only=True)
class Context:
    """The study of a suggestion, for factories that have an argument `context`."""

    space: Space = field(default_factory=dict)  # its parameters, parents first
    prunes: bool = False  # a rule prunes its trials
    index: int = 0  # sampled trials before this one
    given: Params = field(default_factory=dict)  # values that it need not draw


NO_CONTEXT = Context()  # of a study without parameters


class SamplerFactory(Protocol):
    """A function that makes the sampler of one suggestion; Optuna's study has all earlier trials.

    The sampler of a trial hears of its end, too, but is then made again. So a sampler keeps what it
    learns in attributes of trials or of the study, as JSON. A resumed sweep has all of them again,
    and the same seeds. Hence it goes on as if it had not been interrupted, unless a sampler keeps
    something elsewhere, such as in itself. A sampler must not unpickle an attribute. A factory may
    have a further keyword `context`, as in `ContextFactory`.
    """

    def __call__(self, *, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
        """Return a sampler.

        Args:
            seed: The seed of this suggestion; no two suggestions of a study have the same.
            study_seed: The seed of the study.
            startup_trials: `search.startup_trials` of the sweep file.
        """
        ...


class ContextFactory(Protocol):
    """A `SamplerFactory` that is also told about the study."""

    def __call__(
        self, *, seed: int, study_seed: int, startup_trials: int, context: Context
    ) -> "BaseSampler":
        """Return a sampler."""
        ...


class PrunerFactory(Protocol):
    """A function that makes the pruner of a study.

    A resumed sweep has all reported values again, and the attributes of trials and of the study,
    in which a pruner may keep JSON.
    """

    def __call__(self, *, min_epochs: int, eta: int) -> "BasePruner":
        """Return a pruner.

        Args:
            min_epochs: The epochs before any trial is pruned: `pruning.min_epochs`, or more for a
                method that asks for more.
            eta: `pruning.eta` of the sweep file.
        """
        ...


@contextmanager
def experimental() -> Iterator[None]:
    """Hide the warnings of Optuna that a feature is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def tpe(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Draw by a tree-structured Parzen estimator, which learns which values are good together.

    Of over 2,000 ended trials, it learns from the latest 1,500 and the best 500 earlier ones.
    """
    from optuna.samplers import TPESampler

    from sweeper.search.samplers import OnPart

    return OnPart(
        TPESampler(seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True)
    )


def cqr(
    *, seed: int, study_seed: int, startup_trials: int, context: Context = NO_CONTEXT
) -> "BaseSampler":
    """Draw by conformal quantile regression; each third trial at random.

    Boosted trees predict quantiles of a trial's place among all others, by its best value so far,
    so that the scale of the objective has no effect. Of 500 random configurations, the one with the
    lowest draw from its quantiles is tried (Salinas et al., 2023). Of over 500 ended trials, it
    learns from the latest 350 and the best 150 earlier ones.
    """
    from sweeper.search.conformal import ConformalQuantiles

    if context.index % RANDOM_EACH == 0:
        return random(seed=seed, study_seed=study_seed, startup_trials=startup_trials)
    return ConformalQuantiles(context.space, context.given, seed=seed, startup=startup_trials)


def random(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Draw independently of all results."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def gp(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Draw by a Gaussian process, which learns from few trials; pruned ones count with their value.

    A pruned trial counts with its best value so far. Of over 150 ended trials, it is fitted to the
    latest 50 and the best 25 earlier ones, and to the latest 50 running ones as if these had ended
    with the median. It then climbs to the best point from 4 starts, not 10. Of several objectives
    it sees half as many, and climbs from 2 starts. Parameters with a condition are drawn at random.
    """
    from sweeper.search.samplers import GaussianProcess

    return GaussianProcess(seed=seed, startup=startup_trials)


def cmaes(
    *, seed: int, study_seed: int, startup_trials: int, context: Context = NO_CONTEXT
) -> "BaseSampler":
    """Draw numbers by CMA-ES, an evolution strategy for hundreds of trials; the rest at random.

    A pruned trial counts with its best value so far. Choices and parameters with a condition are
    drawn at random.
    """
    from sweeper.search.samplers import CmaEs, OnEvaluated

    return OnEvaluated(CmaEs(context.space, seed=seed, startup=startup_trials))


def qmc(
    *, seed: int, study_seed: int, startup_trials: int, context: Context = NO_CONTEXT
) -> "BaseSampler":
    """Draw independently of all results, and more evenly than at random: Sobol points."""
    from sweeper.search.samplers import Sobol

    return Sobol(context.space, seed=seed, study_seed=study_seed)


def nsga2(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Draw by NSGA-II, a genetic algorithm, in populations of `search.startup_trials`.

    A pruned trial counts with its best value so far. Parameters with a condition are drawn at
    random.
    """
    from optuna.samplers import NSGAIISampler

    from sweeper.search.samplers import OnEvaluated

    # Parents are two or more.
    return OnEvaluated(NSGAIISampler(population_size=max(2, startup_trials), seed=seed))


def grid(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Try every combination of choices and steps once, in a random order."""
    from optuna.samplers import BruteForceSampler

    return BruteForceSampler(seed=seed)


def auto(
    *, seed: int, study_seed: int, startup_trials: int, context: Context = NO_CONTEXT
) -> "BaseSampler":
    """Choose `gp` for up to 200 trials of numbers without pruning, else `tpe`."""
    chosen = choose(context.space, prunes=context.prunes, index=context.index)
    make = gp if chosen == GP else tpe
    return make(seed=seed, study_seed=study_seed, startup_trials=startup_trials)


def takes_context(factory: SamplerFactory | ContextFactory) -> TypeGuard[ContextFactory]:
    """Return whether a factory has an argument `context`."""
    return "context" in signature(factory).parameters


def asha(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune by successive halving: one trial in `eta` continues at each rung."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=eta)


def promote(*, min_epochs: int, eta: int) -> "BasePruner":
    """Pause each trial at rungs, and go on with one in `eta`: successive halving by promotion."""
    from sweeper.search.samplers import Pauses

    return Pauses()


def median(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune a trial that is worse than the median of earlier ones."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=3, n_warmup_steps=min_epochs)


def none(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune nothing."""
    from optuna.pruners import NopPruner

    return NopPruner()
