"""Shared stages of a study: the configuration that a new trial takes, and the order of trials.

A shared configuration is one configuration and seed of the stages that the trials of a study share.
Two of them may have a stage prefix in common: the same first stage, the same first two, and so on.
The first trial of a stage prefix builds it, the others reuse it. A trial that starts while its
prefix is being built waits and wastes its slot, so trials that need not wait go first. No I/O.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.config.catalog import MODEL, PROXY
from sweeper.model import Measurement, Params, Trial, TrialKind

Key = tuple[int | str, ...]  # of a stage prefix: its seed, and the settings of each stage


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """One configuration of the shared stages."""

    params: Params  # those that were drawn
    settings: Params  # all of these stages, which source data, and the model's
    seed: int


@dataclass(frozen=True, kw_only=True)
class SharedStages:
    """The stages that the trials of a study share. Without `configs` each trial draws its own."""

    order: tuple[str, ...] = ()  # every stage of the method, as they run
    shared: tuple[str, ...] = ()  # the first of them, up to the last that is shared
    configs: tuple[SharedConfig, ...] = ()

    def settings(self, params: Params) -> Params:
        """Return those of a trial's settings on which the result of its shared stages depends."""
        return _owned(params, (*self.shared, PROXY, MODEL))

    def key(self, params: Params, seed: int) -> Key:
        """Return the key of the shared stages of a trial whose settings are all in `params`."""
        return seed, *(_text(params, (stage, PROXY, MODEL)) for stage in self.shared)

    def stage_prefixes(self, params: Params, seed: int) -> tuple[Key, ...]:
        """Return a trial's keys after each shared stage that trains; the last is of all of them."""
        key = self.key(params, seed)
        trains = (bool(params.get(f"{stage}.epochs")) for stage in self.shared)
        return tuple(key[:end] for end, does in enumerate(trains, start=2) if does)


class SharingSchedule:
    """Schedule of shared configurations: which are used, being built and ready, and the next one.

    If nothing is shared, nothing waits, and trials keep their order.

    Args:
        num_sampled: The trials of the study that take a shared configuration, by its end.
    """

    def __init__(self, stages: SharedStages, num_sampled: int) -> None:
        self._stages = stages
        self._configs = {stages.key(c.settings, c.seed): c for c in stages.configs}
        self._quotas = quotas(num_sampled, list(self._configs))
        self._stage_prefixes = {
            key: stages.stage_prefixes(c.settings, c.seed) for key, c in self._configs.items()
        }
        self._used: Counter[Key] = Counter()
        self._ready: set[Key] = set()  # stage prefixes that are built
        self._keys: dict[int, Key] = {}  # by the trial's number, as the next two
        self._running: dict[int, Key] = {}
        self._last: dict[int, Measurement] = {}

    def add(self, trial: Trial) -> None:
        """Add a planned trial."""
        key = self._stages.key(trial.params, trial.seed)
        self._keys[trial.number] = key
        self._used[key] += trial.kind is TrialKind.SAMPLED
        prefixes = self._stages.stage_prefixes(trial.params, trial.seed)
        self._stage_prefixes.setdefault(key, prefixes)

    def start(self, trial: Trial) -> None:
        """Handle the start of a trial."""
        self._running[trial.number] = self._keys[trial.number]

    def measure(self, trial: Trial, measurement: Measurement) -> None:
        """Handle an epoch of a trial; the last one of a shared stage makes a stage prefix ready."""
        self._last[trial.number] = measurement
        for prefix in self._stage_prefixes[self._keys[trial.number]]:
            stages = self._stages.shared[: len(prefix) - 1]
            if not epochs_left(trial.params, stages, measurement):
                self._ready.add(prefix)

    def end(self, trial: Trial) -> None:
        """Handle the end of a trial."""
        self._running.pop(trial.number, None)

    def must_wait(self, trial: Trial) -> bool:
        """Return whether a running trial builds what this trial, which does not run, needs next."""
        return self._is_building(self._keys[trial.number])

    def first(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the first of the trials that wait to run.

        A trial that need not wait goes first; then one whose shared stages are ready; then the
        longest.
        """
        return min(trials, key=self._rank, default=None)

    def next_config(self) -> SharedConfig | None:
        """Return the shared configuration of the next new trial; None: it draws its own.

        At the end of the search all have been used equally often to within one, the first ones more
        often, in whatever order trials began and ended. On the way there, one that is not being
        built goes before one that is; then the least used, so that a sweep that ends early has
        tried all; then one that is ready; then the longest.
        """
        key = self._next_key()
        return None if key is None else self._configs[key]

    @property
    def new_must_wait(self) -> bool:
        """True if the shared stages of the next new trial are being built."""
        key = self._next_key()
        return key is not None and self._is_building(key)

    def _next_key(self) -> Key | None:
        return min(self._configs, key=self._config_rank, default=None)

    def _rank(self, trial: Trial) -> tuple[bool, bool, int]:
        key = self._keys[trial.number]
        left = epochs_left(trial.params, self._stages.order, self._last.get(trial.number))
        return self._is_building(key), self._lacking(key) is not None, -left

    def _config_rank(self, key: Key) -> tuple[bool, bool, int, bool, int]:
        length = epochs_left(self._configs[key].settings, self._stages.shared)
        used = self._used[key]
        is_full = used >= self._quotas[key]
        is_unready = self._lacking(key) is not None
        return is_full, self._is_building(key), used, is_unready, -length

    def _is_building(self, key: Key) -> bool:
        """Return whether a running trial is building the first stage prefix that is not ready."""
        lacking = self._lacking(key)
        return lacking is not None and any(
            running[: len(lacking)] == lacking for running in self._running.values()
        )

    def _lacking(self, key: Key) -> Key | None:
        """Return the first stage prefix that is not ready; None: all of them are."""
        return next((each for each in self._stage_prefixes[key] if each not in self._ready), None)


def quotas(num_trials: int, keys: Sequence[Key]) -> dict[Key, int]:
    """Return the number of trials of each key; all numbers are equal to within one."""
    return {key: len(range(i, num_trials, len(keys))) for i, key in enumerate(keys)}


def epochs_left(params: Params, stages: Sequence[str], last: Measurement | None = None) -> int:
    """Return the epochs of the first `stages` of a method that a trial has still to train.

    Args:
        last: The last epoch that it measured; None: it has not begun.
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
