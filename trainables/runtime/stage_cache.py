"""Stages that trials share. Each is computed once, under a key of everything it depends on.

The first trial computes the result of a stage and stores it. The others reuse it with all its
reports, and continue with the same bits as if they had computed it. The keys are hashes:

    root    data, weights, proxy, embedder and predictor, seed, precision, device, libraries
    key     the stage's code, name and hyperparameters, and the key of the previous stage

Two trials share a key exactly if they would compute the same bits up to the end of that stage.
"""

import hashlib
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from trainables.code_hash import SHARED_CODE, code_version, hash_of
from trainables.errors import StorageError
from trainables.methods.registry import METHODS
from trainables.models.backbone import Backbone
from trainables.plugins import plugins_of
from trainables.report import Report, Waiting
from trainables.sources.source import Domains
from trainables.spec import BackboneSpec, TrialSpec
from trainables.stages.stage import Stage, StageConfig
from trainables.storage.stage_store import StageResult, StageStore
from trainables.storage.tensors import digest_of
from trainables.tasks.task import TaskInfo
from trainables.training.state import TrainState

POLL_S = 0.5  # seconds between two attempts to get a claim
WAIT_S = 5.0  # seconds between two reports of a waiting trial
LIBRARIES = ("torch", "transformers", "timm", "pot", "numpy", "scipy", "scikit-learn")


def root_key(
    spec: TrialSpec,
    configs: Mapping[str, StageConfig],
    backbone: Backbone | None,
    domains: Domains,
    device: torch.device,
) -> str:
    """Return the key of a trial's state before its first stage.

    The key contains the hash of the weights instead of their name and path.
    """
    source, info = domains.source, domains.target.info
    # The properties of a task, apart from its data, that affect a stage.
    trained_on = [info.name, info.kind, info.loss, info.metric, info.mask, info.channels]
    return hash_of(
        {
            "task": [domains.target.content_hash, *trained_on],
            **({} if backbone is None else _pretrained(spec.backbone, backbone)),
            **_own_network(spec, configs),
            "proxy": None if source is None else source.content_hash,
            "model": spec.model.model_dump(mode="json"),
            "seed": spec.seed,
            "halvings": spec.halvings,
            "computed_by": _computed_by(device),
            "libraries": [version(name) for name in LIBRARIES],
            **_plugins(spec, info),
        }
    )


def _plugins(spec: TrialSpec, info: TaskInfo) -> dict[str, Any]:
    """Return the code of the plugins that a trial uses besides its stages; empty without any."""
    used = plugins_of(
        {
            "sweeper.methods": [spec.method],
            "sweeper.tasks": [info.benchmark],
            "sweeper.metrics": info.metrics,
            "sweeper.backbones": [] if spec.backbone is None else [spec.backbone.name],
            "sweeper.sources": [] if spec.proxy is None else [spec.proxy],
            "sweeper.distances": [
                stage["distance"] for stage in spec.stages.values() if "distance" in stage
            ],
        }
    )
    return {"plugins": {o.name: code_version(o.module) for o in used}} if used else {}


def _pretrained(spec: BackboneSpec | None, backbone: Backbone) -> dict[str, Any]:
    """Return what a pretrained body is made from."""
    assert spec is not None
    return {
        "weights": [backbone.weights_hash, spec.weights],
        "body": [spec.layers, spec.tokens, spec.bidirectional],
    }


def _own_network(spec: TrialSpec, configs: Mapping[str, StageConfig]) -> dict[str, Any]:
    """Return what the network of a method is made from; empty without one."""
    method = METHODS[spec.method]
    network, settings = method.network or method.features, method.network_settings(configs)
    if network is None or settings is None:
        return {}
    return {
        "network": [network.build, settings, version(network.package) if network.package else None],
        "code": code_version(network.build.partition(":")[0], "trainables.models.own_network"),
    }


