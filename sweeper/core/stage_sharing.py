"""Which shared stages a new trial takes, and which trial goes first. No I/O.

A prefix is one configuration and seed of the stages that the trials of a study share. Prefixes
may begin alike: with the same first stage, the same first two, and so on. The first trial of a
beginning builds it, the others reuse it; one that starts while it is being built waits, and holds
its slot for nothing. So what need not wait goes first.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.config.catalog import MODEL, PROXY
from sweeper.model import Measurement, Params, Trial, TrialKind

Key = tuple[int | str, ...]  # of a prefix: its seed, and the settings of one stage after another


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """One configuration of the shared stages."""

    params: Params  # those that were drawn
    settings: Params  # all of these stages, which source data, and the model's
    seed: int


@dataclass(frozen=True, kw_only=True)
class SharedStages:
    """What the trials of a study share. With no prefixes each trial draws its own stages."""

    order: tuple[str, ...] = ()  # every stage of the method, as they run
    shared: tuple[str, ...] = ()  # the first of them, up to the last that is shared
    prefixes: tuple[Prefix, ...] = ()

    def settings(self, params: Params) -> Params:
        """Returns those of a trial's settings on which the result of its shared stages depends."""
        return _owned(params, (*self.shared, PROXY, MODEL))

    def key(self, params: Params, seed: int) -> Key:
        """Names the prefix of a trial with all its settings in `params`."""
        return seed, *(_text(params, (stage, PROXY, MODEL)) for stage in self.shared)

    def beginnings(self, params: Params, seed: int) -> tuple[Key, ...]:
        """Names what a trial has built after each shared stage that trains; the last is all."""
        key = self.key(params, seed)
        trains = (bool(params.get(f"{stage}.epochs")) for stage in self.shared)
        return tuple(key[:end] for end, does in enumerate(trains, start=2) if does)


class PrefixSchedule:
    """Has seen which prefixes are used, being built and ready, and says what comes next.

    Where nothing is shared, nothing waits, and trials keep the order in which they came.

    Args:
        num_sampled: How many trials of the study take a prefix, once its search is over.
    """

    def __init__(self, stages: SharedStages, num_sampled: int) -> None:
        self._stages = stages
        self._prefixes = {stages.key(p.settings, p.seed): p for p in stages.prefixes}
        self._quotas = quotas(num_sampled, list(self._prefixes))
        self._beginnings = {
            key: stages.beginnings(p.settings, p.seed) for key, p in self._prefixes.items()
        }
        self._used: Counter[Key] = Counter()
        self._ready: set[Key] = set()  # beginnings that are built
        self._keys: dict[int, Key] = {}  # by the trial's number, as the next two
        self._running: dict[int, Key] = {}
        self._last: dict[int, Measurement] = {}

    def add(self, trial: Trial) -> None:
        """Takes in a trial that was planned."""
        key = self._stages.key(trial.params, trial.seed)
        self._keys[trial.number] = key
        self._used[key] += trial.kind is TrialKind.SAMPLED
        self._beginnings.setdefault(key, self._stages.beginnings(trial.params, trial.seed))

    def start(self, trial: Trial) -> None:
        """Takes in that a trial runs."""
        self._running[trial.number] = self._keys[trial.number]

    def measure(self, trial: Trial, measurement: Measurement) -> None:
        """Takes in an epoch of a trial; the last of a shared stage makes a beginning ready."""
        self._last[trial.number] = measurement
        for beginning in self._beginnings[self._keys[trial.number]]:
            stages = self._stages.shared[: len(beginning) - 1]
            if not epochs_left(trial.params, stages, measurement):
                self._ready.add(beginning)

    def end(self, trial: Trial) -> None:
        """Takes in that a trial runs no more."""
        self._running.pop(trial.number, None)

    def must_wait(self, trial: Trial) -> bool:
        """Whether a running trial builds what this one, which does not run, needs next."""
        return self._is_building(self._keys[trial.number])

    def first(self, trials: Iterable[Trial]) -> Trial | None:
        """Returns which of the trials that wait to run goes first.

        That is one which need not wait; then one whose prefix is ready; then the longest.
        """
        return min(trials, key=self._rank, default=None)

    def next_prefix(self) -> Prefix | None:
        """Returns the prefix that the next new trial takes; None: it draws its own.

        At the end of the search all prefixes have been used equally often to within one, the first
        ones more often, whatever the order in which trials began and ended. On the way there, one
        that is not being built goes before one that is; then the least used, so that a sweep that
        ends early has tried all; then one that is ready; then the longest.
        """
        key = self._next_key()
        return None if key is None else self._prefixes[key]

    @property
    def new_must_wait(self) -> bool:
        """Whether the next new trial's prefix is being built."""
        key = self._next_key()
        return key is not None and self._is_building(key)

    def _next_key(self) -> Key | None:
        return min(self._prefixes, key=self._prefix_rank, default=None)

    def _rank(self, trial: Trial) -> tuple[bool, bool, int]:
        key = self._keys[trial.number]
        left = epochs_left(trial.params, self._stages.order, self._last.get(trial.number))
        return self._is_building(key), self._lacking(key) is not None, -left

    def _prefix_rank(self, key: Key) -> tuple[bool, bool, int, bool, int]:
        length = epochs_left(self._prefixes[key].settings, self._stages.shared)
        used = self._used[key]
        is_full = used >= self._quotas[key]
        is_unready = self._lacking(key) is not None
        return is_full, self._is_building(key), used, is_unready, -length

    def _is_building(self, key: Key) -> bool:
        """Whether a running trial has to build what this prefix lacks first."""
        lacking = self._lacking(key)
        return lacking is not None and any(
            running[: len(lacking)] == lacking for running in self._running.values()
        )

    def _lacking(self, key: Key) -> Key | None:
        """Returns the first beginning of a prefix that is not ready; None: all of it is."""
        return next((each for each in self._beginnings[key] if each not in self._ready), None)


def quotas(num_trials: int, keys: Sequence[Key]) -> dict[Key, int]:
    """Returns how many of the trials each key is for: as many as every other to within one."""
    return {key: len(range(i, num_trials, len(keys))) for i, key in enumerate(keys)}


def epochs_left(params: Params, stages: Sequence[str], last: Measurement | None = None) -> int:
    """Returns how many epochs of the first `stages` of a method a trial has before it.

    Args:
        last: The epoch that it measured last; None: it has not begun.
    """
    done = 0
    if last is not None:
        if last.stage not in stages:  # a later one
            return 0
        stages, done = stages[stages.index(last.stage) :], last.epoch
    return sum(int(params.get(f"{stage}.epochs", 0)) for stage in stages) - done


def _owned(params: Params, owners: Sequence[str]) -> Params:
    return {name: v for name, v in params.items() if name.partition(".")[0] in owners}


def _text(params: Params, owners: Sequence[str]) -> str:
    return json.dumps(_owned(params, owners), sort_keys=True)
