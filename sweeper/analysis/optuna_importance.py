"""Which parameters made the difference between the trials of a study, by Optuna's fANOVA.

Hutter et al., "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014: the share
of the variance of a random forest, fitted to the trials, that each parameter explains alone. What
the shares leave to 1 is interactions of parameters, and noise that the forest took for them.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning

from sweeper.analysis.axes import axes, sampled_trials
from sweeper.analysis.table import StudyTable
from sweeper.config.distributions import Choice, Distribution, Float, Int

optuna.logging.set_verbosity(optuna.logging.ERROR)

FEWEST_TRIALS = 8  # below, an importance says more about chance than about the parameter


@dataclass(frozen=True)
class Importances:
    """What each parameter explains alone, as a share of the variance."""

    shares: Mapping[str, float]  # the largest first
    left_out: tuple[str, ...]  # parameters that not every trial has


def importances(table: StudyTable, parameters: Mapping[str, Any]) -> Importances | str:
    """Returns each parameter's share, or says why there is none.

    Args:
        parameters: The `parameters` of the sweep's file, resolved.
    """
    trials = sampled_trials(table)
    if len(trials) < FEWEST_TRIALS:
        return (
            f"{len(trials)} sampled {'trial is' if len(trials) == 1 else 'trials are'} complete; "
            f"below {FEWEST_TRIALS}, an importance would be a guess."
        )
    if len({trial.value for trial in trials}) == 1:
        return "All complete trials have the same value: no parameter made a difference."
    found = {name: _distribution(d) for name, d in axes(trials, parameters).items()}
    study = optuna.create_study(direction="minimize")
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                value=trial.value,
                params={name: trial.params[name] for name in trial.sampled},
                distributions={name: found[name] for name in trial.sampled},
            )
        )
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # scikit-learn's

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `normalize`, since Optuna 3.0
        forest = FanovaImportanceEvaluator(seed=0)
        shares = get_param_importances(study, evaluator=forest, normalize=False)
    if not shares:
        return "No parameter was sampled in every trial."
    return Importances(shares, tuple(name for name in found if name not in shares))


def _distribution(parameter: Distribution) -> BaseDistribution:
    match parameter:
        case Float(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Int(low=low, high=high, log=log):
            return IntDistribution(low, high, log=log)
        case Choice(values=values):
            return CategoricalDistribution(values)