def stage_key(name: str, config: StageConfig, upstream: str) -> str:
    """Return the key of the result of a stage.

    A stage without epochs changes nothing, so its key is that of the previous stage.

    Args:
        name: Name of the stage.
        config: Hyperparameters of the stage.
        upstream: Key of the previous stage.
    """
    if config.epochs == 0:
        return upstream
    module = config.implementation.partition(":")[0]
    return hash_of(
        {
            "upstream": upstream,
            "stage": name,
            "code": code_version(module, type(config).__module__, *config.loads, *SHARED_CODE),
            "hyperparameters": config.model_dump(mode="json"),
        }
    )


def stage_keys(stages: tuple[Stage[Any], ...], root: str) -> dict[str, str]:
    """Return the key of each stage by its name."""
    keys: dict[str, str] = {}
    for stage in stages:
        root = keys[stage.name] = stage_key(stage.name, stage.config, root)
    return keys


def _computed_by(device: torch.device) -> list[Any]:
    """Return the properties of the device that affect rounding.

    These are the name of the GPU and the version of cuDNN, or the instruction set of the CPU and
    the number of threads. The precision, once decided, is a part of the model's settings.
    """
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return ["cuda", torch.cuda.get_device_name(device), cudnn]
    return [device.type, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


class StageCache:
    """The stages of one trial that it shares with others.

    Each checkpoint contains the key of its state. A stage that other code or another device began,
    or that was begun in another precision, therefore never gets a key of this one.

    Args:
        store: Results of stages.
        root: Key of `state` before the first stage.
        keys: Key of each stage by its name, in their order.
        builder: This trial, as "SWEEP/STUDY/NUMBER".
        state: State of this trial before its first stage.
    """

    def __init__(
        self,
        store: StageStore,
        root: str,
        keys: Mapping[str, str],
        builder: str,
        state: TrainState,
    ) -> None:
        self._store, self.keys, self._builder = store, keys, builder
        self._upstream = dict(zip(keys, (root, *keys.values()), strict=False))
        self._fresh, self._precision = _hashes(state), state.precision
        state.made_under = root

    def run(
        self, stage: Stage[Any], state: TrainState, domains: Domains
    ) -> Iterator[Report | Waiting]:
        """Yield the reports of a stage, starting after `state.epoch`.

        While another trial computes the stage, yield a `Waiting` every `WAIT_S` seconds.
        If the store refuses or does not respond, compute the stage without it.
        """
        # Errors of the store must not fail a trial. It continues without the store from the epoch
        # that it has reached.
        try:
            if self._is_ours(stage, state):
                found = yield from self._find_or_claim(stage, state, domains)
            elif (found := self._fitting(self.keys[stage.name], state)) is None:
                print(
                    f"{stage.name} is not shared: its state was made by other code or devices",
                    flush=True,
                )
                state.made_under = None  # by several, so that it has no key
                yield from stage.run(state, domains)
        except StorageError as error:
            print(f"{stage.name} is not shared: {error}", flush=True)
            found = None
            # The state is still the one that this code computes, so that the next stages keep their
            # keys.
            if self._is_ours(stage, state):
                state.made_under = self.keys[stage.name]
            yield from stage.run(state, domains)
        if found is not None:
            yield from self._take_over(found, stage, state)

    def _is_ours(self, stage: Stage[Any], state: TrainState) -> bool:
        """Return whether this code and device made the state.

        The expected key is that of the previous stage before the first epoch, and the stage's own
        key afterwards.
        """
        key = self.keys[stage.name]
        expected = self._upstream[stage.name] if state.epoch == 0 else key
        return state.precision == self._precision and state.made_under == expected

    def _find_or_claim(
        self, stage: Stage[Any], state: TrainState, domains: Domains
    ) -> Generator[Report | Waiting, None, StageResult | None]:
        """Compute the stage and yield its reports, or wait for another trial and return its result.

        Returns:
            The result of another trial, or None if this trial computed the stage.
        """
        key, reported = self.keys[stage.name], time.monotonic()
        while True:
            # A finished result is taken without a claim, so that many trials may read it at once.
            if (found := self._fitting(key, state)) is not None:
                return found
            with self._store.try_claim(key) as mine:
                if mine:
                    if (found := self._fitting(key, state)) is not None:
                        return found  # another trial has just finished it
                    yield from self._compute(key, stage, state, domains)
                    return None
            # The service ends a trial that is silent for long, so that a waiting trial reports as
            # well.
            if time.monotonic() - reported > WAIT_S:
                reported = time.monotonic()
                yield Waiting(stage=stage.name)
            time.sleep(POLL_S)

    def _compute(
        self, key: str, stage: Stage[Any], state: TrainState, domains: Domains
    ) -> Iterator[Report]:
        # Set before the first epoch, so that checkpoints within the stage already have its key.
        began, state.made_under = time.monotonic(), key
        for report in stage.run(state, domains):
            state.reports.append(report)
            if report.epoch == report.num_epochs:
                self._keep(key, stage, state, time.monotonic() - began)
            yield report

    def _keep(self, key: str, stage: Stage[Any], state: TrainState, seconds: float) -> None:
        """Store a result if all its reports are known. Errors do not fail the trial."""
        if [report.epoch for report in state.reports] != [*range(1, stage.config.epochs + 1)]:
            return  # some epochs ran without the store, so their reports are unknown
        # A result has no place for best weights. The last stage alone keeps them, and is not
        # shared.
        assert state.best is None, f"{stage.name} keeps best weights, and cannot be shared"
        # Only changed tensors are stored. The hash of the whole state lets another trial verify
        # that its own unchanged tensors are the same.
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
        """Return the stored result if it fits this trial, or None.

        It fits if its tensors, put into this trial's state, reproduce the hash of the builder's
        state, and if it was computed in this trial's precision.
        """
        found = self._store.find(key) if state.precision == self._precision else None
        if found is None:
            return None
        mine = dict(_tensors(state))
        changed = _hashed(found.changed)
        has_place = all(n in mine and mine[n].shape == t.shape for n, t in found.changed.items())
        if has_place and _together({**_hashes(state), **changed}, changed) == found.state_hash:
            return found
        print(f"the stage result {key[:12]} does not fit this trial's state", flush=True)
        return None

    def _take_over(
        self, found: StageResult, stage: Stage[Any], state: TrainState
    ) -> Iterator[Report]:
        """Yield the remaining reports of a result. The last one also sets the state.

        The state does not change before the last report, so earlier reports need no checkpoint.
        """
        print(f"{stage.name} was computed by {found.builder} in {found.seconds:.1f} s", flush=True)
        for report in found.reports[state.epoch :]:
            if report.epoch == report.num_epochs:
                self._put_in_place(found, state)
                state.epoch, state.made_under = report.epoch, self.keys[stage.name]
            yield replace(report, computed_by=found.builder)

    def _put_in_place(self, found: StageResult, state: TrainState) -> None:
        there = dict(_tensors(state))
        with torch.no_grad():
            for name, tensor in found.changed.items():
                there[name].copy_(tensor)
        # The optimiser belongs to the end of the stage, and the next stage creates its own.
        state.optimizer = state.optimizer_state = None


def _tensors(state: TrainState) -> Iterator[tuple[str, Tensor]]:
    for part, module in (("model", state.model), ("extras", state.extras)):
        for name, tensor in module.state_dict().items():
            yield f"{part}.{name}", tensor


def _hashes(state: TrainState) -> dict[str, str]:
    return _hashed(dict(_tensors(state)))


def _hashed(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return a hash of the type, shape and bits of each tensor."""
    return {name: digest_of({"": tensor}) for name, tensor in tensors.items()}


def _together(hashes: Mapping[str, str], changed: Collection[str]) -> str:
    """Return one hash of the model and of the extras that the stage changed.

    Other extras belong to later stages, which differ between trials.
    """
    names = sorted(name for name in hashes if name.startswith("model.") or name in changed)
    text = "".join(f"{name} {hashes[name]};" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()
