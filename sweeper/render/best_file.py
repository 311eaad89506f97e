"""The winning configuration of a study as a sweep file that `sweeper launch` runs.

Every parameter is in `fixed`, and nothing is searched. The preset of the file is the winner. The
control has the same settings, but is vanilla fine-tuning.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sweeper.model import Study
from sweeper.results.schema import StudyResult, TrialRow
from sweeper.spec.arms import BACKBONE, DATA, SAMPLES, Arm, with_equal_splits
from sweeper.spec.catalog import MODEL, PROXY, Settings, model_settings
from sweeper.spec.reader import to_yaml
from sweeper.spec.rules.program import PROGRAM, PROGRAMS, sections_of
from sweeper.spec.schema import MAX_NAME
from sweeper.spec.sweep import ABLATION
from sweeper.text import visible

TRIALS = 2  # the preset, which is the winner, and its control
LEFT_OUT = (
    "parameters", "fixed", "search", "pruning", "budget", "replicate", "stages", "question",
    "ladder", *ABLATION,
)  # fmt: skip


def best_name(sweep: str, study: Study) -> str:
    """Return the name of the new sweep: `mona_pdebench-mona-advection_1d-best`.

    A long name is cut, and a hash of the full name keeps it unique.
    """
    words = (sweep, study.method, study.task.rpartition("/")[2], study.arm)
    whole = re.sub("[^a-z0-9_-]", "-", "-".join(filter(None, words)).lower())
    ending = "-best"
    if len(whole + ending) > MAX_NAME:
        digest = hashlib.sha256(f"{sweep}/{study.name}".encode()).hexdigest()
        ending = f"-{digest[:8]}{ending}"
    return whole[: MAX_NAME - len(ending)] + ending


def best_file(study: StudyResult, trial: TrialRow) -> str:
    """Return the text of the sweep file with the configuration of `trial`."""
    record = study.record
    resolved, params = record.resolved, dict(trial.params)
    proxy = params.pop(PROXY, None)
    model = {**(resolved.get("model") or {}), **model_settings(params)}
    dimension, kind = study.facts.dimension, study.facts.kind
    backbones, data = _pinned_sections(study)
    content: dict[str, object] = {
        **{k: v for k, v in resolved.items() if k not in LEFT_OUT},
        "name": best_name(record.name, study.study),
        "experiment": record.experiment,
        "methods": [study.study.method],
        "tasks": [study.study.task],
        "backbones": backbones,
        "data": data,
        "proxies": {},
        "model": model,
        "parameters": {},
        "fixed": _unpinned({k: v for k, v in params.items() if k.partition(".")[0] != MODEL}),
        "search": {"trials": TRIALS, "seed": (resolved.get("search") or {}).get("seed", 0)},
        "pruning": {"type": "none"},
    }
    if PROGRAMS in resolved:
        content = _of_program(content, study.study, params)
    # The source data of the trial replace those of the sweep, under the key that the task uses.
    if proxy is not None:
        keys = (f"{dimension}_{kind}", str(dimension))
        key = next((k for k in keys if k in (resolved.get("proxies") or {})), keys[-1])
        content["proxies"] = {key: proxy}
    text = to_yaml({k: v for k, v in content.items() if v != {} or k == "parameters"})
    value = _reached(study, trial)
    which = f"{trial.name} ({trial.kind}) of sweep {record.name}"
    origin = f"Configuration {record.config_hash}, profile {record.profile}."
    head = (f"{which}{value}.", origin)
    # A line break in a name would end the comment, and the rest would be read as a setting.
    return "".join(f"# {visible(line)}\n" for line in head) + text


def _pinned_sections(study: StudyResult) -> tuple[dict[str, Any], Settings]:
    """Return the sections `backbones` and `data` of a study, as its arm, if any, pins them."""
    resolved, dimension = study.record.resolved, str(study.facts.dimension)
    arm = Arm(name=study.arm or "", pinned=study.pinned)
    backbones = dict(resolved.get("backbones") or {})
    if dimension in backbones:
        backbones = {dimension: backbones[dimension]}
    if arm.of(BACKBONE):
        backbones = {dimension: arm.backbone_on(backbones.get(dimension) or {})}
    data = {**(resolved.get("data") or {}), **arm.of(DATA)}
    # The file has no ladder, so that it states the splits of its largest rung as shares.
    if SAMPLES in arm.pinned:
        data = {**with_equal_splits(study.study.task, data, resolved.get("ladder") or {})}
    return backbones, data


def _of_program(
    content: Mapping[str, Any], study: Study, params: Mapping[str, object]
) -> dict[str, object]:
    """Return the file of a program on its data set."""
    others = ("methods", "tasks", "model", "data", PROGRAM, PROGRAMS)
    return {
        **{k: v for k, v in content.items() if k not in others},
        **sections_of(content, [study.method], study.task),
        "fixed": {k: v for k, v in params.items() if k != "run.epochs"},
        "search": {"trials": 1},
    }


def _unpinned(params: Mapping[str, object]) -> dict[str, object]:
    """Return settings without schedules that end with their stage.

    A launch derives these schedules again, so that they follow a changed number of epochs.
    """
    return {
        name: value
        for name, value in params.items()
        if not name.endswith(".decay_epochs")
        or value != params.get(name.replace(".decay_epochs", ".epochs"))
    }


def _reached(study: StudyResult, trial: TrialRow) -> str:
    """Return a text on the result of a configuration: the mean over replicates if it has some."""
    reached, objective = study.reached(trial), study.study.objective
    if reached.is_replicated:
        mean, count = reached.validation, len(reached.trainings)
        return f": {objective} {mean!r}, mean of {count} replicates; {trial.value!r} in the search"
    return "" if trial.value is None else f": {objective} {trial.value!r}"
