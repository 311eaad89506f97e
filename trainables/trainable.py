"""The Ray Tune Trainable: an actor that runs one trial after another (`reset_config`).

This is the only file of the package that imports Ray. The service's driver imports it too, so torch
and the networks are imported only inside the actor.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]  # Ray's own: another library's has no effect in a worker

from trainables.report import to_plain
from trainables.runtime.memory import allocator_settings
from trainables.spec import AttemptConfig

if TYPE_CHECKING:
    from trainables.runtime.attempt import Attempt


class Trainable(tune.Trainable):
    """Actor that runs the trial that `config` (an `AttemptConfig` as plain data) describes.

    Each step returns a `StepResult` as plain data. Tune adds `pid`, `hostname` and `node_ip` to it.
    A process that exceeds `memory_bytes` ends with exit code 137. The last line of its log then
    begins with HostOutOfMemory.

    An error ends the trial but not the actor, which runs the next trial from a clean state. Only an
    error that leaves the GPU unusable is raised, and ends the actor.
    """

    _attempt: Attempt | None = None

    def __repr__(self) -> str:
        """Return the label in Ray's dashboard. It names no trial, because the actor runs many."""
        sweep = str(self.config.get("name", "")).partition("/")[0]
        return f"sweeper {sweep}".rstrip()

    def setup(self, config: dict[str, Any]) -> None:
        self.cleanup()
        attempt = AttemptConfig.from_plain(config)
        setproctitle(f"ray::sweeper {attempt.label} starting")
        os.environ |= allocator_settings(os.environ)
        from trainables.runtime.attempt import Attempt

        self._attempt = Attempt(attempt)

    def step(self) -> dict[str, Any]:
        attempt = self._attempt
        assert attempt is not None
        setproctitle(f"ray::sweeper {attempt.label} {attempt.place}")
        return to_plain(attempt.step())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        assert self._attempt is not None
        self._attempt.save(Path(checkpoint_dir, "state"))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        assert isinstance(checkpoint, str)
        assert self._attempt is not None
        self._attempt.load(Path(checkpoint, "state"))

    def cleanup(self) -> None:
        if self._attempt is not None:
            self._attempt.close()  # after an error the attempt stays, and ends the actor later
            self._attempt = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True
