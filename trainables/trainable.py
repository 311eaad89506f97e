"""The Ray Tune Trainable: an actor that runs one trial after another (`reset_config`).

This is the only file of the package that imports Ray. The service's driver imports it too, so torch
and the networks are imported only inside the actor.
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune
from ray._private.state import state as cluster_state
from ray._raylet import setproctitle  # type: ignore[attr-defined]  # Ray's own: another library's has no effect in a worker

from trainables.errors import NodeUnfit
from trainables.report import to_plain
from trainables.runtime.memory import allocator_settings
from trainables.spec import AttemptConfig

if TYPE_CHECKING:
    from trainables.runtime.attempt import Attempt

ATTEMPT = "attempt"  # key of an `AttemptConfig` in the config of a trial of Tune
LOOK_S = 1.0  # between two questions whether this node drains


class NodeDrains(RuntimeError):
    """The end of an attempt on a node that is about to leave the cluster. It is no failure."""


class OwnNode:
    """The node of this actor, as its cluster sees it."""

    def __init__(self) -> None:
        self._looked, self._drains = -LOOK_S, False

    def check(self) -> None:
        """Check that this node stays in the cluster.

        Raises:
            NodeDrains: It drains: Ray starts nothing there any more, and ends it soon.
        """
        if not self._drains and time.monotonic() - self._looked >= LOOK_S:
            self._looked, self._drains = time.monotonic(), is_draining()
        if self._drains:
            raise NodeDrains("this node is leaving the cluster; the trial goes on elsewhere")


@cache
def exempt_modules() -> None:
    """Exempt all objects so far from garbage collection, which looked at them after each trial.

    There are half a million, nearly all of modules, which stay as long as the process.
    """
    gc.collect()  # what is garbage by now would stay, too
    gc.freeze()


def is_draining() -> bool:
    """Return whether the cluster drains the node of this process."""
    if not ray.is_initialized():
        return False
    with suppress(Exception):  # a head that does not answer is noticed by the driver
        return ray.get_runtime_context().get_node_id() in cluster_state.get_draining_nodes()
    return False


class Trainable(tune.Trainable):
    """Actor that runs the attempt that `config` has under ATTEMPT, an `AttemptConfig`.

    Each step returns a `StepResult` as plain data. Tune adds `pid`, `hostname` and `node_ip` to it.
    A process that exceeds `memory_bytes` ends with exit code 137. The last line of its log then
    begins with HostOutOfMemory.

    An error ends the trial but not the actor, which runs the next trial from a clean state. Only an
    error that leaves the GPU unusable is raised, and ends the actor. So is NodeDrains: before the
    next epoch, after the state of the last one was saved.
    """

    attempt: Attempt | None = None
    node = OwnNode()

    def __repr__(self) -> str:
        """Return the label in Ray's dashboard. It names no trial, because the actor runs many."""
        attempt: AttemptConfig | None = self.config.get(ATTEMPT)
        return "sweeper" if attempt is None else f"sweeper {attempt.name.partition('/')[0]}"

    def setup(self, config: dict[str, Any]) -> None:
        try:
            self.cleanup()
        except RuntimeError as error:  # of the trial before: this one has no part in it
            raise NodeUnfit(f"this process cannot run another trial: {error}") from error
        self.node.check()
        attempt: AttemptConfig = config[ATTEMPT]
        setproctitle(f"ray::sweeper {attempt.label} starting")
        # torch reads these variables when it is imported, which is below.
        os.environ |= allocator_settings(os.environ)
        from trainables.runtime.attempt import Attempt, begin_of

        begin_of(attempt)  # imports, which the exemption is for
        exempt_modules()
        # Ray itself passes such a function on, in memory; nothing of it is stored.
        function = None if attempt.passed is None else cloudpickle.loads(attempt.passed)
        self.attempt = Attempt(attempt, function)

    def step(self) -> dict[str, Any]:
        attempt = self.attempt
        assert attempt is not None
        try:
            self.node.check()
        except NodeDrains:
            attempt.leave()
            raise
        setproctitle(f"ray::sweeper {attempt.label} {attempt.place}")
        return to_plain(attempt.step())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        assert self.attempt is not None
        self.attempt.save(Path(checkpoint_dir, "state"))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        assert isinstance(checkpoint, str)
        assert self.attempt is not None
        self.attempt.load(Path(checkpoint, "state"))

    def cleanup(self) -> None:
        if self.attempt is not None:
            self.attempt.close()  # after an error the attempt stays, and ends the actor later
            self.attempt = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True
