"""Factories of samplers and pruners: their protocols, and the built-in ones, which are Optuna's.

They are entry points of the groups `sweeper.samplers` and `sweeper.pruners`. This module does not
import Optuna, so that a sweep file is checked without it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class SamplerFactory(Protocol):
    """A function that makes the sampler of one suggestion, which finds all earlier trials in
    Optuna's study.

    A resumed sweep has these trials again, and the seeds are the same. Hence it goes on as if it
    had not been interrupted, unless a sampler keeps something elsewhere, such as in itself.
    """

    def __call__(self, *, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
        """Return a sampler.

        Args:
            seed: The seed of this suggestion; no two suggestions of a study have the same.
            study_seed: The seed of the study.
            startup_trials: `search.startup_trials` of the sweep file.
        """
        ...


class PrunerFactory(Protocol):
    """A function that makes the pruner of a study.

    A resumed sweep has all reported values again. Attributes of a trial that a pruner sets are lost
    (but for those of successive halving), so that decisions must not depend on them.
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
    """Draw by a tree-structured Parzen estimator, which learns which values are good together."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True)


def random(*, seed: int, study_seed: int, startup_trials: int) -> "BaseSampler":
    """Draw independently of all results."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def asha(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune by successive halving: one trial in `eta` continues at each rung."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=eta)


def median(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune a trial that is worse than the median of earlier ones."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=3, n_warmup_steps=min_epochs - 1)


def none(*, min_epochs: int, eta: int) -> "BasePruner":
    """Prune nothing."""
    from optuna.pruners import NopPruner

    return NopPruner()
