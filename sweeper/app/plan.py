"""What a launch would run, without starting anything."""

from pathlib import Path
from typing import Any

from sweeper.app import load, resources
from sweeper.app.catalog import home
from sweeper.app.describe import data_of, describe
from sweeper.space.sweep import StudyPlan, Sweep
from trainables.spec import BackboneSpec
from trainables.tasks.loading import describe_data, is_prepared


def plan(file: Path, options: load.Options) -> dict[str, Any]:
    """Returns studies, trials, stages, rungs, data and what is cached.

    Raises:
        FileFaults: The file is invalid.
        CannotSchedule: A trial asks for more than this machine has.
    """
    sweep = load.read(file, options)
    resources.check_request(sweep, options.address)
    studies = [_study(sweep, study) for study in sweep.studies()]
    trials = sum(study["trials"] for study in studies)
    epochs = sum(study["trials"] * study["max_epochs"] for study in studies)
    return {
        "sweep": sweep.name,
        "profile": sweep.profile,
        "experiment": sweep.experiment,
        "studies": studies,
        "trials": trials,
        "max_epochs": epochs,
        "resources": resources.request(sweep),
        "notes": [
            *sweep.notes,
            f"{trials} trials of {len(studies)} studies, {epochs} epochs at most before pruning",
        ],
    }


def _study(sweep: Sweep, study: StudyPlan) -> dict[str, Any]:
    data = data_of(study)
    facts = describe_data(study.task, data)
    cached = is_prepared(study.task, data, home())
    size = f"{facts['bytes'] / 2**20:.1f} MiB"
    return {
        "study": study.name,
        "method": study.method,
        "task": study.task,
        "trials": study.num_trials,
        "parameters": list(study.parameters),
        "stages": [{"stage": s, "epochs": n} for s, n in study.stage_epochs.items()],
        "max_epochs": sum(study.stage_epochs.values()),
        "rungs": rungs(sweep, study.min_epochs, study.stage_epochs[study.objective_stage]),
        "backbone": describe(BackboneSpec.model_validate(study.backbone)),
        "proxy": study.proxy,
        "data": f"{facts['samples']} samples, {size}, {'ready' if cached else 'to be made'}",
    }


def rungs(sweep: Sweep, min_epochs: int, epochs: int) -> list[int]:
    """Returns the epochs after which a trial can be pruned."""
    pruning = sweep.pruning
    if pruning.type == "none":
        return []
    if pruning.type == "median":
        return list(range(min_epochs, epochs))
    steps, step = [], min_epochs
    while step < epochs:
        steps.append(step)
        step *= pruning.eta
    return steps
