"""A running trial of a method in a worker, with what its process keeps for the next one."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from trainables.errors import DataError
from trainables.methods.registry import broken_by_halving
from trainables.runtime.attempt_checkpoints import AttemptCheckpoints
from trainables.runtime.checkpoints import Snapshots
from trainables.runtime.device import device_for
from trainables.runtime.memory import count_anew
from trainables.runtime.ranks.processes import RankProcesses
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import AttemptConfig, TrialSpec
from trainables.storage.files import TIMEOUT_S
from trainables.storage.stage_store import StageStore

PARTS = WarmParts()  # shared by all attempts of this process
RANKS = RankProcesses()  # likewise


@dataclass
class MethodRun(Training):
    """A training that may have other processes, and is saved while it goes on."""

    snapshots: Snapshots = field(default_factory=Snapshots)

    @property
    def on_gpu(self) -> bool:
        """True if the model is on a GPU."""
        return self.state.device.type == "cuda"

    @property
    def precision(self) -> str | None:
        """The precision in which the trial computes."""
        return self.state.precision

    @property
    def parameters(self) -> int | None:
        """The numbers of the model, frozen ones included."""
        return sum(each.numel() for each in self.state.model.parameters())

    @property
    def pids(self) -> list[int]:
        """The processes of the trial beside this one."""
        return RANKS.pids

    def keep(self, to: AttemptCheckpoints, name: str) -> None:
        """Begin to write a checkpoint of the present state."""
        self.snapshots.write(self.state, to, name)

    def close(self, *, has_failed: bool = False) -> None:
        """Let the other processes release the trial; end them if it failed."""
        if has_failed:
            RANKS.stop()  # they may wait for this process
        else:
            RANKS.end()


def begin(config: AttemptConfig) -> tuple[MethodRun, list[str]]:
    """Build the trial of an attempt, and return it with notes on its settings.

    Raises:
        TrainableError: It cannot be built, or its data have changed since the sweep began.
    """
    torch.set_num_threads(config.threads)
    try:
        device = device_for(config.gpu)
        count_anew(device.type == "cuda")
        spec = TrialSpec.model_validate(config.spec)
        RANKS.begin(config)
        run = MethodRun.begin(
            spec, PARTS, device=device, gpu=config.gpu, store=_stages(config), name=config.name
        )
        run.state.ranks = RANKS.ranks(device)
        _check_same(run, config.content_hash)
        if run.on_gpu:
            print(f"computed in {run.state.precision}", flush=True)
        return run, broken_by_halving(spec, {stage.name: stage.config for stage in run.stages})
    except Exception:
        # The other processes would wait for a trial that never begins.
        RANKS.stop()
        raise


def _stages(config: AttemptConfig) -> StageStore | None:
    if config.stage_store is None:
        return None
    return StageStore(
        config.stage_store,
        Path(config.folder),
        pin=config.stage_pin,
        timeout_s=config.store_timeout_s or TIMEOUT_S,
    )


def _check_same(run: Training, expected: str | None) -> None:
    """Check that a trial trains on the same data as the earlier trials of its sweep.

    Raises:
        DataError: The content hash of the data has changed.
    """
    task = run.domains.target
    if expected not in (None, task.content_hash):
        raise DataError(
            f"{task.info.name}: the data have changed since the sweep began: their hash is "
            f"{task.content_hash}, and was {expected}. Put the former ones back, or start another "
            "sweep."
        )
