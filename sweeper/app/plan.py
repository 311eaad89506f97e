"""What a launch would run, without starting anything."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.analysis.validation import few_samples
from sweeper.app import load, plans, resources
from sweeper.app.catalog import home
from sweeper.app.data import as_usage_errors, state_of
from sweeper.app.describe import data_of, describe
from sweeper.app.prediction import lines, price_of
from sweeper.app.refusals import missing
from sweeper.app.stages import place_of
from sweeper.app.workload import Workload
from sweeper.space.sweep import StudyPlan, Sweep
from trainables.spec import BackboneSpec
from trainables.tasks.generation import Progress
from trainables.tasks.loading import describe_data


def plan(file: Path, options: load.Options, *, calibrate: Progress | None = None) -> dict[str, Any]:
    """Returns studies, trials, stages, rungs, data, what is cached, and what all of it takes.

    Args:
        calibrate: Has a pilot measure each study first, and is told how far that is.

    Raises:
        FileFaults: The file is invalid, or a preset that was to be measured cannot be trained.
        UsageError: It asks for data that no task can have.
        CannotSchedule: A trial asks for more than this machine has.
    """
    sweep = load.read(file, options)
    resources.check_request(sweep, options.address)
    if calibrate is not None:
        from sweeper.app.calibrate import calibrate as measure

        measure(sweep, home(), calibrate)
    priced = price_of(sweep, home(), resources.concurrency(sweep, resources.this_machine()))
    with as_usage_errors():
        pairs = zip(sweep.studies(), priced.workloads, strict=True)
        studies = [_study(study, work) for study, work in pairs]
        lacking = dict.fromkeys(
            line for study in sweep.studies() for line in missing(study, home())
        )
        few = dict.fromkeys(line for study in sweep.studies() if (line := _few(study)))
    shared = [line for study in sweep.studies() for line in _shared(sweep, study)]
    trials = sum(work.trials for work in priced.workloads)
    most = sum(work.most_epochs for work in priced.workloads)
    expected = sum(work.epochs.expected for work in priced.workloads)
    return {
        "sweep": sweep.name,
        "profile": sweep.profile,
        "experiment": sweep.experiment,
        "studies": studies,
        "trials": trials,
        "max_epochs": most,
        "expected_epochs": expected,
        "resources": resources.request(sweep),
        "price": priced.price,
        "uncalibrated": list(priced.uncalibrated),
        "notes": [
            *sweep.notes,
            *resources.notes(sweep, resources.this_machine()),
            *lacking,
            *few,
            *shared,
            *priced.notes,
            f"{trials} trials of {len(studies)} studies, {expected:.0f} epochs expected, "
            f"{most} at most",
            *(lines(priced.price) if priced.price else [_how(sweep, priced.uncalibrated)]),
        ],
    }


def _how(sweep: Sweep, uncalibrated: tuple[str, ...]) -> str:
    """Says how to learn what it takes."""
    count = len(uncalibrated)
    return (
        f"what that takes is not known: {count} of {len(sweep.studies())} studies were not "
        "measured on this machine; add --calibrate, for a pilot of a few epochs each."
    )


def _study(study: StudyPlan, work: Workload) -> dict[str, Any]:
    data = data_of(study)
    facts = describe_data(study.task, data)
    size = f"{facts['bytes'] / 2**20:.1f} MiB"
    return {
        "study": study.name,
        "method": study.method,
        "task": study.task,
        "trials": work.trials,
        "kinds": {
            "leading": work.leading,
            "sampled": work.sampled,
            "replicates": work.replicates,
        },
        "parameters": list(study.parameters),
        "stages": [
            {
                "stage": stage,
                "epochs": done.longest,
                "runs": done.runs,
                "shared": done.shared,
                "max_epochs": done.most,
                "expected_epochs": done.epochs.expected,
            }
            for stage, done in work.stages.items()
        ],
        "distinct": dict(study.distinct),
        "max_epochs": sum(study.stage_epochs.values()),
        "epochs": asdict(work.epochs),
        "rungs": list(work.rungs),
        "backbone": describe(BackboneSpec.model_validate(study.backbone)),
        "proxy": study.proxy,
        "data": f"{facts['samples']} samples, {size}, {state_of(study.task, data)}",
    }


def _few(study: StudyPlan) -> str | None:
    """Says whether too few samples validate to tell settings apart."""
    return few_samples(study.task, describe_data(study.task, data_of(study))["splits"]["val"])


def _shared(sweep: Sweep, study: StudyPlan) -> Iterator[str]:
    """Yields how often the configurations of shared stages are used."""
    stages = plans.stages(sweep, study)
    if count := len(stages.prefixes):
        least, more = divmod(study.num_sampled, count)
        used = f"{least} or {least + 1}" if more else str(least)
        what = " and ".join(stages.shared)
        alone = ", each of which computes it: `stage_store.use` is false"
        yield (
            f"{study.name}: {count} configurations of {what}, each for {used} sampled trials"
            f"{alone if place_of(sweep, study) is None else ''}"
        )
