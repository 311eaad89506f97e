"""The measured cost of trials on this machine, kept in SWEEPER_HOME/cache/calibration.

A calibration measures a short pilot of each study in a process of its own. Where trials share a
GPU, as many copies of the pilot run on it at once, and the costs are the means over them. The name
of its file is the hash of everything that the costs depend on: the measured trials, the device and
the number of trials on it, the threads, the code of `trainables`, of the pilot and of plugins.
Therefore an outdated calibration is never found.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import trainables
from sweeper.errors import Fault, FileFaults, UsageError
from sweeper.model import Params
from sweeper.planning import child, gpus, resources
from sweeper.planning.data.draws import data_of
from sweeper.planning.plugins import plugins_in
from sweeper.planning.trials import program_trial, spec_of
from sweeper.spec.distributions import Choice, Int, is_active
from sweeper.spec.study import InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from trainables.methods.program import program_of
from trainables.runtime.memory import allocator_settings
from trainables.storage.atomic import new_file
from trainables.tasks.generation import Progress
from trainables.tasks.loading import describe_data

EPOCHS = 2  # of each stage: one to warm up, one to measure
PRESET = "preset"
CORNERS = {"lowest": 0, "highest": -1}  # index into the examples of a parameter

Spec = Mapping[str, Any]  # a TrialSpec or ProgramTrial as plain data, which the pilot validates


class Record(BaseModel):
    """Base class of frozen plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pace(Record):
    """Seconds of a stage's epochs, evaluation and checkpoint included."""

    first_s: float  # includes the work that precedes the first epoch
    next_s: float


class Configuration(Record):
    """The measured cost of one trial."""

    name: str
    begin_s: float  # to load data, weights and model; the first configuration starts cold
    stages: Mapping[str, Pace]  # the stages that trained
    test_s: float  # of the pass over the test split at the end, from some samples of it
    files: Mapping[str, int]  # file of the last stage's checkpoint -> bytes
    peak_memory_bytes: int


class PilotJob(Record):
    """The task of a pilot's process."""

    trials: Mapping[str, Spec]  # by name
    threads: float  # of each process
    gpu: float  # GPUs of each trial
    processes: int  # of each trial
    epochs: int  # of a trial's last stage, after which the pilot stops the trial
    is_program: bool  # the trials are `ProgramTrial`s
    folder: str  # for checkpoints
    began: float  # when the process was started, in seconds since the Unix epoch


class PilotResult(Record):
    """The result of a pilot's process."""

    start_s: float  # from the start of the process until it is ready
    configurations: tuple[Configuration, ...]
    skipped: Mapping[str, str]  # name -> reason why the trial was not measured


class Calibration(PilotResult):
    """The measured cost of one study; its configurations begin with the preset."""

    study: str
    at: float  # seconds since the Unix epoch
    device: str
    device_memory_bytes: int | None  # of a GPU


def calibrate(sweep: Sweep, home: Path, progress: Progress) -> None:
    """Measure every study of a sweep again, and store the results.

    Raises:
        FileFaults: The preset of some study cannot be trained.
        SweeperError: A pilot died.
        UsageError: The sweep is of programs that do not say how long they are, or report to MLflow.
    """
    if unknown := [name for name, each in sweep.programs.items() if each.steps is None]:
        where = "program" if len(sweep.programs) == 1 else f"programs.{unknown[0]}"
        raise UsageError(
            f"--calibrate: what a trial of {', '.join(unknown)} takes follows from the number of "
            f"its last report: write it as `{where}.steps`."
        )
    if sweep.has_own_runs:
        raise UsageError("--calibrate: a pilot reads no reports that go to MLflow.")
    studies, faults = sweep.studies, []
    with resources.with_mps(sweep, home / "cache" / "mps") as variables:
        for done, study in enumerate(studies):
            progress(study.name, done, len(studies))
            found = _pilots(sweep, study, home, variables)
            # The preset gives all expected values: a study has no price without it.
            if PRESET not in [each.name for each in found.configurations]:
                faults.append(Fault(study.name, None, found.skipped[PRESET]))
                continue
            calibration = Calibration(
                study=study.name,
                at=time.time(),
                device=device_of(sweep),
                device_memory_bytes=gpus.gpu_memory_bytes() if sweep.resources.gpu else None,
                **dict(found),
            )
            write(sweep, study, home, calibration)
    progress("studies", len(studies), len(studies))
    if faults:
        raise FileFaults(faults)


