"""Cases on the simulated device: whole trials and what is beside them.

A case is a function of this module by name, with its arguments. It returns what a test compares, by
name, or raises.
"""

import json
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from sweeper.core.policies import classify
from tests.support.measured_pairs import KINDS, LOSS_KINDS, pair
from tests.support.simulated_cuda.device import COUNTS, WrongDevice, install, live_bytes
from tests.support.tiny_trials import Trials, make_trials
from trainables.diagnostics.intermediate import intermediate, random_scores
from trainables.diagnostics.scatter import scatter
from trainables.diagnostics.spread import otdd_spread
from trainables.methods.contrastive_pare import noise as contrastive_noise
from trainables.methods.contrastive_pare.noise import Views
from trainables.metrics import METRICS, FromFirst
from trainables.report import Failed
from trainables.runtime import precision
from trainables.runtime.attempt import Attempt
from trainables.runtime.training import Training
from trainables.spec import AttemptConfig, TrialSpec
from trainables.storage.stage_store import StageStore
from trainables.tasks.store import device_rows
from trainables.training import optim
from trainables.training.landscape import landscape, validation_loss
from trainables.training.losses import LOSSES

Found = dict[str, Any]


def run_all(folder: Path) -> None:
    """Run the cases of a folder in order."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    trials = make_trials(folder, "cuda")
    install()
    with (folder / "results.jsonl").open("w", buffering=1) as results:
        for number, (name, arguments) in enumerate(json.loads((folder / "cases.json").read_text())):
            began, found = time.process_time(), {"error": ""}
            COUNTS.clear()
            try:
                found |= globals()[name](trials, folder / str(number), **arguments)
            except Exception:
                found["error"] = traceback.format_exc()
            found |= vars(COUNTS) | {"seconds": time.process_time() - began}
            print(json.dumps(found), file=results)


def spec_of(
    trials: Trials,
    method: str,
    dimension: str,
    settings: Mapping[str, Any] | None = None,
    *,
    precision: str = "fp32",
    samples: int | None = None,
) -> TrialSpec:
    spec = trials.spec(method, dimension, settings)
    model = spec.model.model_copy(update={"precision": precision})
    data = spec.data.model_copy(update={"samples": samples or spec.data.samples})
    return spec.model_copy(update={"model": model, "data": data})


def refusals(trials: Trials, folder: Path) -> Found:
    """Try what a GPU refuses, and count what makes the host wait."""
    ours, theirs = torch.ones(3, device="cuda"), torch.ones(3)
    generator = torch.Generator()
    wrong: list[Callable[[], object]] = [
        lambda: ours + theirs,
        lambda: theirs.add_(ours),
        lambda: torch.cat([ours, theirs]),
        lambda: torch.randn(3, device="cuda", generator=generator),
        lambda: ours.normal_(generator=generator),
        lambda: ours.numpy(),
    ]
    for call in wrong:
        with pytest.raises((WrongDevice, TypeError)):
            call()
    assert (ours * torch.tensor(2.0)).sum().cpu() == 6  # a number may be on the CPU
    COUNTS.clear()
    ours.sum().item(), ours.cpu(), ours[ours > 0], bool(ours.any()), ours.tolist()
    assert sum(COUNTS.waits.values()) == 5, COUNTS.waits
    ours.to("cuda"), ours[torch.tensor([0])], theirs.to("cuda"), torch.tensor(1.0, device="cuda")
    assert sum(COUNTS.to_device.values()) == 3, COUNTS.to_device
    assert sum(COUNTS.waits.values()) == 5
    return {}


def noise(trials: Trials, folder: Path) -> Found:
    """Draw noise of views on the card: each by its own seed, whatever is drawn beside it."""
    views = Views(num_scales=2, sigma_min=0.1, sigma_max=0.3, steps=3, include_clean=True)
    samples, numbers, shape = [4, 4, 4, 4, 9, 4], [0, 1, 2, 3, 2, 6], (2, 20_000)
    draw = partial(views.noise, shape=shape, device=torch.device("cuda"))
    together = draw(samples, numbers, seed=0)
    assert together.device.type == "cuda"
    for start, size in ((0, 1), (1, 2), (3, 3)):
        part = slice(start, start + size)
        with mock.patch.object(contrastive_noise, "DRAWN_AT_ONCE", 1):
            assert torch.equal(draw(samples[part], numbers[part], seed=0), together[part])
    first, second, third, coarse, other, clean = together.cpu()
    for i, each in enumerate((first, second, third)):
        assert each.var().item() == pytest.approx(1 - (1 - 0.1**2) ** (i + 1), rel=0.05)
    # A later state of a chain continues the earlier ones: what it adds is independent of them.
    added = third - (1 - 0.1**2) ** 0.5 * second
    assert added.std().item() == pytest.approx(0.1, rel=0.05)
    for one, two in ((added, second), (first, coarse), (third, other)):
        assert abs(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]) < 0.03
    assert not clean.any()
    assert not torch.equal(draw([4], [0], seed=1)[0], together[0])
    return {}


def whole(
    trials: Trials, folder: Path, *, also_on_cpu: bool = False, fits: bool = True, **of: Any
) -> Found:
    """Run a trial to its end, with its data on the card or, if they do not fit, beside it."""
    spec = spec_of(trials, **of)
    with mock.patch.object(device_rows, "SHARE", device_rows.SHARE if fits else 0):
        training = trials.begin(spec)
    COUNTS.clear()  # of the beginning
    reports = list(training.reports())
    assert reports[-1].is_final
    devices = {t.device.type for t in training.state.model.state_dict().values()}
    assert devices == {"cuda"}
    optimizer, source = training.state.optimizer, training.domains.source
    assert optimizer is not None
    groups = optimizer.param_groups
    has_complex = any(p.is_complex() for group in groups for p in group["params"])
    assert all(group["fused"] for group in groups) or has_complex  # such steps are not fused
    if source is not None:
        assert source.batch(torch.arange(2))[0].device.type == "cuda"
    found = {"reports": [asdict(report) for report in reports]}
    if also_on_cpu:
        theirs, _ = replace(trials, device="cpu").run(spec)
        found["on_cpu"] = [asdict(report) for report in theirs]
    return found


def resumed(trials: Trials, folder: Path, **of: Any) -> Found:
    """Run a trial that goes on from its checkpoint after every epoch, beside a whole one."""
    spec = spec_of(trials, **of)
    expected, _ = trials.run(spec)
    reports, _ = trials.run_stopped(spec, folder)
    assert reports == expected
    return {}


def shared(trials: Trials, folder: Path, **of: Any) -> Found:
    """Run a trial that takes its early stages from another."""
    spec = spec_of(trials, **of)
    store = StageStore(str(folder / "stages"), folder / "scratch")
    first, second = (
        list(Training.begin(spec, trials.parts, device="cuda", store=store, name=name).reports())
        for name in ("first", "second")
    )
    assert second[0].computed_by == "first"
    assert [replace(report, computed_by=None) for report in second] == first
    return {}


def chosen_precision(trials: Trials, folder: Path, **of: Any) -> Found:
    """Let the precision be chosen for a small and a large batch, and go on in what it was."""
    spec = spec_of(trials, **of, precision="auto")
    small = trials.begin(spec)
    assert small.state.precision == "tf32"
    with mock.patch.object(precision, "WORK_OF_A_KERNEL", 0.0):
        large = trials.begin(spec)
        halved = trials.begin(spec.model_copy(update={"halvings": 1}))
    assert large.state.precision == halved.state.precision == "bf16"
    reports = list(large.reports())
    next(halved.reports())
    halved.save(folder)
    small.load(folder)
    assert small.state.precision == "bf16"
    return {"reports": [asdict(report) for report in [*reports, *small.reports()]]}


def out_of_memory(trials: Trials, folder: Path, *, stage: str, **of: Any) -> Found:
    """Let memory run out in the second step of a stage, and count what stays on the card."""
    spec = spec_of(trials, **of)
    config = AttemptConfig(
        spec=spec.model_dump(mode="json", by_alias=True), label="trial", folder=str(folder), gpu=1
    )
    steps, clip_gradients = iter(range(100)), optim.clip_gradients

    def fail(*arguments: Any) -> torch.Tensor:
        if next(steps) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return clip_gradients(*arguments)

    before = live_bytes()
    attempt = Attempt(config)
    assert attempt.training is not None
    rows = weakref.ref(attempt.training.state.rows)
    with mock.patch.object(optim, "clip_gradients", fail):
        while not isinstance(result := attempt.step(), Failed):
            pass
    assert result.stage == stage
    failure = classify(result.traceback)
    del result
    attempt.close()
    assert rows() is None, "an idle process keeps data on the card"
    return {"failure": failure, "held_bytes": live_bytes() - before}


def diagnosed(trials: Trials, folder: Path, **of: Any) -> Found:
    """Compute every diagnostic of a trial."""
    training = trials.begin(spec_of(trials, **of, samples=64))
    model, task, source = training.state.model, training.domains.target, training.domains.source
    assert source is not None
    loss = partial(validation_loss, training.state, task, most=4)
    landscape(model, loss, seed=0, points=3)
    intermediate(model, task, source, random_scores(0), most=16)
    scatter(model, task, source, random_scores(0), most=16)
    otdd_spread(model, task, source, most=16, subsets=2)
    return {}


def metrics(trials: Trials, folder: Path) -> Found:
    """Compute every metric and every loss, beside the same on the CPU."""
    for name, kind in KINDS.items():
        values = []
        for device in ("cpu", "cuda"):
            metric = METRICS[name]()
            prediction, target = (each.to(device) for each in pair(kind))
            if isinstance(metric, FromFirst):
                metric.begin(target[0])
            metric.update(prediction, target)
            values.append(metric.compute())
        assert values[0] == pytest.approx(values[1]), name
    assert set(KINDS) == set(METRICS)
    for name, kind in LOSS_KINDS.items():
        losses = []
        for device in ("cpu", "cuda"):
            prediction, target = (each.to(device) for each in pair(kind))
            loss = LOSSES[name](prediction.requires_grad_(), target)
            torch.autograd.backward(loss)
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1]), name
    assert set(LOSS_KINDS) == set(LOSSES)
    return {}
