"""The pilot's process: trains a few epochs of some trials, and says what they took.

`python -m sweeper.planning.pilot` is started by `calibrate` alone. It reads one JSON object:
`trials` (name -> spec), `threads`, `epochs` (of a trial's last stage, after which it is left),
`began` (seconds since the epoch, when it was started) and `folder` (for checkpoints). It writes
one to where its standard output was; whatever else prints goes to standard error.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from sweeper.planning import child
from trainables.errors import TrainableError
from trainables.report import Report
from trainables.runtime.peak_memory import count_anew, peak_bytes
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import TrialSpec
from trainables.tasks.loading import prepare_task
from trainables.tasks.registry import task_info


def main() -> None:
    """Runs one pilot."""
    job, out = child.read_input(), child.take_output()
    start_s = time.time() - job["began"]
    torch.set_num_threads(max(1, int(job["threads"])))
    found, skipped = [], {}
    parts = WarmParts()
    for name, plain in job["trials"].items():
        try:
            spec = TrialSpec.model_validate(plain)
            _prepare(spec)
            found.append({"name": name, **_measure(spec, parts, job["epochs"], job["folder"])})
        except (TrainableError, ValidationError) as error:
            skipped[name] = str(error)
    child.write_line(out, {"start_s": start_s, "configurations": found, "skipped": skipped})


def _prepare(spec: TrialSpec) -> None:
    """Makes data and source features, as a launch does before its first trial."""
    prepare_task(spec.task, spec.data.of(task_info(spec.task).dimension), spec.home)
    if spec.proxy is not None:
        WarmParts().source(spec.proxy, spec.backbone, spec.home)


def _measure(spec: TrialSpec, parts: WarmParts, epochs: int, folder: str) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count_anew(torch.device(device))
    began = time.monotonic()
    training = Training.begin(spec, parts, device=device)
    begin_s = time.monotonic() - began
    seconds: dict[str, list[float]] = {}
    checkpoint = Path(folder, "checkpoint")
    began = time.monotonic()
    for report in _until(training.reports(), training.stages[-1].name, epochs):
        training.save(checkpoint)
        now = time.monotonic()
        seconds.setdefault(report.stage, []).append(now - began)
        began = now
    return {
        "begin_s": begin_s,
        "stages": {stage: _pace(spent) for stage, spent in seconds.items()},
        "files": {path.name: path.stat().st_size for path in checkpoint.iterdir()},
        "peak_memory_bytes": peak_bytes(torch.device(device)),
    }


def _until(reports: Iterator[Report], stage: str, epochs: int) -> Iterator[Report]:
    for report in reports:
        yield report
        if report.stage == stage and report.epoch == epochs:
            return


def _pace(spent: list[float]) -> Mapping[str, float]:
    return {"first_s": spent[0], "next_s": spent[-1]}


if __name__ == "__main__":
    main()