def _pilots(
    sweep: Sweep, study: StudySpec, home: Path, variables: Mapping[str, str]
) -> PilotResult:
    """Run as many pilots of a study at once as trials share a GPU, and return their means.

    `variables` are further variables of their environment.
    """
    home.mkdir(parents=True, exist_ok=True)
    # A pilot alone would have the whole GPU, and trials that take turns would be priced too low.
    count = resources.side_by_side(sweep)

    def run(index: int) -> PilotResult:
        with tempfile.TemporaryDirectory(prefix=".pilot-", dir=home) as folder:
            job = PilotJob(
                trials=measured_trials(study, home),
                threads=resources.threads_of(sweep),
                gpu=sweep.resources.gpu,
                processes=sweep.resources.num_processes,
                epochs=EPOCHS,
                is_program=sweep.program is not None,
                folder=folder,
                began=time.time(),
            )
            return run_pilot(study.name, job, variables)

    # Copies of one job keep in step: they wait for the same locks while data are prepared.
    with ThreadPoolExecutor(count) as pool:
        return mean_of(list(pool.map(run, range(count))))


def run_pilot(study: str, job: PilotJob, variables: Mapping[str, str]) -> PilotResult:
    """Run a pilot in a process of its own, which has the memory and caches of a real worker."""
    settings = {**allocator_settings(os.environ), **variables}
    done = child.run("sweeper.planning.costs.pilot", job.model_dump_json(), **settings)
    try:
        return PilotResult.model_validate_json(done.stdout)
    except ValidationError as error:
        raise child.died(f"the pilot of {study}", done) from error


def mean_of(results: Sequence[PilotResult]) -> PilotResult:
    """Return the mean times and the highest peaks of pilots that ran at once.

    What one of them skipped is skipped.
    """
    skipped = {name: why for each in results for name, why in each.skipped.items()}
    # Each pilot measured the same trials in the same order, so what is left pairs up by position.
    kept = ([c for c in each.configurations if c.name not in skipped] for each in results)
    return PilotResult(
        start_s=fmean(each.start_s for each in results),
        configurations=tuple(_mean(group) for group in zip(*kept, strict=True)),
        skipped=skipped,
    )


def _mean(group: Sequence[Configuration]) -> Configuration:
    """Return the mean times and the highest peak of one trial in several pilots."""
    paces = {stage: [each.stages[stage] for each in group] for stage in group[0].stages}
    return Configuration(
        name=group[0].name,
        begin_s=fmean(each.begin_s for each in group),
        stages={
            stage: Pace(
                first_s=fmean(each.first_s for each in of), next_s=fmean(each.next_s for each in of)
            )
            for stage, of in paces.items()
        },
        test_s=fmean(each.test_s for each in group),
        files=group[0].files,
        peak_memory_bytes=max(each.peak_memory_bytes for each in group),
    )


def measured_trials(study: StudySpec, home: Path) -> dict[str, Spec]:
    """Return the trials to be measured, by name.

    These are the preset and two variants of it. One has every searched integer and choice at its
    lowest (or first) value, the other at its highest (or last). Real numbers such as learning rates
    do not change the cost, so they stay as in the preset.
    """
    trials: dict[str, Spec] = {}
    for name, params in {PRESET: {}, **_corners(study)}.items():
        try:
            complete = study.complete_params(params)
        except InfeasibleParams:
            continue  # no trial of the search can have this combination either
        if program_of(study.entry) is None:
            plain = _short_trial(study, complete, home)
        else:
            plain = program_trial(study, complete, seed=0)
        # Without searched integers and choices both corners are the preset, which is measured once.
        if plain not in trials.values():
            trials[name] = plain
    return trials


