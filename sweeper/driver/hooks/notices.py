"""Notifications while a sweep runs: it pauses, goes on, or MLflow stays away."""

import time
from collections.abc import Callable

from sweeper.core.protocols import Hook
from sweeper.core.runner import SweepRunner
from sweeper.driver.notifier import LAST_S, Event, Notifier
from sweeper.model import count_states

PAUSED_S = 30.0  # before a pause is worth a notification
NO_NODE_S = 600.0  # before a lack of nodes is: an autoscaler takes minutes to add one
AWAY_S = 600.0  # before MLflow is: the ledger keeps what it lacks
REFRESH_S = 5.0


class Notices(Hook):
    """Notifies of long pauses and, once per outage, of an unreachable MLflow.

    Args:
        mlflow_error: Returns the error of MLflow's latest answer; None if there was none.
    """

    def __init__(
        self,
        runner: SweepRunner,
        notifier: Notifier,
        mlflow_error: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._notifier, self._mlflow_error = runner, notifier, mlflow_error
        self._clock = clock
        self._refreshed = -REFRESH_S
        self._paused_since: float | None = None
        self._away_since: float | None = None
        self._said_paused = self._said_away = False

    def tick(self) -> None:
        """Look at the reason why no trial starts, and at MLflow."""
        now = self._clock()
        if now - self._refreshed < REFRESH_S:
            return
        self._refreshed = now
        self._look_at_pause(now)
        self._look_at_mlflow(now)

    def close(self, patience_s: float | None = None) -> None:
        """Wait for notifications that are on their way, within `patience_s` seconds."""
        self._notifier.close(LAST_S if patience_s is None else min(patience_s, LAST_S))

    def _look_at_pause(self, now: float) -> None:
        reason, patience_s = self._runner.paused, PAUSED_S
        waiting, running = self._runner.num_without_node, self._runner.num_running
        # Trials that wait for a node count as running. Only if all of them wait is nothing trained.
        if reason is None and waiting and waiting == running:
            reason, patience_s = "no node has room for a trial", NO_NODE_S
        if reason is None:
            self._paused_since = None
            if self._said_paused:
                self._said_paused = False
                self._send(Event.RESUMED, "Trials start again.")
            return
        self._paused_since = now if self._paused_since is None else self._paused_since
        if not self._said_paused and now - self._paused_since >= patience_s:
            self._said_paused = True
            self._send(Event.PAUSED, f"No trial starts: {reason}. What is done is safe.")

    def _look_at_mlflow(self, now: float) -> None:
        error = self._mlflow_error()
        if error is None:
            self._away_since, self._said_away = None, False
            return
        self._away_since = now if self._away_since is None else self._away_since
        if not self._said_away and now - self._away_since >= AWAY_S:
            self._said_away = True
            minutes = (now - self._away_since) / 60
            self._send(
                Event.NEEDS_PERSON,
                f"MLflow has not answered for {minutes:.0f} min ({error}). The sweep goes on, and "
                "its ledger keeps what MLflow lacks.",
            )

    def _send(self, event: Event, message: str) -> None:
        self._notifier.send(event, message, trials=count_states(self._runner.trials))
