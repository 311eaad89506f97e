"""Runs a stage once for all trials that have it in common (`stage_key`, `stage_store`).

Whoever comes first computes the result and keeps it. The others take it over, with all that it
reported, and go on from there as if they had computed it: the same bits.
"""

import hashlib
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainables.errors import StorageError
from trainables.report import Report
from trainables.sources.source import Domains
from trainables.stages.stage import Stage
from trainables.storage.stage_store import StageResult, StageStore
from trainables.training.state import TrainState

__all__ = ["SharedStages"]

POLL_S = 0.5  # between two looks at a claim that somebody else has
WAIT_S = 5.0  # between two words of one that waits


class SharedStages:
    """The stages of one trial that others may share.

    What a state was made under goes with it into checkpoints: one that was begun by other code, or
    on other devices, is never kept under a key that does not say so.

    Args:
        root: The key of `state`, before any stage has run.
        keys: Of each stage by its name, in their order.
        builder: This trial, as "SWEEP/STUDY/NUMBER".
    """

    def __init__(
        self,
        store: StageStore,
        root: str,
        keys: Mapping[str, str],
        builder: str,
        state: TrainState,
    ) -> None:
        self._store, self._keys, self._builder = store, keys, builder
        self._upstream = dict(zip(keys, (root, *keys.values()), strict=False))
        self._fresh = _hashes(state)
        state.made_under = root

    def run(self, stage: Stage[Any], state: TrainState, domains: Domains) -> Iterator[Report]:
        """Yields what the stage reports, from `state.epoch` on, and now and then, while another
        trial computes it, a report that `waits`.

        A store that refuses, or does not answer, costs the sharing and not the trial.
        """
        try:
            if self._is_ours(stage, state):
                found = yield from self._find_or_claim(stage, state, domains)
            elif (found := self._fitting(self._keys[stage.name], state)) is None:
                print(
                    f"{stage.name} is not shared: it goes on from what was made otherwise",
                    flush=True,
                )
                yield from stage.run(state, domains)
        except StorageError as error:
            print(f"{stage.name} is not shared: {error}", flush=True)
            found = None
            if self._is_ours(stage, state):
                state.made_under = self._keys[stage.name]
            yield from stage.run(state, domains)
        if found is not None:
            yield from self._take_over(found, stage, state)

    def _is_ours(self, stage: Stage[Any], state: TrainState) -> bool:
        """Whether all of the state was made as the stage's key says, or as that before it."""
        key = self._keys[stage.name]
        return state.made_under == (self._upstream[stage.name] if state.epoch == 0 else key)

    def _find_or_claim(
        self, stage: Stage[Any], state: TrainState, domains: Domains
    ) -> Generator[Report, None, StageResult | None]:
        """Yields what is reported meanwhile; returns a result that another trial computed."""
        key, heard = self._keys[stage.name], time.monotonic()
        while True:
            if (found := self._fitting(key, state)) is not None:
                return found
            with self._store.try_claim(key) as mine:
                if mine:
                    if (found := self._fitting(key, state)) is not None:
                        return found  # somebody was done in this moment
                    yield from self._compute(key, stage, state, domains)
                    return None
            if time.monotonic() - heard > WAIT_S:
                heard = time.monotonic()
                yield Report(stage=stage.name, epoch=0, num_epochs=stage.config.epochs, waits=True)
            time.sleep(POLL_S)

    def _compute(
        self, key: str, stage: Stage[Any], state: TrainState, domains: Domains
    ) -> Iterator[Report]:
        began, state.made_under = time.monotonic(), key
        for report in stage.run(state, domains):
            state.reports.append(report)
            if report.epoch == report.num_epochs:
                self._keep(key, stage, state, time.monotonic() - began)
            yield report

    def _keep(self, key: str, stage: Stage[Any], state: TrainState, seconds: float) -> None:
        """Keeps a result whose every report is known; the trial does not fail if it cannot."""
        if [report.epoch for report in state.reports] != [*range(1, stage.config.epochs + 1)]:
            return  # part of it ran while the store did not answer: those reports are not kept
        assert state.best is None, f"{stage.name} keeps best weights, and cannot be shared"
        now = _hashes(state)
        changed = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in _tensors(state)
            if self._fresh[name] != now[name]
        }
        result = StageResult(
            reports=tuple(state.reports),
            changed=changed,
            state_hash=_together(now, changed),
            builder=self._builder,
            seconds=seconds,
        )
        try:
            self._store.keep(key, result)
        except StorageError as error:
            print(f"the result of {stage.name} was not kept: {error}", flush=True)

    def _fitting(self, key: str, state: TrainState) -> StageResult | None:
        """Returns the result, if there is one and this trial's state with it is the builder's."""
        found = self._store.find(key)
        if found is None:
            return None
        mine = dict(_tensors(state))
        changed = {name: _hash(tensor) for name, tensor in found.changed.items()}
        has_place = all(n in mine and mine[n].shape == t.shape for n, t in found.changed.items())
        if has_place and _together({**_hashes(state), **changed}, changed) == found.state_hash:
            return found
        print(f"the stage result {key[:12]} does not fit this trial's state", flush=True)
        return None

    def _take_over(
        self, found: StageResult, stage: Stage[Any], state: TrainState
    ) -> Iterator[Report]:
        """Yields the reports that are still to come; with the last one the state is the result's.

        Before it the state is as it was, so that only the last report is worth a checkpoint.
        """
        print(f"{stage.name} was computed by {found.builder} in {found.seconds:.1f} s", flush=True)
        for report in found.reports[state.epoch :]:
            if report.epoch == report.num_epochs:
                self._put_in_place(found, state)
                state.epoch, state.made_under = report.epoch, self._keys[stage.name]
            yield replace(report, computed_by=found.builder)

    def _put_in_place(self, found: StageResult, state: TrainState) -> None:
        there = dict(_tensors(state))
        with torch.no_grad():
            for name, tensor in found.changed.items():
                there[name].copy_(tensor)
        state.optimizer = state.optimizer_state = None


def _tensors(state: TrainState) -> Iterator[tuple[str, Tensor]]:
    for part, module in (("model", state.model), ("extras", state.extras)):
        for name, tensor in module.state_dict().items():
            yield f"{part}.{name}", tensor


def _hashes(state: TrainState) -> dict[str, str]:
    return {name: _hash(tensor) for name, tensor in _tensors(state)}


def _hash(tensor: Tensor) -> str:
    """Returns a hash of a tensor's type, shape and bits."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype}{tuple(plain.shape)}".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _together(hashes: Mapping[str, str], changed: Collection[str]) -> str:
    """Returns one hash of the model, and of those extras that the stage changed: others belong to
    later stages, in which trials differ."""
    names = sorted(name for name in hashes if name.startswith("model.") or name in changed)
    text = "".join(f"{name} {hashes[name]};" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()
