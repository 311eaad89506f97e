"""The pilot process, which trains a few epochs of some trials and measures their cost.

Only `calibration.calibrate` starts `python -m sweeper.planning.costs.pilot`. The process reads a
`PilotJob` from standard input and writes a `PilotResult` to standard output. All other output goes
to standard error.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from sweeper.planning import child
from sweeper.planning.costs.calibration import Configuration, Pace, PilotJob, PilotResult, Spec
from trainables.errors import TrainableError
from trainables.methods.program import STAGE
from trainables.methods.registry import METHODS
from trainables.models.products import choose_products
from trainables.report import Report
from trainables.runtime.cpu_precision import Precisions
from trainables.runtime.device import device_for, release
from trainables.runtime.memory import count_anew, peak_bytes
from trainables.runtime.programs.run import ProgramRun
from trainables.runtime.ranks.processes import RankProcesses
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import AttemptConfig, TrialSpec, with_choices
from trainables.tasks.loading import prepare_task
from trainables.tasks.registry import register_own, task_info
from trainables.training.evaluation import evaluating, predictions

TESTED = 16  # samples of the test split; those of a solver take seconds each
FULL = (
    "the GPU's memory does not hold as many trials as share it at `resources.gpu: {:g}`; write a "
    "larger share, or lower a batch size"
)


def main() -> None:
    """Run one pilot."""
    job, out = PilotJob.model_validate(child.read_input()), child.take_output()
    start_s = time.time() - job.began
    torch.set_num_threads(max(1, int(job.threads)))
    found, skipped = [], {}
    # From the second trial on the parts are warm, as in a worker that has run a trial before.
    parts, ranks, precisions = WarmParts(), RankProcesses(), Precisions()
    for name, plain in job.trials.items():
        try:
            if job.is_program:
                found.append(_measure_program(name, plain, job))
                continue
            spec = TrialSpec.model_validate(plain)
            _prepare(spec)
            spec = _with_choices(spec, parts, precisions, job)
            found.append(_measure(name, spec, parts, ranks, job))
            ranks.end()
        except (TrainableError, ValidationError) as error:
            skipped[name] = str(error)
            # After a failure the other processes may wait for an exchange that never comes: they
            # are stopped.
            ranks.stop()
        except torch.OutOfMemoryError:
            skipped[name] = FULL.format(job.gpu)
            ranks.stop()
        release()
    ranks.stop()
    result = PilotResult(start_s=start_s, configurations=tuple(found), skipped=skipped)
    child.write_line(out, result.model_dump(mode="json"))


def _prepare(spec: TrialSpec) -> None:
    """Prepare data and source features, as a launch does before its first trial."""
    register_own(spec.definition, spec.home)
    prepare_task(spec.task, spec.data.of(task_info(spec.task).dimension), spec.home)
    # These parts are dropped, so that the first trial loads what a worker has to load.
    if spec.proxy is not None and spec.backbone is not None:
        WarmParts().source(spec.proxy, spec.backbone, spec.home)


def _with_choices(
    spec: TrialSpec, parts: WarmParts, precisions: Precisions, job: PilotJob
) -> TrialSpec:
    """Return a trial with what a launch would choose for it on this machine."""
    model = spec.model.model_dump()
    if spec.backbone is None or job.gpu:
        return spec.with_model(**with_choices(model, {}))
    width = parts.backbone(spec.backbone, spec.home).geometry.feature_width
    spec = spec.with_model(**with_choices(model, {"products": _products(width)}))
    precision, _ = precisions.of(spec, parts, METHODS[spec.method].objective_stage)
    return spec if precision is None else spec.with_model(precision=precision)


@cache
def _products(width: int) -> str:
    return choose_products(width)[0]


def _measure(
    name: str, spec: TrialSpec, parts: WarmParts, ranks: RankProcesses, job: PilotJob
) -> Configuration:
    """Train a trial for a few epochs, and return its cost."""
    device = device_for(float(job.gpu > 0))  # not capped, to find what a trial would need
    on_gpu = device.type == "cuda"
    count_anew(on_gpu)
    began = time.monotonic()
    ranks.begin(_attempt(spec.model_dump(mode="json", by_alias=True), job))
    training = Training.begin(spec, parts, device=device, gpu=job.gpu)
    training.state.ranks = ranks.ranks(device)
    begin_s = time.monotonic() - began
    seconds: dict[str, list[float]] = {}
    checkpoint = Path(job.folder, "checkpoint")
    began = time.monotonic()
    # The time between two reports includes evaluation and checkpoint, as in a real trial.
    for report in _until(training.reports(), training.stages[-1].name, job.epochs):
        training.save(checkpoint)
        now = time.monotonic()
        seconds.setdefault(report.stage, []).append(now - began)
        began = now
    return Configuration(
        name=name,
        begin_s=begin_s,
        stages={s: Pace(first_s=spent[0], next_s=spent[-1]) for s, spent in seconds.items()},
        test_s=_test_seconds(training),
        files={path.name: path.stat().st_size for path in checkpoint.iterdir()},
        peak_memory_bytes=peak_bytes(on_gpu, ranks.pids),
    )


def _measure_program(name: str, plain: Spec, job: PilotJob) -> Configuration:
    """Run a trial of a program for a few reports, and return its cost."""
    folder, checkpoint = Path(job.folder, "attempt"), Path(job.folder, "checkpoint")
    folder.mkdir(exist_ok=True)
    began, pace, peak = time.monotonic(), None, 0
    gpu = float(job.gpu > 0)  # not capped, to find what a trial would need
    attempt = replace(_attempt(plain, job), folder=str(folder), gpu=gpu, is_program=True)
    run = ProgramRun(attempt, None)
    try:
        for steps in _paced(run.steps(), job.epochs):
            with suppress(TrainableError):  # it has saved nothing, now or ever
                run.save(checkpoint)
            seconds = (time.monotonic() - began) / steps  # of each, where it leaves some out
            began = time.monotonic()
            # The first one contains the start of the program.
            pace = Pace(first_s=seconds if pace is None else pace.first_s, next_s=seconds)
            peak = max(peak, peak_bytes(run.on_gpu, run.pids))
    finally:
        run.close()
    assert pace is not None  # a program without a report is an error
    return Configuration(
        name=name,
        begin_s=0.0,
        stages={STAGE: pace},
        test_s=0.0,
        files={f.name: f.stat().st_size for f in checkpoint.iterdir()}
        if checkpoint.exists()
        else {},
        peak_memory_bytes=peak,
    )


def _paced(reports: Iterator[Report], count: int) -> Iterator[int]:
    """Yield, at each of the first `count` reports of a program, the steps since the one before."""
    before = 0
    for report in islice(reports, count):
        if report.epoch == before:
            return  # the last one once more: the program has ended
        yield report.epoch - before
        before = report.epoch


@torch.inference_mode()
def _test_seconds(training: Training) -> float:
    """Return the seconds of a pass over the test split, from those of some of its samples."""
    state, split = training.state, training.domains.target.test
    drawn, began = np.arange(min(TESTED, len(split))), time.monotonic()
    with evaluating(state.model):
        for prediction, _ in predictions(state, state.model, split, drawn):
            prediction.cpu()  # waits for the device
    return (time.monotonic() - began) * len(split) / len(drawn)


def _attempt(spec: Spec, job: PilotJob) -> AttemptConfig:
    """Return a trial of the job as a worker gets it."""
    return AttemptConfig(
        spec=spec,
        label="pilot",
        folder=job.folder,
        threads=max(1, int(job.threads)),
        gpu=job.gpu,
        processes=job.processes,
    )


def _until(reports: Iterator[Report], stage: str, epochs: int) -> Iterator[Report]:
    """Yield reports up to and including the one of epoch `epochs` of `stage`."""
    for report in reports:
        yield report
        if report.stage == stage and report.epoch == epochs:
            return


if __name__ == "__main__":
    main()
