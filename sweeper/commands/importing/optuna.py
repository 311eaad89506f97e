"""Optuna: a study in a database, whose trials have its distributions."""

import re
from pathlib import Path

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection

from sweeper.commands.importing.search import ImportedSearch
from sweeper.search.other_trials import study_in
from sweeper.spec.schema import TRIALS

TOOL = "Optuna"
METRIC = "value"  # unless the study names its own


def read(source: str) -> ImportedSearch:
    """Return the search of a study: its latest distributions, its metric and its trials.

    Raises:
        UsageError: There is no such database, or it has not exactly one study of this name.
        BackendUnreachable: The database does not answer.
    """
    study = study_in(source)
    trials = study.get_trials(deepcopy=False)
    found = ImportedSearch(tool=TOOL, name=study.study_name)
    found.metric = (study.metric_names or [METRIC])[0]
    found.is_maximised = study.directions[0] is StudyDirection.MAXIMIZE
    if len(study.directions) > 1:
        found.drop("further objectives", "a program has one metric; the first is read")
    spaces: dict[str, BaseDistribution] = {}
    for trial in trials:
        spaces |= trial.distributions
    for name, space in spaces.items():
        _add(found, name, space)
        if any(name not in trial.distributions for trial in trials):
            found.drop(f"condition of {name}", "only some trials have it; write a `when`")
    found.set("search", trials=len(trials) or None)
    is_file = "://" not in source and re.search(TRIALS, source)
    # A warm start without a complete trial would be a fault.
    if is_file and any(trial.state.name == "COMPLETE" for trial in trials):
        found.set("search", warm_start=[str(Path(source).absolute())])
    found.drop("sampler and pruner", "a database has none; written are tpe and no pruning")
    return found


def _add(found: ImportedSearch, name: str, space: BaseDistribution) -> None:
    match space:
        case CategoricalDistribution(choices=choices):
            found.choice(name, choices)
        case IntDistribution(low=low, high=high, log=log, step=step):
            found.range(name, int(low), int(high), log=log, step=int(step))
        case FloatDistribution(low=low, high=high, log=log, step=step):
            found.range(name, float(low), float(high), log=log, step=step)
        case _:
            found.drop(f"parameter {name}", f"{space} is unknown")
