"""The floors of tasks: what their best predictors without a network reach.

A plan computes them in a process of its own, `python -m sweeper.planning.floors`, because they need
torch. The process reads one JSON object: `name`, `profile` and `file` (resolved) of a sweep. It
writes one line for each task: `task`, and the `name` and `value` of its floor.
"""

import json
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from sweeper.config.sweep import Sweep
from sweeper.model import CoarseSolver, Floor
from sweeper.planning import child, load
from sweeper.planning.catalog import home
from sweeper.planning.trials import data_of
from sweeper.text import counted, readable
from trainables.errors import TrainableError
from trainables.tasks.registry import published_numbers

if TYPE_CHECKING:
    from trainables.tasks.predictors.floor import Scores

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
        if each.validation is not None:
            tests.setdefault(name, each.test)
            validations[name] = each.validation
        else:
            solver = CoarseSolver(
                name=name, value=each.test, seconds=each.seconds, samples=each.samples
            )
    return FloorFacts(
        baselines=tests,
        validations=validations,
        refused=scores.refused,
        floor=floor_of(scores),
        solver=solver,
    )


def floor_of(scores: "Scores") -> Floor | None:
    """Return the floor among the scores, or None if no predictor applies."""
    if scores.floor is None:
        return None
    best = scores.scored[scores.floor]
    assert best.validation is not None, "a floor is chosen by validation"
    return Floor(
        name=scores.floor, value=best.test, validation=best.validation, seconds=best.seconds
    )


def floor_notes(sweep: Sweep) -> list[str]:
    """Return a line for each task and method whose published value does not beat the task's floor.

    Data are generated for it if they are not here, as far as the time allows.
    """
    published = {
        (study.task, study.method): number.value
        for study in sweep.studies()
        if (number := published_numbers(study.task).get(study.method)) is not None
    }
    tasks = dict.fromkeys(task for task, _ in published)
    floors = _computed(sweep) if tasks else {}
    notes = [
        f"{task}: published {readable(value)} of {method} is above the floor {readable(bar)} of "
        f"{name}, a predictor without a network; `sweeper audit {task}` says more."
        for (task, method), value in published.items()
        if task in floors and value > (bar := floors[task][1]) and (name := floors[task][0])
    ]
    if late := [task for task in tasks if task not in floors]:
        notes.append(
            f"{counted(len(late), 'floor')} not known yet, and computed at the launch: "
            f"{', '.join(late)}."
        )
    return notes


def _computed(sweep: Sweep) -> dict[str, tuple[str, float]]:
    """Return the floor of each task, its predictor and its test value, as far as time allows."""
    job = {"name": sweep.name, "profile": sweep.profile, "file": sweep.resolved}
    try:
        output = subprocess.run(
            child.command("sweeper.planning.floors"),
            env=child.environment(),
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
    lines = output.decode().split("\n")[:-1]  # the last one may be cut off
    found = map(json.loads, lines)
    return {each["task"]: (each["name"], each["value"]) for each in found}


def main() -> None:
    """Compute the floors of one sweep's tasks, in the process that a plan started."""
    from trainables.tasks.loading import load_task
    from trainables.tasks.predictors.floor import scores_of

    job, out = child.read_input(), child.take_output()
    child.end_with_parent()
    sweep = load.from_resolved(job["file"], name=job["name"], profile=job["profile"])
    done = set()
    for study in sweep.studies():
        if study.task in done or study.method not in published_numbers(study.task):
            continue
        done.add(study.task)
        try:
            task = load_task(study.task, data_of(study), home())
        except TrainableError:
            continue  # data that are missing are a note of the plan already
        if (floor := floor_of(scores_of(task, home()))) is not None:
            child.write_line(out, {"task": study.task, "name": floor.name, "value": floor.value})


if __name__ == "__main__":
    main()
