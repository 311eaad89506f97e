"""The floors of tasks: what their best predictors without a network reach.

A plan computes them in a process of its own, `python -m sweeper.planning.data.floors`, because they
need torch. The process reads one JSON object: `tasks`, and `name`, `profile` and `file` (resolved)
of a sweep. It writes one line for each task: `task`, the `name` and `value` of its floor, and the
`content_hash` of its data.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, TypedDict

from sweeper.model import CoarseSolver, Floor
from sweeper.planning import child, resuming
from sweeper.planning.catalog import home
from sweeper.planning.data.draws import data_of
from sweeper.spec.sweep import Sweep
from sweeper.text import counted, readable
from trainables.errors import TrainableError
from trainables.tasks.registry import published_numbers

if TYPE_CHECKING:
    from trainables.tasks.predictors.floor import Scores

SOLVER = "coarse_solver"  # the predictor whose facts stand apart
LIMIT_S = 20.0  # that a plan waits for floors, the generation of data included


class FloorFacts(TypedDict):
    """The facts of a study about predictors without a network (`StudyFacts`)."""

    baselines: Mapping[str, float]
    validations: Mapping[str, float]
    refused: Mapping[str, str]
    floor: Floor | None
    solver: CoarseSolver | None


def floor_facts(scores: "Scores", stored: Mapping[str, float]) -> FloorFacts:
    """Return the facts about predictors.

    Args:
        scores: The scores on the samples that the study uses.
        stored: Test values that the manifest of the data has. They cover the whole data set.
    """
    tests, validations, solver = dict(stored), {}, None
    for name, each in scores.scored.items():
        if name == SOLVER:
            solver = CoarseSolver(
                name=name, value=each.test, seconds=each.seconds, samples=each.samples
            )
            continue
        if each.validation is not None:
            validations[name] = each.validation
        elif scores.floor is None:
            continue  # it knows the equation, as a closed form does, and would be taken for a floor
        # A value of the manifest covers the whole data set, and so comes first.
        tests.setdefault(name, each.test)
    return FloorFacts(
        baselines=tests,
        validations=validations,
        refused=scores.refused,
        floor=floor_by(scores.floor, scores),
        solver=solver,
    )


def floor_by(predictor: str | None, scores: "Scores") -> Floor | None:
    """Return the floor that one predictor sets, or None if none applies to these data."""
    if predictor is None or (found := scores.scored.get(predictor)) is None:
        return None
    return Floor(
        name=predictor, value=found.test, validation=found.validation, seconds=found.seconds
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A value of a method on a task that is known before a launch."""

    task: str
    method: str
    value: float
    source: str  # "published", or "recorded", in evidence of the same sweep
    content_hash: str | None = None  # of the data that it was recorded on; None: published ones
    floor: Floor | None = None  # the mean over the draws of its seeds; None: that of the task


def floor_notes(sweep: Sweep) -> list[str]:
    """Return a line for each task and method whose known value does not beat the task's floor.

    The value is the published one, and the lowest mean over seeds in evidence of the same sweep.
    Data are generated for it if they are not here, as far as the time allows.
    """
    asked = {study.task for study in sweep.studies}  # evidence may be of other tasks
    known = [*_published(sweep), *(each for each in recorded_values(sweep) if each.task in asked)]
    tasks = list(dict.fromkeys(each.task for each in known))
    floors = computed(sweep, tasks) if tasks else {}
    notes = [
        f"{each.task}: {each.source} {readable(each.value)} of {each.method} is above the floor "
        f"{readable(bar.value)} of {bar.name}, a predictor without a network; "
        f"`sweeper audit {each.task}` says more."
        for each in known
        if (of_task := floors.get(each.task)) is not None
        # A recorded value compares only with a floor on the same data.
        and each.content_hash in (None, of_task.content_hash)
        and each.value > (bar := each.floor or of_task).value
    ]
    if late := [task for task in tasks if task not in floors]:
        notes.append(
            f"{counted(len(late), 'floor')} not known yet, and computed at the launch: "
            f"{', '.join(late)}."
        )
    return notes


def _published(sweep: Sweep) -> Iterator[_Known]:
    for task, method in dict.fromkeys((study.task, study.method) for study in sweep.studies):
        if (number := published_numbers(task).get(method)) is not None:
            yield _Known(task=task, method=method, value=number.value, source="published")


def recorded_values(sweep: Sweep) -> Iterator[_Known]:
    """Yield the lowest mean over seeds of each method and task, in evidence of the same sweep."""
    from sweeper.results.floors import floors_at, mean_floor  # SciPy is slow to import
    from sweeper.results.reproduction import files

    file = files.find([files.committed_evidence()], sweep.name, sweep.profile)
    if file is None:
        return
    evidence, found = files.load(file), dict[tuple[str, str], _Known]()
    for arm in evidence.arms:
        study, values = arm.of.study, {t.seed: arm.of.test_value(t) for t in arm.trainings}
        facts, tests = arm.of.facts, {k: value for k, value in values.items() if value is not None}
        # With a draw for each seed, a mean over seeds compares with the mean of the same draws'
        # floors, and with none if one is missing.
        floors = floors_at(facts, tests) if facts.draws else {}
        known = found.get((study.task, study.method))
        if tests and (known is None or fmean(tests.values()) < known.value):
            found[study.task, study.method] = _Known(
                task=study.task,
                method=study.method,
                value=fmean(tests.values()),
                source="recorded",
                content_hash=str(facts.content_hash),
                floor=mean_floor([*floors.values()]) if len(floors) == len(tests) else None,
            )
    yield from found.values()


@dataclass(frozen=True)
class Bar:
    """The floor of a task, and the data that it is of."""

    name: str
    value: float
    content_hash: str


def computed(sweep: Sweep, tasks: Sequence[str]) -> dict[str, Bar]:
    """Return the floors of tasks, as far as time allows."""
    job = {"name": sweep.name, "profile": sweep.profile, "file": sweep.resolved, "tasks": tasks}
    try:
        output = subprocess.run(
            child.command("sweeper.planning.data.floors"),
            env=child.environment(),
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as expired:
        # Floors that were written before the time ran out hold.
        output = expired.stdout or b""
    found = map(json.loads, output.decode().split("\n")[:-1])  # the last line may be cut off
    return {each.pop("task"): Bar(**each) for each in found}


def main() -> None:
    """Compute the floors of one sweep's tasks, in the process that a plan started."""
    from trainables.tasks.loading import load_task
    from trainables.tasks.predictors.floor import scores_of

    job, out = child.read_input(), child.take_output()
    child.end_with_parent()
    sweep = resuming.from_resolved(job["file"], name=job["name"], profile=job["profile"])
    left = set(job["tasks"])
    for study in sweep.studies:
        if study.task not in left:
            continue
        left.remove(study.task)
        try:
            task = load_task(study.task, data_of(study), home())
        except TrainableError:
            continue  # data that are missing are a note of the plan already
        scores = scores_of(task, home())
        if (floor := floor_by(scores.floor, scores)) is not None:
            bar = {"name": floor.name, "value": floor.value, "content_hash": task.content_hash}
            child.write_line(out, {"task": study.task, **bar})


if __name__ == "__main__":
    main()
