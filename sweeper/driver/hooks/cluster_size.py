"""The size of a cluster that grows or shrinks while a sweep runs on it.

A sweep runs as many trials as fit on the present nodes. If an autoscaler may add nodes, it starts
some more: a trial that waits for a node is what an autoscaler sees. It is no silent trial, and its
time does not count.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.ledger import Ledger
from sweeper.planning.resources import MAX_CONCURRENT, NodeResources, slots_on
from sweeper.spec.sweep import Sweep
from sweeper.text import counted

REFRESH_S = 3.0
PATIENCE_S = 600.0  # with an autoscaler that adds nothing, before fewer trials wait for it
WAITING_S = 30.0  # before trials that wait for a node are worth a line


@dataclass(kw_only=True, eq=False)
class ClusterSize(Hook):
    """Follows the nodes of a cluster, and limits a sweep to what fits on them."""

    sweep: Sweep
    runner: SweepRunner
    ledger: Ledger
    read: Callable[[], Sequence[NodeResources]]  # of present nodes that are not about to leave
    grows: bool  # an autoscaler may add nodes
    resized: Callable[[int], None]  # called with the number of slots when it changes
    joined: Callable[[], None]  # called in a thread of its own after nodes have joined
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._refreshed = -REFRESH_S
        self._nodes: int | None = None
        self._slots = 0
        self._grew = self.clock()
        self._waiting_since: float | None = None
        self._recorded: tuple[int, int, int] | None = None  # nodes, slots, waiting trials

    def tick(self) -> None:
        """Count the nodes again, and let the runner start as many trials as there is room for."""
        now = self.clock()
        if now - self._refreshed < REFRESH_S:
            return
        self._refreshed = now
        nodes = self.read()
        slots = slots_on(self.sweep, nodes)
        if (len(nodes), slots) != (self._nodes, self._slots):
            self._resize(len(nodes), slots, now)
        self.runner.slots = self._slots + self._demand(now)
        self._record(now)

    def _resize(self, nodes: int, slots: int, now: float) -> None:
        if slots > self._slots:
            self._grew = now
        if self._nodes is not None and slots != self._slots:
            self.say(f"the cluster has {counted(nodes, 'node')} now: {slots} trials at once.")
        if self._nodes is not None and nodes > self._nodes:
            # The check asks each node, and may wait for one that does not answer.
            threading.Thread(target=self.joined, name="joined", daemon=True).start()
        is_new = slots != self._slots
        self._nodes, self._slots = nodes, slots
        if is_new:
            self.resized(slots)

    def _demand(self, now: float) -> int:
        """Return the number of trials that may wait for nodes which an autoscaler could add.

        The cluster may double. After a while without another node, one trial waits on: what a
        sampler suggests early, it suggests without the results of the trials before.
        """
        most = (self.sweep.search.max_concurrent or MAX_CONCURRENT) - self._slots
        if not self.grows or most <= 0:
            return 0
        return min(most, 1 if now - self._grew > PATIENCE_S else self._slots)

    def _record(self, now: float) -> None:
        """Record size and waiting trials in the ledger, once each lasts."""
        waiting = self.runner.num_without_node
        if not waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        # Each start of a trial waits for a moment, which is not worth an event.
        has_lasted = self._waiting_since is not None and now - self._waiting_since >= WAITING_S
        assert self._nodes is not None
        seen = (self._nodes, self._slots, waiting if has_lasted else 0)
        before = self._recorded or (*seen[:2], 0)  # the start of the sweep has its slots
        self._recorded = seen
        if seen == before:
            return
        if seen[2] and not before[2]:
            self.say(f"{counted(waiting, 'trial')} waiting for nodes.")
        self.ledger.resize(nodes=seen[0], slots=seen[1], waiting=seen[2])
