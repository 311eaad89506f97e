"""Watches a run of Ray Tune from its own loop: trials that fall silent, trials that must wait."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.tune.experiment import Trial as TuneTrial

TICK_S = 1.0
STALLED_S = 5.0  # between two looks: then this loop itself stood still, waiting for a database, say
WAITING_S = 30.0  # between two lines that say that no node has room


class Watch:
    """Ends the actor of a trial that says nothing for `silence_s`, and calls `each_second`.

    Args:
        actor_of: The actor of one of Tune's trials; None while no node has room for it.
    """

    def __init__(
        self,
        silence_s: float,
        actor_of: Callable[[Any], Any],
        each_second: Callable[[], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silence_s, self._actor_of = silence_s, actor_of
        self._each_second, self._say, self._clock = each_second, say, clock
        self._heard: dict[str, float] = {}  # when, by Tune's id of a trial that starts or runs
        self._killed: dict[str, str] = {}  # why
        self._ticked = -TICK_S
        self._looked = clock()
        self._waiting_since = self._said = clock()

    def heard(self, trial_id: str) -> None:
        """Takes in that a trial started or reported."""
        self._heard[trial_id] = self._clock()

    def over(self, trial_id: str) -> str | None:
        """Forgets a trial that ended; returns why, if it was ended here."""
        self._heard.pop(trial_id, None)
        return self._killed.pop(trial_id, None)

    def tick(self) -> None:
        """Calls `each_second` if that is due."""
        if self._clock() - self._ticked >= TICK_S:
            self._ticked = self._clock()
            self._each_second()

    def look(self, trials: Sequence[Any]) -> None:
        """Looks at all of Tune's trials, of which only those that are not over matter."""
        if self._clock() - self._ticked < TICK_S:
            return
        self.tick()
        now = self._clock()
        stalled = now - self._looked
        if stalled > STALLED_S:  # what trials said meanwhile has yet to be read
            self._heard = {k: min(now, heard + stalled) for k, heard in self._heard.items()}
        self._looked = now
        for trial in trials:
            if trial.status == TuneTrial.PENDING and self._actor_of(trial) is not None:
                self._heard.setdefault(trial.trial_id, now)  # Tune tells only that it has started
            silent = now - self._heard.get(trial.trial_id, now)
            if silent > self._silence_s and trial.trial_id not in self._killed:
                self._end(trial)
        self._tell_of_waiting(trials, now)

    def _end(self, trial: Any) -> None:
        actor = self._actor_of(trial)
        if actor is None:
            return
        starting = " while it started" if trial.status == TuneTrial.PENDING else ""
        self._killed[trial.trial_id] = (
            f"silent for {self._silence_s:.0f} s{starting} (failures.silence): it was ended."
        )
        ray.kill(actor)

    def _tell_of_waiting(self, trials: Sequence[Any], now: float) -> None:
        recent = trials[-200:]  # those before are over
        waits = [trial for trial in recent if trial.status == TuneTrial.PENDING]
        has_room = any(trial.status == TuneTrial.RUNNING for trial in recent)
        if not waits or has_room or any(map(self._actor_of, waits)):
            self._waiting_since = now
        elif now - max(self._waiting_since, self._said) >= WAITING_S:
            self._said = now
            waited = now - self._waiting_since
            self._say(f"no node has had room for a trial for {waited:.0f} s; waiting for one.")
