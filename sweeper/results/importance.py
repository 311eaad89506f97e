"""The importance of each parameter of a study by Optuna's fANOVA, and the range of its values.

The importance of a parameter is the share of the variance of a random forest, fitted to the trials,
that this parameter explains alone (Hutter et al., "An Efficient Approach for Assessing
Hyperparameter Importance", ICML 2014). The rest, up to 1, is due to interactions of parameters and
to noise.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning

from sweeper.model import Trial, TrialKind, TrialState
from sweeper.results.schema import StudyResult
from sweeper.spec.distributions import Choice, Distribution, Float, Int, same
from sweeper.text import is_number

optuna.logging.set_verbosity(optuna.logging.ERROR)

Parameters = Mapping[str, Any]  # the resolved section `parameters` of a sweep file, as plain YAML
MIN_TRIALS = 8  # with fewer trials, an importance would be chance
MAX_TRIALS = 5000  # that a forest is fitted to: its time grows with them


@dataclass(frozen=True)
class Importances:
    """The share of the variance that each parameter explains alone."""

    shares: Mapping[str, float]  # in descending order
    left_out: tuple[str, ...]  # parameters that some trials lack
    num_trials: int  # to which the forest was fitted
    num_complete: int  # from which these were drawn


def importances(
    table: StudyResult, parameters: Parameters, most: int = MAX_TRIALS
) -> Importances | str:
    """Return the share of each parameter, or the reason why there is none.

    Args:
        table: The study.
        parameters: The resolved section `parameters` of the sweep file.
        most: The number of trials that a forest is fitted to; of more, so many are drawn.
    """
    trials = sampled_trials(table)
    if len(trials) < MIN_TRIALS:
        return (
            f"{len(trials)} sampled {'trial is' if len(trials) == 1 else 'trials are'} complete; "
            f"below {MIN_TRIALS}, an importance would be a guess."
        )
    used = drawn(trials, most)
    if len({trial.value for trial in used}) == 1:
        return "All complete trials have the same value: no parameter made a difference."
    # Optuna needs the trials as a study of its own, with the distributions of their parameters.
    found = {name: _distribution(d) for name, d in axes(trials, parameters).items()}
    study = optuna.create_study(direction="minimize")
    for trial in used:
        study.add_trial(
            optuna.trial.create_trial(
                value=trial.value,
                params={name: trial.params[name] for name in trial.sampled},
                distributions={name: found[name] for name in trial.sampled},
            )
        )
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # scikit-learn's

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `normalize` is experimental
        forest = FanovaImportanceEvaluator(seed=0)
        # Normalised shares add up to 1, and hide that interactions may explain most.
        shares = get_param_importances(study, evaluator=forest, normalize=False)
    if not shares:
        return "No parameter was sampled in every trial."
    missing = tuple(name for name in found if name not in shares)
    return Importances(shares, missing, len(used), len(trials))


def drawn(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Return at most so many trials, drawn at random, always the same ones of the same trials.

    Trials at equal distances might all have one configuration of a shared stage.
    """
    if len(trials) <= most:
        return list(trials)
    chosen = np.random.default_rng(0).choice(len(trials), most, replace=False)
    return [trials[k] for k in np.sort(chosen)]


def _distribution(parameter: Distribution) -> BaseDistribution:
    match parameter:
        case Float(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case Int(low=low, high=high, log=log):
            return IntDistribution(low, high, log=log)
        case Choice(values=values):
            return CategoricalDistribution(values)


def sampled_trials(table: StudyResult) -> list[Trial]:
    """Return the complete trials from the sampler, which can be compared with each other."""
    return [
        trial
        for trial in table.trials
        if trial.kind is TrialKind.SAMPLED
        and trial.state is TrialState.COMPLETE
        and trial.value is not None
        and math.isfinite(trial.value)
    ]


def axes(trials: Sequence[Trial], parameters: Parameters) -> dict[str, Distribution]:
    """Return the distribution of each parameter that was sampled in some trial.

    Args:
        trials: The trials.
        parameters: The resolved section `parameters` of the sweep file. The range of a missing
            parameter is that of its values in the trials.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.sampled)
    occurred = {n: [t.params[n] for t in trials if n in t.sampled] for n in names}
    return {name: axis(parameters.get(name), occurred[name]) for name in names}


def axis(written: Any, occurred: Sequence[Any]) -> Distribution:
    """Return the distribution of a parameter, extended to all values that occurred."""
    written = written if isinstance(written, Mapping) else {}
    if "values" in written or not all(map(is_number, occurred)):
        values = list(written.get("values", ()))
        for value in occurred:
            # Python's `in` would take true for 1, which is another value in YAML.
            if not any(same(value, known) for known in values):
                values.append(value)
        return Choice(values=tuple(values))
    # Optuna refuses a trial with a value outside of its distribution.
    low = min([*occurred, written.get("min", math.inf)])
    high = max([*occurred, written.get("max", -math.inf)])
    log = "log" in str(written.get("distribution", "")) and low > 0
    if all(isinstance(value, int) for value in (*occurred, low, high)):
        return Int(low=low, high=high, log=log)
    return Float(low=float(low), high=float(high), log=log)


def position(value: Any, along: Distribution) -> float:
    """Return the position of a value from 0 (low end) to 1; 0.5 if there is only one value."""
    match along:
        case Choice(values=values):
            index = next(i for i, known in enumerate(values) if same(value, known))
            return index / (len(values) - 1) if len(values) > 1 else 0.5
        case Float(low=low, high=high, log=log) | Int(low=low, high=high, log=log):
            if low == high:
                return 0.5
            if log:
                return math.log(value / low) / math.log(high / low)
            return float((value - low) / (high - low))
