"""The handle of one trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.model import Trial as Record
from sweeper.planning.checkpoint_paths import CheckpointPaths


@dataclass(frozen=True, kw_only=True, repr=False)
class Trial:
    """One trial of a sweep, as the ledger had it when the handle was made.

        best = sweep.best("mona/pdebench/advection_1d")
        best.params["refine.lr"], best.value, best.test

    Its attributes:
        sweep, study, number: The names of where it belongs.
        kind: preset, control, sampled, replicate or rerun.
        state: waiting, running, complete, pruned, failed or interrupted.
        params: All hyperparameters, by `stage.parameter`.
        seed: The seed of its training.
        value: The best validation value, which the search minimizes.
        epoch: The epoch of that value, in the stage that reports it.
        test: Test values by metric (`test/nrmse`) at that epoch; empty before the end.
        reason: Why it was pruned or has failed.
        checkpoint: The place of its weights: a folder, or a URL in a store; None: not kept.
    """

    sweep: str
    study: str
    number: int
    kind: str
    state: str
    params: Mapping[str, Any]
    seed: int
    value: float | None
    epoch: int | None
    test: Mapping[str, float]
    reason: str | None
    checkpoint: str | None

    @classmethod
    def of(cls, folder: Path, resolved: Mapping[str, Any], trial: Record) -> "Trial":
        """Return the handle of a trial of the sweep in `folder`, with this resolved form."""
        return cls(
            sweep=folder.name,
            study=trial.study,
            number=trial.number,
            kind=trial.kind.value,
            state=trial.state.value,
            params=dict(trial.params),
            seed=trial.seed,
            value=trial.value,
            epoch=trial.best_epoch,
            test=dict(trial.test),
            reason=trial.reason,
            checkpoint=CheckpointPaths.recorded(folder, resolved).checkpoint(trial),
        )

    @property
    def name(self) -> str:
        """The name in commands and output: `STUDY/NUMBER`."""
        return f"{self.study}/{self.number}"

    def __repr__(self) -> str:
        value = "" if self.value is None else f", {self.value:.6g}"
        return f"<Trial {self.name} of {self.sweep}: {self.kind}, {self.state}{value}>"