def _short_trial(study: StudySpec, params: Params, home: Path) -> dict[str, Any]:
    """Return a trial of a method, a `TrialSpec`, with as many epochs as a pilot trains."""
    plain = spec_of(study, params, seed=0, home=home).model_dump(mode="json", by_alias=True)
    for stage, settings in plain["stages"].items():
        # A stage that is shorter than the pilot, or off, stays as long as it is in a trial.
        short = min(EPOCHS, study.stage_epochs[stage])
        last = stage == study.objective_stage  # the pilot stops before the test at the end
        settings["epochs"] = EPOCHS + 1 if last else short
    return plain


def _corners(study: StudySpec) -> dict[str, Params]:
    """Return the searched integers and choices at their lowest and at their highest values."""
    corners: dict[str, Params] = {}
    for corner, index in CORNERS.items():
        chosen: dict[str, Any] = {}
        for name, parameter in study.parameters.items():
            # The number of epochs multiplies the cost of one, and is in the workload.
            counts = isinstance(parameter, Int | Choice) and not name.endswith(".epochs")
            if counts and is_active(parameter, {**study.preset, **chosen}):
                chosen[name] = parameter.examples()[index]
        corners[corner] = chosen
    return corners


def read(
    sweep: Sweep, study: StudySpec, home: Path, *, any_device: bool = False
) -> Calibration | None:
    """Return the calibration of a study; None if there is none, or if its file is damaged.

    `any_device` finds the latest calibration on any device of the same kind (CPU or GPU), not only
    on the device of this machine.
    """
    program = program_of(study.entry)
    if program is not None and program.steps is None:
        return None  # it has no price, whatever a step takes
    if not any_device:
        return _read(_file(sweep, study, home, device_of(sweep)))
    files = (_file(sweep, study, home, device) for device in _devices(sweep, home))
    found = [each for each in map(_read, files) if each is not None]
    return max(found, key=lambda each: each.at, default=None)


def _read(file: Path) -> Calibration | None:
    try:
        return Calibration.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _devices(sweep: Sweep, home: Path) -> set[str]:
    """Return the calibrated devices of the same kind (CPU or GPU) as the device of a trial."""
    kind = "gpu: " if sweep.resources.gpu else "cpu: "
    every = map(_read, (home / "cache" / "calibration").glob("*.json"))
    return {each.device for each in every if each is not None and each.device.startswith(kind)}


def write(sweep: Sweep, study: StudySpec, home: Path, found: Calibration) -> None:
    """Store the calibration of a study.

    Raises:
        OSError: The file cannot be written.
    """
    file = _file(sweep, study, home, device_of(sweep))
    with new_file(file) as aside:  # of two commands that calibrate, neither reads half a file
        aside.write_text(found.model_dump_json(indent=1))


def device_of(sweep: Sweep) -> str:
    """Return the device of a trial on this machine: `cpu: NAME` or `gpu: NAME`."""
    return f"gpu: {gpus.gpu_name()}" if sweep.resources.gpu else f"cpu: {resources.cpu_name()}"


def _file(sweep: Sweep, study: StudySpec, home: Path, device: str) -> Path:
    trials = measured_trials(study, home)
    plugins = {each.distribution: each.code for each in plugins_in([study])}
    at_once = resources.side_by_side(sweep)
    processes = sweep.resources.num_processes
    is_program = program_of(study.entry) is not None
    # The path of SWEEPER_HOME and settings without effect change no cost, and are left out of the
    # key.
    depends = {
        "trials": {name: {**spec, "home": None} for name, spec in trials.items()},
        "threads": sweep.resources.cpu,
        "device": device,
        "code": pilot_code(),
        "torch": version("torch"),
        # Data of a user's own may be imported again with other samples.
        "samples": None if is_program else describe_data(study.task, data_of(study)).splits,
        **({"plugins": plugins} if plugins else {}),
        **({"processes": processes} if processes > 1 else {}),
        **({"at_once": at_once, "mps": resources.uses_mps(sweep)} if at_once > 1 else {}),
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    return home / "cache" / "calibration" / f"{key}.json"


@cache
def pilot_code() -> str:
    """Return a hash of the code that a pilot measures with: its own and all of `trainables`."""
    root = Path(next(iter(trainables.__path__)))
    found = hashlib.sha256(Path(__file__).with_name("pilot.py").read_bytes())
    # The order of a folder's entries depends on the file system.
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
