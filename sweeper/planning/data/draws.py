"""The draws of data of a study: one for all trials, or one for each seed of its replicates.

With `data.seed: replicate` a replicate, and a rerun of it, has data that were drawn by the seed of
the replicate. All methods and arms on a task have the same seeds, and thereby the same draws. The
search has one draw, because a sampler compares the values of its trials.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.model import StudyFacts
from sweeper.planning.catalog import as_usage_errors
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from trainables.errors import DataError, TrainableError
from trainables.seeding import derive_seed
from trainables.spec import DataSpec
from trainables.tasks.loading import has_draws, is_prepared, split_sizes
from trainables.tasks.official import is_generated, used_sizes
from trainables.tasks.registry import TASKS

if TYPE_CHECKING:
    from sweeper.ledger import Ledger  # `validate` needs none

UNEVEN = 1.25  # a larger ratio of sizes of draws is worth a note
BASE = 0  # `data.seed` of the search


def replicate_seeds(sweep: Sweep, study: StudySpec) -> tuple[int, ...]:
    """Return the seeds of a study's replicates, the same for every method and arm on a task."""
    wanted = sweep.replicate_of(study)
    return () if wanted is None else wanted.seeds_on(study.task, sweep.search.seed)


def data_of(study: StudySpec, seed: int | None = None) -> DataSpec:
    """Return the data settings of a study's trials, with the resolution of its dimension.

    `seed` is that of another draw than the search's.
    """
    given = dict(study.data)
    # `replicate` is no seed. The search has draw 0, and a replicate names its own.
    if study.has_own_draws:
        given["seed"] = BASE
    if seed is not None:
        given["seed"] = seed
    return DataSpec.model_validate(given).of(TASKS[study.task].dimension)


def draws_of(sweep: Sweep, study: StudySpec, home: Path) -> dict[int, int]:
    """Return `data.seed` of each seed of a study's replicates; empty if they share one draw.

    Published files, and own splits that are not taken as shares, have one draw.
    """
    if not study.has_own_draws or not _has_draws(study, home):
        return {}
    return {seed: derive_seed(BASE, "draw", seed) for seed in replicate_seeds(sweep, study)}


def _has_draws(study: StudySpec, home: Path) -> bool:
    try:
        return has_draws(study.task, data_of(study), home)
    except DataError:  # of data that are missing, which the launch reports
        return False


def notes_on(sweep: Sweep, home: Path) -> list[str]:
    """Return notes on tasks where `data.seed` has no effect, and where draws differ in size.

    Raises:
        UsageError: An own task cannot be divided by the seed of a draw, or has too few samples.
    """
    # Seed 0 is the default, of which no note is due.
    given = {
        study.task: study.data["seed"]
        for study in sweep.studies
        if (replicate_seeds(sweep, study) if study.has_own_draws else study.data.get("seed"))
        and not _has_draws(study, home)
    }
    notes = [
        f"`data.seed: {seed}` has no effect on {', '.join(t for t in given if given[t] == seed)}: "
        "published files, and splits that are no shares, have one draw, which all seeds share."
        for seed in dict.fromkeys(given.values())
    ]
    with as_usage_errors():
        return [*notes, *dict.fromkeys(_uneven(sweep, home))]


def _uneven(sweep: Sweep, home: Path) -> Iterator[str]:
    """Divide own tasks as each draw will, and yield a note on splits that differ in size."""
    known: dict[tuple[str, int], list[tuple[int, Mapping[str, int]]]] = {}
    for study in sweep.studies:
        seeds, data = [*draws_of(sweep, study, home).values()], data_of(study)
        # Generated data have the same sizes at each seed, and those of missing data are unknown.
        if not seeds or is_generated(study.task) or not is_prepared(study.task, data, home):
            continue
        if (key := (study.task, len(seeds))) not in known:
            known[key] = _divided(study, seeds, home)
        used = []
        for number, whole in known[key]:
            with naming_draw(number, len(seeds)):
                used.append(used_sizes(study.task, whole, data))
        sizes = {split: sorted(each[split] for each in used) for split in used[0]}
        told = [
            f"{of[0]} to {of[-1]} samples in `{split}`"
            for split, of in sizes.items()
            if of[-1] > UNEVEN * of[0]
        ]
        if told:
            yield (
                f"{study.task}: the draws of the seeds differ in size: {', '.join(told)}; with "
                "`data.seed: 0` all seeds share one draw."
            )


def _divided(
    study: StudySpec, seeds: Sequence[int], home: Path
) -> list[tuple[int, Mapping[str, int]]]:
    """Return the number and the split sizes of each draw; what the first allows, all allow."""
    found = []
    for number, seed in enumerate(seeds):
        with naming_draw(number, len(seeds)):
            found.append((number, split_sizes(study.task, data_of(study, seed), home)))
    return sorted(found, key=lambda it: it[1]["train"])


@contextmanager
def naming_draw(number: int, of: int) -> Iterator[None]:
    """Name the draw, counted from 0, whose data cannot be had, and a way out."""
    try:
        yield
    except TrainableError as error:
        raise DataError(
            f"with the draw of seed {number + 1} of {of}: {error} Or let all seeds share one draw, "
            "by `data.seed: 0`."
        ) from error


def with_begun_draws(ledger: "Ledger", facts: Mapping[str, StudyFacts]) -> dict[str, StudyFacts]:
    """Return the facts of each study, with the draws of replicates that it had before.

    A launch may ask for more replicates than the one before, or for fewer. Draws that the ledger
    has stay as they are, floors included.
    """
    begun = _begun(ledger)
    return {
        # Recorded draws come last and win: replicates have been trained on them.
        name: replace(each, draws={**each.draws, **begun[name].draws}) if name in begun else each
        for name, each in facts.items()
    }


def predictors_of(ledger: "Ledger") -> dict[str, str]:
    """Return the predictor of the floor of each begun study, by which further draws have theirs."""
    begun = _begun(ledger).items()
    return {name: each.floor.name for name, each in begun if each.floor is not None}


def _begun(ledger: "Ledger") -> dict[str, StudyFacts]:
    return {study.name: ledger.facts(study.name) for study in ledger.studies()}
