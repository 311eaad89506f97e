"""The Ray Tune Trainable: an actor that outlives its trials (`reset_config`), one at a time.

This is the only file of the package that knows Ray. The service's driver imports it too, so it
imports torch and the networks only inside the actor.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]  # Ray's own: another library's has no effect in a worker

from trainables.report import to_plain
from trainables.spec import AttemptConfig

if TYPE_CHECKING:
    from trainables.runtime.attempt import Attempt


class Trainable(tune.Trainable):
    """Actor that runs the trial that `config` (an `AttemptConfig` as plain data) describes.

    Each step returns a `StepResult` as plain data, to which Tune adds `pid`, `hostname` and
    `node_ip`. A process that holds more than `memory_bytes` ends with exit code 137, and a last
    line in the log that begins with HostOutOfMemory.

    An error leaves the actor warm for the next trial, which begins on a clean slate. The exception
    is an error that leaves the GPU unusable: it is raised, and so ends the actor.
    """

    _attempt: Attempt | None = None

    def __repr__(self) -> str:
        """Return what Ray's dashboard shows of the actor, which outlives its trials."""
        sweep = str(self.config.get("name", "")).partition("/")[0]
        return f"sweeper {sweep}".rstrip()

    def setup(self, config: dict[str, Any]) -> None:
        self.cleanup()
        attempt = AttemptConfig.from_plain(config)
        setproctitle(f"ray::sweeper {attempt.label} starting")
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
            attempt, self._attempt = self._attempt, None
            attempt.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True
