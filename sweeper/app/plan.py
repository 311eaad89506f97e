"""What a launch would run, without starting anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.app import load, resources
from sweeper.app.catalog import home
from sweeper.app.data import TO_IMPORT, as_usage_errors, state_of
from sweeper.app.describe import data_of, describe
from sweeper.space.sweep import StudyPlan, Sweep
from trainables.proxies.loading import proxy_faults
from trainables.spec import BackboneSpec
from trainables.tasks import official
from trainables.tasks.loading import describe_data


def plan(file: Path, options: load.Options) -> dict[str, Any]:
    """Returns studies, trials, stages, rungs, data and what is cached.

    Raises:
        FileFaults: The file is invalid.
        UsageError: It asks for data that no task can have.
        CannotSchedule: A trial asks for more than this machine has.
    """
    sweep = load.read(file, options)
    resources.check_request(sweep, options.address)
    with as_usage_errors():
        studies = [_study(sweep, study) for study in sweep.studies()]
        missing = dict.fromkeys(line for study in sweep.studies() for line in _missing(study))
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
            *missing,
            f"{trials} trials of {len(studies)} studies, {epochs} epochs at most before pruning",
        ],
    }


def _study(sweep: Sweep, study: StudyPlan) -> dict[str, Any]:
    data = data_of(study)
    facts = describe_data(study.task, data)
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
        "data": f"{facts['samples']} samples, {size}, {state_of(study.task, data)}",
    }


def _missing(study: StudyPlan) -> Iterator[str]:
    """Yields what a launch would be refused for, with the way to get it."""
    if state_of(study.task, data_of(study)) == TO_IMPORT:
        yield str(official.missing(study.task, home()))
    for proxy in study.proxies:
        if fault := proxy_faults(proxy, home()):
            yield fault


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
