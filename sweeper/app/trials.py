"""Turns a trial of the ledger into what a Trainable runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.app.describe import spec_of
from sweeper.app.places import Places
from sweeper.app.stages import place_of
from sweeper.checkpoint_name import CheckpointName
from sweeper.errors import NotFound, unknown
from sweeper.ledger import Ledger
from sweeper.space.sweep import StudyPlan, Sweep
from sweeper.study import Trial
from trainables.methods.halving import can_halve

PATIENCE_S = 20.0  # with a store that is asked for checkpoints while all others wait


class TrialBuilder:
    """Builds a Trainable's config (a `SpecBuilder`) for the trials of one sweep.

    Args:
        holder: The name by which the sweep holds the stage results that it uses.
        facts: What is recorded of each study.
    """

    def __init__(
        self,
        sweep: Sweep,
        places: Places,
        home: Path,
        holder: str,
        facts: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._sweep, self._places, self._home, self._holder = sweep, places, home, holder
        self._facts = facts
        self._studies: Mapping[str, StudyPlan] = {s.name: s for s in sweep.studies()}

    def __call__(self, trial: Trial) -> dict[str, Any]:
        study = self._studies[trial.study]
        spec = spec_of(self._sweep, study, trial.params, seed=trial.seed, home=self._home)
        named = self._places.checkpoint(trial)
        found: tuple[str, ...] = ()
        if named is not None:
            found = self._places.checkpoints(trial, timeout_s=PATIENCE_S)
        return {
            "spec": spec.model_dump(mode="json", by_alias=True) | {"halvings": trial.halvings},
            "content_hash": self._facts[trial.study]["content_hash"],
            "label": f"{trial.study} {trial.number:03d}",
            "folder": str(self._places.scratch(trial)),
            "store": self._places.store_of_attempt(trial),
            "resume": measured(named, found, tuple(spec.stages)),
            "threads": self._sweep.resources.cpu,
            "memory_bytes": self._sweep.resources.memory,
            "name": f"{self._sweep.name}/{trial.study}/{trial.number}",
            "stages": place_of(self._sweep, study),
            "stages_holder": self._holder,
        }

    def can_halve(self, trial: Trial, stage: str | None) -> bool:
        """Whether `stage` (None: any) has micro-batches that could be half as large once more."""
        study = self._studies[trial.study]
        settings = self._sweep.resolve_params(study, trial.params)
        return any(
            can_halve(study.method, name, settings[name], halvings=trial.halvings)
            for name in ([stage] if stage in settings else settings)
        )


def measured(named: str | None, found: Sequence[str], stages: Sequence[str]) -> list[str]:
    """Return the checkpoints from which a trial may go on, the latest epoch first.

    Those of later epochs than the ledger has are left out: a process that was stopped between
    saving and being heard left them, and an epoch skipped would never be measured. Their names
    tell the order, not their times, which a copy of the sweep need not have.

    Args:
        named: The place of the checkpoint that the ledger names. It comes first even if it is not
            `found`: the attempt then says so, and takes the one before.
        stages: Of the trial, in their order.
    """
    if named is None:
        return []
    latest = _position(named, stages)
    earlier = {
        place: position
        for place in found
        if latest is not None
        and (position := _position(place, stages)) is not None
        and position < latest
    }
    return [named, *sorted(earlier, key=lambda place: earlier[place], reverse=True)]


def _position(place: str, stages: Sequence[str]) -> tuple[int, int, int] | None:
    """Return how far a trial was when it saved a checkpoint: stage, epoch, attempt."""
    name = CheckpointName.parse(place)
    if name is None or name.stage not in stages:
        return None
    return stages.index(name.stage), name.epoch, name.attempt


def find_trial(ledger: Ledger, name: str) -> Trial:
    """Returns the trial that a user names as `STUDY/NUMBER`, or by its number in a lone study.

    Raises:
        NotFound: There is none; the text says which there are.
    """
    studies = [study.name for study in ledger.studies()]
    study, _, number = name.rpartition("/")
    if not study and len(studies) == 1:
        study = studies[0]
    if study not in studies:
        ways = f" Write it as {studies[0]}/0, say." if studies and not study else ""
        raise NotFound(unknown("study", study or name, studies) + ways)
    trials = {str(trial.number): trial for trial in ledger.trials(study)}
    number = number.lstrip("0") or "0"
    if number not in trials:
        raise NotFound(unknown("trial", number, trials))
    return trials[number]
