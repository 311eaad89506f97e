"""Measures what a study's trials cost on this machine: a short pilot each, in its own process."""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from sweeper.errors import Fault, FileFaults, SweeperError
from sweeper.planning import calibration, child
from trainables.tasks.generation import Progress

SHOWN = 5  # last lines of a pilot that died


def calibrate(sweep: Sweep, home: Path, progress: Progress) -> None:
    """Measures every study of a sweep anew, and keeps what was found.

    Raises:
        FileFaults: The preset of some study cannot be trained.
        SweeperError: A pilot died.
    """
    studies, faults = sweep.studies(), []
    for done, study in enumerate(studies):
        progress(study.name, done, len(studies))
        found = _pilot(sweep, study, home)
        names = [each["name"] for each in found["configurations"]]
        if calibration.PRESET not in names:
            faults.append(Fault(study.name, None, found["skipped"][calibration.PRESET]))
        else:
            calibration.write(sweep, study, home, calibration.new(study, sweep, found))
    progress("studies", len(studies), len(studies))
    if faults:
        raise FileFaults(faults)


def _pilot(sweep: Sweep, study: StudySpec, home: Path) -> dict[str, Any]:
    environment = child.environment()
    if not sweep.resources.gpu:  # as Ray has it for a trial that asks for none
        environment["CUDA_VISIBLE_DEVICES"] = ""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pilot-", dir=home) as folder:
        job = {
            "trials": calibration.measured_trials(sweep, study, home),
            "threads": sweep.resources.cpu,
            "epochs": calibration.EPOCHS,
            "folder": folder,
            "began": time.time(),
        }
        done = subprocess.run(
            child.command("sweeper.planning.pilot"),
            input=json.dumps(job),
            capture_output=True,
            env=environment,
            text=True,
        )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        told = "\n".join(done.stderr.splitlines()[-SHOWN:])
        raise SweeperError(
            f"the pilot of {study.name} died, exit code {done.returncode}:\n{told}"
        ) from error
    return found
