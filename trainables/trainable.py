"""The Ray Tune Trainable: an actor that outlives its trials (`reset_config`), one at a time.

The only file here that knows Ray. Since the service's driver imports it too, it imports torch and
the networks in the actor alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]  # Ray's own: another library's has no effect in a worker

if TYPE_CHECKING:
    from trainables.runtime.attempt import Attempt


class Trainable(tune.Trainable):
    """Runs the trial that `config` describes.

    `config` holds `spec` (a TrialSpec as plain data), `label` (sweep, study and trial, for people),
    `folder` (where this attempt writes checkpoints and `log.txt`), `resume` (checkpoints to go on
    from, newest first, by their folders or URLs; none to start afresh), `threads` (CPU threads to
    use). It may hold `content_hash` (that the task's data have to have), `store` (this attempt's
    place in an artifact store, by its URL: checkpoints are kept there, and `folder` is scratch),
    `store_timeout_s` (for an answer of the store), and `memory_bytes` (that the process may hold:
    over it, it ends with exit code 137 and a last line in the log that begins with
    HostOutOfMemory).

    Where it holds `stages` (the place of a store of stage results), it takes results over and adds
    to them, as `name` and for `stages_holder` (a sweep, until whose end they are kept).

    A result is either a measurement: `report` (a Report as plain data), `checkpoint` (its folder or
    URL, once it is whole there; None amid a stage that is taken over), `seconds` (since the attempt
    began) and `peak_memory_bytes`; or the attempt's end by an error: `failure` (the traceback),
    `reason` (one line), `error` (the name of its class), `infeasible` (whether the trial cannot
    begin because of its settings), `stage` and `epoch`, where it was (None before the first); or
    `waits`, a stage that another trial computes. All hold `done`, and `notes` of what people should
    know of this attempt besides: a damaged checkpoint, say. Tune adds `pid`, `hostname` and
    `node_ip`.

    An error leaves the actor warm for the next trial, which begins on a clean slate; but for one
    that leaves the GPU unusable, which is raised and so ends the actor.
    """

    _attempt: Attempt | None = None

    def __repr__(self) -> str:
        """Return what Ray's dashboard shows of the actor, which outlives its trials."""
        sweep = str(self.config.get("name", "")).partition("/")[0]
        return f"sweeper {sweep}".rstrip()

    def setup(self, config: dict[str, Any]) -> None:
        self.cleanup()
        setproctitle(f"ray::sweeper {config['label']} starting")
        from trainables.runtime.attempt import Attempt

        self._attempt = Attempt(config)

    def step(self) -> dict[str, Any]:
        attempt = self._attempt
        assert attempt is not None
        setproctitle(f"ray::sweeper {attempt.label} {attempt.place}")
        return attempt.step()

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
