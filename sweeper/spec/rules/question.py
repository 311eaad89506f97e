"""The question that a sweep answers: what was published, and the claims that its result decides.

    question:
      title: What do embedder and body contribute?
      claims:
        - says: The body has to be fine-tuned.
          contrast: [refine.freeze=none, refine.freeze=body]
          expect: better

Claims are written down before the sweep runs. The first one is primary: it alone is tested without
a correction for the number of tests.
"""

from collections.abc import Iterable, Sequence

from sweeper.errors import unknown
from sweeper.model import CONTROL_ARM
from sweeper.spec.arms import CompareBy, factors, levels_of_factor
from sweeper.spec.faults import Faults
from sweeper.spec.schema import TEST
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import is_number, printable

RECORDED = "/"  # in the name of a metric, but not of a factor
FIXED = "give each arm a fixed number of seeds, such as `replicate: {seeds: 8}`."
OF_TRIALS = ("val", "test", "landscape", "curve")  # starts of metrics that belong to no stage


def check_question(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each claim about an arm or a factor that the sweep does not have."""
    _check_sequential(sweep, studies, faults)
    known, given = entry_names(studies), sweep.compare_by
    for i, claim in enumerate(sweep.question.claims if sweep.question is not None else ()):
        path: list[str | int] = ["question", "claims", i]
        for j, name in enumerate(claim.contrast or ()):
            if name not in known:
                message = unknown("arm", printable(name), known)
                faults.add([*path, "contrast", j], f"`question.claims[{i}]`: {message}")
        tasks = list(dict.fromkeys(study.task for study in studies))
        for j, task in enumerate(claim.tasks):
            if task not in tasks:
                message = unknown("task of the sweep", printable(task), tasks)
                faults.add([*path, "tasks", j], f"`question.claims[{i}]`: {message}")
        if claim.trend is not None and (fault := _trend_fault(claim.trend, studies, given)):
            faults.about([*path, "trend"], f": {fault}")
        if claim.among is not None and claim.among not in factors(given):
            known_factors = unknown("factor", printable(claim.among), factors(given))
            faults.about([*path, "among"], f": {known_factors}")
        for name in claim.quantities:
            if name != TEST and (fault := _metric_fault(name, studies)):
                faults.about([*path, "quantity"], f": {fault}")


def _check_sequential(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each reason why pairs cannot be added until the claims are decided."""
    if sweep.replicate is None or sweep.replicate.until is None:
        return
    path: list[str | int] = ["replicate", "until"]
    if sweep.question is None or not sweep.compare_by:
        why = "an ablation (`compare_by`) with a `question` has claims to decide"
        faults.about(path, f": only {why}; {FIXED}")
        return
    if "seeds" in sweep.replicate.model_fields_set:
        faults.note("`replicate.seeds` has no effect with `until: decided`, which `most` limits.")
    if sweep.replicate.top > 1:
        why = "pairs may change which of several configurations is the best: write `top: 1`"
        faults.about(path, f": {why}, or {FIXED}")
    tasks = {study.task for study in studies}
    for i, claim in enumerate(sweep.question.claims):
        why = ""
        if len(tasks.intersection(claim.tasks or tasks)) > 1:
            why = "compares tasks, of which seeds add none: name one task in its `tasks`"
        elif claim.trend is not None and RECORDED in claim.trend:
            why = f"orders arms by `{claim.trend}`, which seeds may change: write a contrast"
        if why:
            faults.about(path, f": `question.claims[{i}]` {why}, or {FIXED}")


def _trend_fault(trend: str, studies: Sequence[StudySpec], given: CompareBy) -> str | None:
    """Return the reason why there is no trend over a factor or a recorded metric, or None."""
    if RECORDED in trend:
        return _metric_fault(trend, studies)
    if trend not in factors(given):
        return unknown("factor", printable(trend), factors(given))
    if not all(map(is_number, levels_of_factor(given, trend))):
        return f"the values of `{trend}` must be numbers; write a contrast."
    return None


def _metric_fault(name: str, studies: Sequence[StudySpec]) -> str | None:
    """Return the reason why no trial records a metric of this name, or None."""
    stages = dict.fromkeys(stage for study in studies for stage in study.entry.stages)
    if name.partition(RECORDED)[0] in (*stages, *OF_TRIALS) and RECORDED in name:
        return None
    starts = " or ".join(f"{each}/" for each in (*stages, *OF_TRIALS))
    return f"no trial records `{printable(name)}`; a metric starts with {starts}."


def entry_names(studies: Iterable[StudySpec]) -> list[str]:
    """Return the names by which claims refer to arms and methods of a sweep.

    The method's name may be left out if the sweep has one method.
    """
    methods = list(dict.fromkeys(study.method for study in studies))
    names: dict[str, None] = {}
    for study in studies:
        own = [study.arm.name] if study.arm is not None else ["", CONTROL_ARM]
        for name in own:
            names[f"{study.method}/{name}" if name else study.method] = None
            if name and len(methods) == 1:
                names[name] = None
    return list(names)
