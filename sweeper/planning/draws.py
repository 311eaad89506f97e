"""The draws of data of a study: one for all trials, or one for each seed of its replicates.

With `data.seed: replicate` a replicate, and a rerun of it, has data that were drawn by the seed of
the replicate. All methods and arms on a task have the same seeds, and thereby the same draws. The
search has one draw, because a sampler compares the values of its trials.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.config.study_spec import REPLICATE, StudySpec
from sweeper.config.sweep import Sweep
from sweeper.ledger import Ledger
from sweeper.model import StudyFacts
from trainables.errors import DataError
from trainables.seeding import derive_seed
from trainables.spec import DataSpec
from trainables.tasks.loading import has_draws
from trainables.tasks.registry import TASKS

BASE = 0  # `data.seed` of the search

__all__ = ["data_of", "draws_of", "notes_on", "predictors_of", "replicate_seeds"]
__all__ += ["with_begun_draws"]


def replicate_seeds(sweep: Sweep, study: StudySpec) -> tuple[int, ...]:
    """Return the seeds of a study's replicates, the same for every method and arm on a task."""
    wanted = sweep.replicate_of(study)
    count = 0 if wanted is None else wanted.seeds
    return tuple(derive_seed(sweep.search.seed, study.task, "replicate", k) for k in range(count))


def data_of(study: StudySpec, seed: int | None = None) -> DataSpec:
    """Return the data settings of a study's trials, with the resolution of its dimension.

    Args:
        seed: Of another draw than that of the search.
    """
    given = dict(study.data)
    if study.has_own_draws:
        given["seed"] = BASE
    if seed is not None:
        given["seed"] = seed
    return DataSpec.model_validate(given).of(TASKS[study.task].dimension)


def draws_of(sweep: Sweep, study: StudySpec, home: Path) -> dict[int, int]:
    """Return `data.seed` of each seed of a study's replicates; empty if they share one draw.

    Published files, and own splits that are not taken as shares, have one draw.
    """
    try:
        if not study.has_own_draws or not has_draws(study.task, data_of(study), home):
            return {}
    except DataError:  # of data that are missing, which the launch reports
        return {}
    return {seed: derive_seed(BASE, "draw", seed) for seed in replicate_seeds(sweep, study)}


def notes_on(sweep: Sweep, home: Path) -> list[str]:
    """Return a note on tasks that keep one draw although each seed asks for its own."""
    asked = [s for s in sweep.studies() if s.has_own_draws and replicate_seeds(sweep, s)]
    kept = dict.fromkeys(s.task for s in asked if not draws_of(sweep, s, home))
    if not kept:
        return []
    return [
        f"`data.seed: {REPLICATE}` has no effect on {', '.join(kept)}: published files, and splits "
        "that are no shares, have one draw, which all seeds share."
    ]


def with_begun_draws(ledger: Ledger, facts: Mapping[str, StudyFacts]) -> dict[str, StudyFacts]:
    """Return the facts of each study, with the draws of replicates that it had before.

    A launch may ask for more replicates than the one before, or for fewer. Draws that the ledger
    has stay as they are, floors included.
    """
    begun = _begun(ledger)
    return {
        name: replace(each, draws={**each.draws, **begun[name].draws}) if name in begun else each
        for name, each in facts.items()
    }


def predictors_of(ledger: Ledger) -> dict[str, str]:
    """Return the predictor of the floor of each begun study, by which further draws have theirs."""
    begun = _begun(ledger).items()
    return {name: each.floor.name for name, each in begun if each.floor is not None}


def _begun(ledger: Ledger) -> dict[str, StudyFacts]:
    return {
        study.name: StudyFacts.from_json(ledger.facts(study.name)) for study in ledger.studies()
    }
