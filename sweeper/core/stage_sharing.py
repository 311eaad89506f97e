"""Shared stages of a study: the configuration of each new trial, and the order of trials.

A shared configuration is one configuration and seed of the stages that the trials of a study share.
Two of them may have a common stage prefix: the same first stage, the same first two, and so on. The
first trial of a stage prefix builds it, and the others reuse it. A trial that starts while another
one builds its prefix waits and wastes its slot. Therefore other trials start first. This module
does no I/O.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.model import Params, Trial, TrialKind
from sweeper.spec.catalog import MODEL, PROXY
from trainables.report import Measurement

Key = tuple[int | str, ...]  # seed and settings of each stage of a stage prefix


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """One configuration of the shared stages."""

    params: Params  # the drawn parameters
    settings: Params  # all settings of these stages, of the source data and of the model
    seed: int


@dataclass(frozen=True, kw_only=True)
class SharedStages:
    """The stages that the trials of a study share. Without `configs`, nothing is shared."""

    order: tuple[str, ...] = ()  # all stages of the method in order
    shared: tuple[str, ...] = ()  # the shared stages, which come first in the order
    configs: tuple[SharedConfig, ...] = ()

    def settings(self, params: Params) -> Params:
        """Return the settings of a trial on which the result of its shared stages depends."""
        return _owned(params, (*self.shared, PROXY, MODEL))

    def key(self, params: Params, seed: int) -> Key:
        """Return the key of a trial's shared stages, given all its settings."""
        return seed, *(_text(params, (stage, PROXY, MODEL)) for stage in self.shared)

    def stage_prefixes(self, params: Params, seed: int) -> tuple[Key, ...]:
        """Return the keys of a trial's stage prefixes, one for each shared stage that trains."""
        key = self.key(params, seed)
        trains = (bool(params.get(f"{stage}.epochs")) for stage in self.shared)
        return tuple(key[:end] for end, does in enumerate(trains, start=2) if does)


class SharingSchedule:
    """The schedule of shared configurations: used, in progress, ready and next ones.

    If nothing is shared, no trial waits, and the trials keep their order.

    Args:
        stages: The shared stages and their configurations.
        num_sampled: The final number of trials with a shared configuration.
    """

    def __init__(self, stages: SharedStages, num_sampled: int) -> None:
        self._stages = stages
        self._configs = {stages.key(c.settings, c.seed): c for c in stages.configs}
        self._quotas = quotas(num_sampled, list(self._configs))
        self._stage_prefixes = {
            key: stages.stage_prefixes(c.settings, c.seed) for key, c in self._configs.items()
        }
        self._used: Counter[Key] = Counter()
        self._ready: set[Key] = set()  # finished stage prefixes
        self._keys: dict[int, Key] = {}  # by number of the trial, as the next two are
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
        """Handle an epoch of a trial. The last one of a shared stage makes its prefix ready."""
        self._last[trial.number] = measurement
        for prefix in self._stage_prefixes[self._keys[trial.number]]:
            stages = self._stages.shared[: len(prefix) - 1]
            if not epochs_left(trial.params, stages, measurement):
                self._ready.add(prefix)

    def end(self, trial: Trial) -> None:
        """Handle the end of a trial."""
        self._running.pop(trial.number, None)

    def must_wait(self, trial: Trial) -> bool:
        """Return whether a running trial builds the next stage of this waiting trial."""
        return self._is_building(self._keys[trial.number])

    def first(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the first of several waiting trials.

        A trial that can start without a wait for a stage comes first, then a trial whose shared
        stages are ready, then the longest trial.
        """
        return min(trials, key=self._rank, default=None)

    def next_config(self) -> SharedConfig | None:
        """Return the shared configuration of the next new trial, or None if nothing is shared.

        At the end of the search, the numbers of uses of all configurations differ by at most one.
        This does not depend on the order in which trials start and end. Until then, the order of
        configurations is this: first those that are not in progress; of these the least used, so
        that a sweep that ends early has tried all of them; then those that are ready; then the
        longest.
        """
        key = self._next_key()
        return None if key is None else self._configs[key]

    @property
    def new_must_wait(self) -> bool:
        """True if a running trial builds the shared stages of the next new trial."""
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
        """Return whether a running trial builds the first stage prefix that is not ready."""
        lacking = self._lacking(key)
        return lacking is not None and any(
            running[: len(lacking)] == lacking for running in self._running.values()
        )

    def _lacking(self, key: Key) -> Key | None:
        """Return the first stage prefix that is not ready, or None if all are ready."""
        return next((each for each in self._stage_prefixes[key] if each not in self._ready), None)


def quotas(num_trials: int, keys: Sequence[Key]) -> dict[Key, int]:
    """Return the number of trials of each key. The numbers differ by at most one."""
    return {key: len(range(i, num_trials, len(keys))) for i, key in enumerate(keys)}


def epochs_left(params: Params, stages: Sequence[str], last: Measurement | None = None) -> int:
    """Return the number of epochs that a trial has yet to train in the first `stages`.

    Args:
        params: All settings of the trial.
        stages: The first stages of the method.
        last: The last measured epoch of the trial, or None before its start.
    """
    done = 0
    if last is not None:
        if last.stage not in stages:  # a later stage
            return 0
        stages, done = stages[stages.index(last.stage) :], last.epoch
    return sum(int(params.get(f"{stage}.epochs", 0)) for stage in stages) - done


def _owned(params: Params, owners: Sequence[str]) -> Params:
    return {name: v for name, v in params.items() if name.partition(".")[0] in owners}


def _text(params: Params, owners: Sequence[str]) -> str:
    return json.dumps(_owned(params, owners), sort_keys=True)
