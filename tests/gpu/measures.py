"""Measurements of training on one device: speed, the processor's use, trials side by side, memory.

A model has the architecture of RoBERTa-base and random weights. Its data are noise, so that nothing
is downloaded. Each function also runs on a CPU, in a small size.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import RobertaConfig, RobertaModel

from sweeper.core.policies import classify
from tests.support.shapes import with_splits
from tests.support.tiny_backbones import VOCABULARY, save_tokenizer, seeded
from tests.support.tiny_trials import Trials
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import CrossModalModel, build_model
from trainables.report import Failed, Measured, Report
from trainables.runtime.attempt import Attempt
from trainables.runtime.device import device_for
from trainables.sources.source import Domains
from trainables.spec import AttemptConfig, BackboneSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task
from trainables.training import optim
from trainables.training.evaluation import gather
from trainables.training.losses import loss_of
from trainables.training.state import TrainState, supervised

POINTS_A_TOKEN = 4  # of an input
PEAK_FLOPS = {  # dense bfloat16 operations a second, by a part of the card's name; data sheets
    "B200": 2.25e15, "H200": 9.89e14, "H100 PCIe": 7.56e14, "H100": 9.89e14, "A100": 3.12e14,
    "L40S": 3.62e14, "A10G": 7.0e13, "A10": 1.25e14, "L4": 1.21e14, "4090": 1.65e14,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Load:
    """A trial's supervised training: sizes of the model and of a step."""

    batch: int
    tokens: int = 256
    layers: int = 12
    width: int = 768
    heads: int = 12
    steps: int = 30  # of a round that is timed
    settings: tuple[tuple[str, str], ...] = (("precision", "bf16"),)  # of the model


def save_roberta(folder: Path, load: Load) -> Path:
    """Save a RoBERTa of the size of a load, with random weights."""
    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=load.width,
        num_hidden_layers=load.layers,
        num_attention_heads=load.heads,
        intermediate_size=4 * load.width,
        max_position_embeddings=load.tokens + 2,
        type_vocab_size=1,
    )
    with seeded(0):
        RobertaModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def seconds_of_a_step(folder: Path, load: Load, device: torch.device) -> float:
    """Return the time of a step of the refine stage, in seconds."""
    stage, state, task = _stage(folder, load, device)
    reports: Iterator[Report] = stage.run(state, Domains(target=task, source=None))
    next(reports)  # warms up
    return _timed(lambda: next(reports), device) / load.steps


def seconds_of_a_plain_step(folder: Path, load: Load, device: torch.device) -> float:
    """Return the time of a step of a loop over PyTorch alone that trains the same model."""
    stage, state, task = _stage(folder, load, device)
    config, model = stage.config, state.model
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, config.lr, optim.BETAS, weight_decay=config.weight_decay, fused=True
    )
    loss_function = loss_of(task)
    data = [
        gather(array, np.arange(len(task.train)), device) for array in (task.train.x, task.train.y)
    ]
    model.train()

    def run(steps: int) -> None:
        for step in range(steps):
            x, y = (array[step * load.batch : (step + 1) * load.batch] for array in data)
            optimizer.zero_grad(set_to_none=True)
            with supervised(state.precision, device):
                prediction = model(x)
            torch.autograd.backward(loss_function(prediction.float(), y))
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

    run(2)
    return _timed(lambda: run(load.steps), device) / load.steps


def flops_of_a_step(folder: Path, load: Load, device: torch.device) -> int:
    """Return the floating-point operations of the matrix products of a step."""
    _, state, task = _stage(folder, load, device)
    x, y = (gather(array, np.arange(load.batch), device) for array in (task.train.x, task.train.y))
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(loss_of(task)(state.model(x).float(), y))
    return int(counter.get_total_flops())


def peak_flops(card: str) -> float | None:
    """Return the peak rate of a card in bfloat16, if it is known."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in card), None)


def steps_a_second_together(folder: Path, load: Load, gpu: float, count: int) -> float:
    """Return the sum of the steps a second of `count` trials that each have `gpu` of a card."""
    spawn = get_context("spawn")
    barrier, rates = spawn.Barrier(count), spawn.Queue()
    processes = [
        spawn.Process(target=_measure_beside, args=(folder, load, gpu, barrier, rates))
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    found = [rates.get(timeout=600) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert not any(isinstance(each, str) for each in found), found
    return float(sum(found))


def reserved_after_each(trials: Trials, folder: Path, gpu: float, count: int) -> list[int]:
    """Return the bytes that this process holds of its GPU after each of `count` trials."""
    held = []
    for number in range(count):
        attempt = Attempt(_config(trials, folder / str(number), gpu))
        assert isinstance(attempt.step(), Measured)
        attempt.close()
        held.append(torch.cuda.memory_reserved() if gpu else 0)
    return held


def failure_without_memory(trials: Trials, folder: Path) -> str:
    """Return the class of failure of a trial on a GPU whose memory another tensor has."""
    free, _ = torch.cuda.mem_get_info()
    ballast = []
    for size in (free, *(2**power for power in range(34, 12, -1))):  # the last block counts, too
        with suppress(torch.cuda.OutOfMemoryError):
            ballast.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    attempt = Attempt(_config(trials, folder, 1.0))
    result = attempt.step()
    attempt.close()
    assert isinstance(result, Failed), "the trial trained beside a full card"
    return classify(result.traceback)


def _stage(
    folder: Path, load: Load, device: torch.device
) -> tuple[FineTuning[RefineConfig], TrainState, Task]:
    backbone = load_backbone(BackboneSpec(name=str(folder), tokens=load.tokens), folder)
    splits = {"train": _noise(load.batch * load.steps, load)}
    splits |= {name: _noise(1, load) for name in ("val", "test")}
    task = with_splits(TASKS["pdebench/advection_1d"], **splits)
    model_spec = ModelSpec.model_validate({"head": "linear", **dict(load.settings)})
    model: CrossModalModel = build_model(backbone, task, model_spec, seed=0).to(device)
    state = TrainState(
        model=model, seed=0, precision=model_spec.precision, compile=model_spec.compile
    )
    config = RefineConfig(epochs=2, batch_size=load.batch, optimizer="adamw", clip_norm=1.0)
    return FineTuning("refine", config), state, task


def _noise(samples: int, load: Load) -> Split:
    shape = (2, samples, 1, load.tokens * POINTS_A_TOKEN)
    draws = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return Split(x=draws[0], y=draws[1])


def _timed(call: Any, device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _measure_beside(folder: Path, load: Load, gpu: float, barrier: Any, rates: Any) -> None:
    try:
        torch.set_num_threads(1)
        device = device_for(gpu)
        stage, state, task = _stage(folder, load, device)
        reports = stage.run(state, Domains(target=task, source=None))
        next(reports)
        barrier.wait(timeout=300)  # all trials are warm
        rates.put(load.steps / _timed(lambda: next(reports), device))
    except Exception as error:
        barrier.abort()
        rates.put(repr(error))


def _config(trials: Trials, folder: Path, gpu: float) -> AttemptConfig:
    spec = trials.spec("nft", "1d").model_dump(mode="json", by_alias=True)
    return AttemptConfig(spec=spec, label="trial", folder=str(folder), gpu=gpu)
