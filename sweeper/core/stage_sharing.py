"""Shared stages: the configuration of each new trial of a study, and the order of trials.

A shared configuration is one configuration and seed of the stages that the trials of a study share.
Two of them may have a common stage prefix: the same first stage, the same first two, and so on. The
first trial of a stage prefix builds it, and the others reuse it, also those of another arm of an
ablation. A trial that starts while another one builds its prefix waits and wastes its slot.
Therefore other trials start first, of whatever study.

Which trial has which configuration follows from its number alone, so that two runs of a sweep have
the same trials, whatever the timing. Only the order of starts depends on it. This module does no
I/O.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweeper.model import Params, Trial
from sweeper.spec.catalog import MODEL, PROXY
from trainables.report import Measurement

Key = tuple[tuple[str, int] | str, ...]  # scope and seed, settings of each stage of a stage prefix


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
    scope: str = ""  # all else on which their results depend; trials of one scope share them

    def settings(self, params: Params) -> Params:
        """Return the settings of a trial on which the result of its shared stages depends."""
        return _owned(params, (*self.shared, PROXY, MODEL))

    def key(self, params: Params, seed: int) -> Key:
        """Return the key of a trial's shared stages, given all its settings."""
        return (self.scope, seed), *(_text(params, (stage, PROXY, MODEL)) for stage in self.shared)

    def stage_prefixes(self, params: Params, seed: int) -> tuple[Key, ...]:
        """Return the keys of a trial's stage prefixes, one for each shared stage that trains."""
        key = self.key(params, seed)
        # The first element of a key is no stage, so the prefix of the first stage has two. A stage
        # of zero epochs builds nothing that others could wait for.
        trains = (bool(params.get(f"{stage}.epochs")) for stage in self.shared)
        return tuple(key[:end] for end, does in enumerate(trains, start=2) if does)


@dataclass(frozen=True)
class Building:
    """The stage prefixes that trials build and have built: one for all studies of a sweep."""

    ready: set[Key] = field(default_factory=set)
    running: dict[tuple[str, int], Key] = field(default_factory=dict)  # by trial


class SharingSchedule:
    """The schedule of shared configurations: in progress, ready and next ones.

    The sampled trials take the configurations in turn, so that a search that ends early has tried
    all of them. If nothing is shared, no trial waits, and the trials keep their order.
    """

    def __init__(self, stages: SharedStages, building: Building | None = None) -> None:
        self._stages, self._building = stages, building or Building()
        self._order = list(stages.configs)
        self._stage_prefixes = {
            stages.key(c.settings, c.seed): stages.stage_prefixes(c.settings, c.seed)
            for c in self._order
        }
        self._keys: dict[int, Key] = {}  # by number of the trial, as the next is
        self._last: dict[int, Measurement] = {}

    def add(self, trial: Trial) -> None:
        """Add a planned trial."""
        key = self._stages.key(trial.params, trial.seed)
        self._keys[trial.number] = key
        prefixes = self._stages.stage_prefixes(trial.params, trial.seed)
        # Presets, controls and replicates have no drawn configuration, but build prefixes as well.
        self._stage_prefixes.setdefault(key, prefixes)

    def start(self, trial: Trial) -> None:
        """Handle the start of a trial."""
        self._building.running[trial.study, trial.number] = self._keys[trial.number]

    def measure(self, trial: Trial, measurement: Measurement) -> None:
        """Handle an epoch of a trial. The last one of a shared stage makes its prefix ready."""
        self._last[trial.number] = measurement
        for prefix in self._stage_prefixes[self._keys[trial.number]]:
            stages = self._stages.shared[: len(prefix) - 1]
            if not epochs_left(trial.params, stages, measurement):
                self._building.ready.add(prefix)

    def end(self, trial: Trial) -> None:
        """Handle the end of a trial."""
        self._building.running.pop((trial.study, trial.number), None)

    def must_wait(self, trial: Trial) -> bool:
        """Return whether a running trial builds the next stage of this waiting trial."""
        return self._is_building(self._keys[trial.number])

    def first(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the first of several waiting trials.

        A trial that can start without a wait for a stage comes first, then a trial whose shared
        stages are ready, then the longest trial.
        """
        return min(trials, key=self._rank, default=None)

    def config_of(self, index: int) -> SharedConfig | None:
        """Return the configuration of the sampled trial `index`, or None if nothing is shared."""
        return self._order[index % len(self._order)] if self._order else None

    def must_all_wait(self, index: int, count: int) -> bool:
        """Return whether each of the next sampled trials needs a stage that is being built.

        Args:
            index: The first of these trials.
            count: Their number, as far as they are planned; one of each configuration is enough.
        """
        coming = [self.config_of(index + k) for k in range(min(count, len(self._order)))]
        keys = [self._stages.key(c.settings, c.seed) for c in coming if c is not None]
        return bool(keys) and all(map(self._is_building, keys))

    def _rank(self, trial: Trial) -> tuple[bool, bool, int]:
        key = self._keys[trial.number]
        left = epochs_left(trial.params, self._stages.order, self._last.get(trial.number))
        return self._is_building(key), self._lacking(key) is not None, -left

    def _is_building(self, key: Key) -> bool:
        """Return whether a running trial builds the first stage prefix that is not ready."""
        # Stages are trained in order: a running trial whose key begins with this prefix builds it
        # now, or will come to it.
        lacking = self._lacking(key)
        return lacking is not None and any(
            running[: len(lacking)] == lacking for running in self._building.running.values()
        )

    def _lacking(self, key: Key) -> Key | None:
        """Return the first stage prefix that is not ready, or None if all are ready."""
        ready = self._building.ready
        return next((each for each in self._stage_prefixes[key] if each not in ready), None)


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
    # The order in which settings were drawn must not tell two equal configurations apart.
    return json.dumps(_owned(params, owners), sort_keys=True)
