"""What trials of a study were measured to cost here, kept in SWEEPER_HOME/cache/calibration.

A file is named by the hash of all that it depends on: the trials that were measured, the device,
the threads, and the science's own code. So one that no longer holds is not found.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import trainables
from sweeper.config.distributions import Choice, Int, is_active
from sweeper.config.study_spec import InfeasibleParams, StudySpec
from sweeper.config.sweep import Sweep
from sweeper.planning import devices
from sweeper.planning.describe import spec_of

__all__ = ["Calibration", "Configuration", "Pace", "measured_trials", "read", "write"]

EPOCHS = 2  # of each stage: one to warm, one to measure
PRESET = "preset"
CORNERS = {"lowest": 0, "highest": -1}  # which value of every integer and every choice


class Record(BaseModel):
    """Base: frozen plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pace(Record):
    """Seconds of a stage's epochs, evaluation and checkpoint included."""

    first_s: float  # with what the stage does before it
    next_s: float


class Configuration(Record):
    """What one trial was measured to take."""

    name: str
    begin_s: float  # data, weights, model; of the first, nothing is in memory yet
    stages: Mapping[str, Pace]  # those that trained
    files: Mapping[str, int]  # bytes of its checkpoint after the last stage, by file
    peak_memory_bytes: int


class Calibration(Record):
    """What was measured of one study."""

    study: str
    at: float  # seconds since the epoch
    device: str
    device_memory_bytes: int | None  # of a GPU
    start_s: float  # until a process of its own was ready to begin
    configurations: tuple[Configuration, ...]  # the preset first
    skipped: Mapping[str, str]  # name -> why it could not be measured


def measured_trials(sweep: Sweep, study: StudySpec, home: Path) -> dict[str, dict[str, Any]]:
    """Returns the trials to be measured, as plain specs by name: the preset, and with every
    integer and choice that is searched at its lowest and at its highest, or first and last, value.

    What costs of a setting is how many samples, steps, tokens or parameters it takes: rates and
    weights stay as the preset has them.
    """
    trials: dict[str, dict[str, Any]] = {}
    for name, params in {PRESET: dict[str, Any](), **_corners(study)}.items():
        try:
            spec = spec_of(sweep, study, {**study.preset, **params}, seed=0, home=home)
        except InfeasibleParams:
            continue  # no trial of the search takes these together either
        plain = spec.model_dump(mode="json", by_alias=True)
        for stage, settings in plain["stages"].items():
            short = min(EPOCHS, study.stage_epochs[stage])
            last = stage == study.objective_stage  # stopped before the end, and its test
            settings["epochs"] = EPOCHS + 1 if last else short
        if plain not in trials.values():
            trials[name] = plain
    return trials


def _corners(study: StudySpec) -> dict[str, dict[str, Any]]:
    corners: dict[str, dict[str, Any]] = {}
    for corner, index in CORNERS.items():
        chosen: dict[str, Any] = {}
        for name, parameter in study.parameters.items():
            counts = isinstance(parameter, Int | Choice) and not name.endswith(".epochs")
            if counts and is_active(parameter, {**study.preset, **chosen}):
                chosen[name] = parameter.examples()[index]
        corners[corner] = chosen
    return corners


def read(
    sweep: Sweep, study: StudySpec, home: Path, *, elsewhere: bool = False
) -> Calibration | None:
    """Return what was measured of a study on a device as this one, or (`elsewhere`) on one of its
    kind, the latest; None if nothing was, or if the file is damaged."""
    if not elsewhere:
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
    """Return the devices of the kind that trials are given and on which anything was measured."""
    kind = "gpu: " if sweep.resources.gpu else "cpu: "
    every = map(_read, (home / "cache" / "calibration").glob("*.json"))
    return {each.device for each in every if each is not None and each.device.startswith(kind)}


def write(sweep: Sweep, study: StudySpec, home: Path, found: Calibration) -> None:
    """Keeps what was measured of a study. Raises OSError."""
    file = _file(sweep, study, home, device_of(sweep))
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}.part")
    aside.write_text(found.model_dump_json(indent=1))
    aside.replace(file)


def new(study: StudySpec, sweep: Sweep, measured: Mapping[str, Any]) -> Calibration:
    """Returns a calibration of what a pilot found just now."""
    return Calibration(
        study=study.name,
        at=time.time(),
        device=device_of(sweep),
        device_memory_bytes=devices.gpu_memory_bytes() if sweep.resources.gpu else None,
        **measured,
    )


def device_of(sweep: Sweep) -> str:
    """Returns what a trial computes on here: `cpu: NAME` or `gpu: NAME`."""
    return f"gpu: {devices.gpu_name()}" if sweep.resources.gpu else f"cpu: {devices.cpu_name()}"


def _file(sweep: Sweep, study: StudySpec, home: Path, device: str) -> Path:
    trials = measured_trials(sweep, study, home)
    depends = {
        "trials": {name: {**spec, "home": None} for name, spec in trials.items()},
        "threads": sweep.resources.cpu,
        "device": device,
        "code": _code(),
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    return home / "cache" / "calibration" / f"{key}.json"


@cache
def _code() -> str:
    """Returns a hash of all that trains."""
    root = Path(next(iter(trainables.__path__)))
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
